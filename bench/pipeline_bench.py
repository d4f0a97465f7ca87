"""splat_pipeline on the embedded AWS: message to job, what the platform adds to a stage, a burst, a list of runs."""

import json
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from bench.table import Row
from local.embedded_aws import EmbeddedAWS
from local.survey.photos import render_survey
from splatworks.contract.keys import JOB

ROOT = Path(__file__).parents[1]
STAGES = ("sfm", "train", "compress")
MESSAGES, DUPLICATES = 1000, 100  # published in a burst; how many of them say the same as another one
WARM = 5
DRAFT: dict[str, Any] = {
    "preset": "draft",
    "train": {"compute_type": "cpu", "parameters": {"max_steps": 100, "flythrough_seconds": 0}},
    "compress": {"parameters": {"levels": 1, "turntable_frames": 0, "views": 1, "view_size": 128, "order": "morton"}},
}


def rows() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        survey = render_survey(Path(folder) / "survey", photos=8, width=480, height=320)
        with EmbeddedAWS(Path(folder) / "aws", log=lambda _: None) as aws:
            aws.apply()
            for photo in survey.photos.iterdir():
                aws.client("s3").upload_file(str(photo), aws.outputs["ml_input_bucket"], f"photos/{photo.name}")
            with aws.jobs_held():
                cold, *warm = [_seconds_to_first_job(aws) for _ in range(1 + WARM)]
                _end_jobs(aws)
            added = _seconds_added(aws)
            with aws.jobs_held():
                listing = _seconds_to_list(aws, 1000)
                chains, lost, burst = _burst(aws)
    return [
        Row("publish to first job submitted, cold functions", cold, 2.5, "s", "at most 2.5 s", "the goal itself"),
        Row(
            "publish to first job submitted, warm",
            statistics.median(warm),
            2.5,
            "s",
            "at most 2.5 s",
            "the goal itself",
        ),
        *[
            Row(f"platform's part of {stage}", added[stage], 5.0, "s", "at most 5 s", "the goal itself")
            for stage in STAGES
        ],
        Row("splatworks status, 1,000 jobs", listing, 3.0, "s", "at most 3 s", "the goal itself"),
        Row(f"chains of {MESSAGES} messages", chains, MESSAGES - DUPLICATES, "chains", "equal", "different messages"),
        Row("of these incomplete, doubled or lost", lost, 0, "chains", "none", "none"),
        Row(
            f"{MESSAGES} messages to their last job",
            burst,
            MESSAGES * 2.5,
            "s",
            "none",
            "one after the other, 2.5 s each",
        ),
    ]


def message(name: str, request_id: str) -> dict[str, Any]:
    data = {**DRAFT, "input": "photos/", "job_name": name, "request_id": request_id, "fresh": True}
    return {"trigger_type": "splat_pipeline", "data": data, "metadata": {"project": "bench"}}


def _seconds_to_first_job(aws: EmbeddedAWS) -> float:
    submitted: list[float] = []
    with aws.on_submission(lambda _name: submitted.append(time.perf_counter())):
        started = time.perf_counter()
        aws.publish(message("first", uuid.uuid4().hex))
        aws.wait_until(lambda: len(submitted) == len(STAGES), timeout=60, what="the jobs")
    return submitted[0] - started


def _seconds_added(aws: EmbeddedAWS) -> dict[str, float]:
    """Of each stage of a real run: from the end of the one before to its own end, without the script's own time."""
    aws.publish(message("whole", uuid.uuid4().hex))
    email = aws.wait_for_email("whole-", timeout=900)
    if "is done" not in email.subject:
        raise RuntimeError(f"the run failed: {email.body}")
    added = {}
    jobs = {job["jobName"].rsplit("-", 1)[1]: job for job in aws.jobs() if job["jobName"].startswith("whole-")}
    ready = jobs["sfm"]["createdAt"]
    for stage in STAGES:
        prefix = next(
            item["value"] for item in jobs[stage]["container"]["environment"] if item["name"] == "OUTPUT_PREFIX"
        )
        body = aws.client("s3").get_object(Bucket=aws.outputs["ml_output_bucket"], Key=f"{prefix}{JOB}")["Body"]
        added[stage] = (jobs[stage]["stoppedAt"] - ready) / 1000 - json.load(body)["seconds"]["script"]
        ready = jobs[stage]["stoppedAt"]
    return added


def _seconds_to_list(aws: EmbeddedAWS, count: int) -> float:
    """A whole `splatworks status`, Python's start included; the fastest of three."""
    definition = aws.jobs()[0]["jobDefinition"]
    for index in range(count):
        name = f"listed-{index // 3:012x}-{STAGES[index % 3]}"
        aws.client("batch").submit_job(
            jobName=name, jobQueue=_queue(aws), jobDefinition=definition, shareIdentifier="bench"
        )
    command = [sys.executable, "-m", "splatworks", "status"]
    times = []
    for _ in range(3):
        started = time.perf_counter()
        done = subprocess.run(
            command, env=aws.program_environment(), cwd=ROOT, capture_output=True, text=True, check=True
        )
        times.append(time.perf_counter() - started)
        if done.stdout.count("listed-") < 20:
            raise RuntimeError(f"splatworks status did not list the runs:\n{done.stdout}")
    return min(times)


def _burst(aws: EmbeddedAWS) -> tuple[int, int, float]:
    """Chains, how many of them are not exactly one job per stage or were not asked for, and the seconds it took."""
    different = [uuid.uuid4().hex for _ in range(MESSAGES - DUPLICATES)]
    started = time.perf_counter()
    # Half of the duplicates are published twice, half are delivered twice by SNS.
    published = different + different[: DUPLICATES // 2]
    copies = {request_id: 2 for request_id in different[-DUPLICATES // 2 :]}
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda id_: aws.publish(message("burst", id_), copies=copies.get(id_, 1)), published))
    wanted = len(different) * len(STAGES)
    aws.wait_until(lambda: len(_burst_jobs(aws)) >= wanted, timeout=1800, what=f"{wanted} jobs")
    seconds = time.perf_counter() - started
    time.sleep(5)  # for what is still on its way
    chains: dict[str, Counter[str]] = {}
    for name in _burst_jobs(aws):
        run, stage = name.rsplit("-", 1)
        chains.setdefault(run, Counter())[stage] += 1
    odd = [run for run, stages in chains.items() if stages != Counter(STAGES)]
    letters = aws.client("sqs").get_queue_attributes(
        QueueUrl=aws.outputs["trigger_dlq_url"], AttributeNames=["ApproximateNumberOfMessages"]
    )["Attributes"]["ApproximateNumberOfMessages"]
    return len(chains), len(odd) + int(letters) + abs(len(chains) - len(different)), seconds


def _burst_jobs(aws: EmbeddedAWS) -> list[str]:
    named = [{"name": "JOB_NAME", "values": ["burst-*"]}]
    pages = aws.client("batch").get_paginator("list_jobs").paginate(jobQueue=_queue(aws), filters=named)
    return [job["jobName"] for page in pages for job in page["jobSummaryList"]]


def _queue(aws: EmbeddedAWS) -> str:
    return f"{aws.project_name}-ml-cpu-job-queue"


def _end_jobs(aws: EmbeddedAWS) -> None:
    for job in aws.jobs():
        if job["status"] not in ("SUCCEEDED", "FAILED"):
            aws.client("batch").terminate_job(jobId=job["jobId"], reason="measured")
