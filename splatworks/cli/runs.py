"""Find runs and their stages: in Batch, in run.json, in the files that stages leave. Reads only."""

import re
import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from splatworks.cli.platform import Platform
from splatworks.cli.problems import Problem
from splatworks.cli.run_files import in_parallel, is_settled, read_document, with_documents, with_progress
from splatworks.cli.run_states import (
    ENDED,
    FAILED,
    FORGOTTEN,
    REUSED,
    RUNNING,
    SUCCEEDED,
    UNSENT,
    RunStatus,
    StageStatus,
)
from splatworks.contract.documents.request import RequestDocument, read_request
from splatworks.contract.documents.run import RunStage, read_run
from splatworks.contract.environment import OUTPUT_PREFIX, RUN_ID, STAGE_NAME
from splatworks.contract.keys import REQUEST, RUN, RUNS, run_folder
from splatworks.contract.resumes import split_name
from splatworks.contract.stages import STAGES
from splatworks.report.job_facts import REQUEST_LIMIT

PIPELINE_JOB = re.compile(rf"(.+-[0-9a-f]{{12}})-({'|'.join(STAGES)})")  # <run>-<stage>, docs/contracts.md
JOB_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(:\d+)?")
RUN_NAME = re.compile(r"[A-Za-z0-9_-]{1,128}")
DESCRIBED_AT_ONCE = 100  # the most that DescribeJobs takes
SHOWN = 10
LISTED = 2000  # ended jobs that are looked through for earlier runs of a stage


def list_runs(platform: Platform, since: float) -> list[RunStatus]:
    """All runs created after `since` that Batch knows (it forgets a job about a week after its end), newest first."""
    filters = [{"name": "AFTER_CREATED_AT", "values": [str(int(since * 1000))]}]
    runs = _grouped(_list_jobs(platform, filters))
    stages = [stage for run in runs for stage in run.stages]
    # How far an array is, only its description tells: to ListJobs it is PENDING until its last part has ended.
    active = [stage for stage in stages if stage.status == RUNNING or (stage.size > 1 and not stage.ended)]
    if not active:
        return runs
    detailed = _with_progress(platform, _described(platform, active))
    return [
        replace(run, stages=tuple(detailed.get(stage.job_id, stage) for stage in run.stages)) if run.stages else run
        for run in runs
    ]


def days_ago(days: float) -> float:
    return max(0.0, time.time() - days * 86_400)


def finished_jobs(platform: Platform, queue: str, stage: str, most: int) -> list[StageStatus]:
    """The newest that ended well, of this stage of any run; arrays are not among them."""
    batch = platform.client("batch")
    pages = batch.get_paginator("list_jobs").paginate(
        jobQueue=queue, jobStatus=SUCCEEDED, PaginationConfig={"MaxItems": LISTED}
    )
    summaries = [job for page in pages for job in page["jobSummaryList"] if "arrayProperties" not in job]
    matches = [(job, PIPELINE_JOB.fullmatch(job["jobName"])) for job in summaries]
    candidates = [job for job, match in matches if match is None or match[2] == stage]
    newest = sorted(candidates, key=lambda job: job["createdAt"], reverse=True)[: 2 * DESCRIBED_AT_ONCE]
    described = [_stage(job, "") for job in _describe(platform, [job["jobId"] for job in newest])]
    return [job for job in described if job.name == stage and job.output_prefix][:most]


def find_run(platform: Platform, wanted: str) -> RunStatus:
    """The run of this id, of this beginning of an id, or of this Batch job; with all that is known about it."""
    if JOB_ID.fullmatch(wanted):
        wanted = _run_of_job(platform, wanted)
    if not RUN_NAME.fullmatch(wanted):
        raise Problem(f"{wanted!r} is no run.", "`splatworks status` lists them.")
    candidates = _grouped(_list_jobs(platform, [{"name": "JOB_NAME", "values": [f"{wanted}*"]}]))
    exact = [run for run in candidates if run.id == wanted] or candidates
    if len({run.id for run in exact}) > 1:
        names = ", ".join(run.id for run in exact[:SHOWN]) + (", …" if len(exact) > SHOWN else "")
        raise Problem(f"{wanted!r} begins the names of {len(exact)} runs: {names}.", "Give more of the one you mean.")
    return _detailed(platform, exact[0]) if exact else _run_in_s3(platform, wanted)


def array_child(platform: Platform, stage: StageStatus, index: int) -> StageStatus:
    children = _describe(platform, [f"{stage.job_id}:{index}"]) if stage.job_id else []
    if not children:
        raise Problem(
            f"Batch knows no job for part {index} of {stage.name}: it forgets one about a week after its end.",
            f"What it left is in s3://{platform.settings.output_bucket}/{stage.output_prefix}{index}/",
        )
    return _stage(children[0], stage.name)


def _list_jobs(platform: Platform, filters: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of all queues and in every state, which is what a filter means to Batch."""
    batch = platform.client("batch")

    def jobs(queue: str) -> list[dict[str, Any]]:
        pages = batch.get_paginator("list_jobs").paginate(jobQueue=queue, filters=filters, maxResults=100)
        return [{**job, "jobQueue": queue} for page in pages for job in page["jobSummaryList"]]

    return [job for found in in_parallel(jobs, platform.queues) for job in found]


def _grouped(jobs: list[dict[str, Any]]) -> list[RunStatus]:
    groups: dict[tuple[str, int], dict[str, StageStatus]] = {}
    for job in sorted(jobs, key=lambda each: each.get("createdAt", 0)):
        first_name, resumed = split_name(job["jobName"])
        match = PIPELINE_JOB.fullmatch(first_name)
        run_id, name = match.groups() if match else (first_name, "")
        number = 0
        while not resumed and name in groups.get((run_id, number), {}):  # a resumed job replaces the one before
            number += 1  # jobs of one name, which somebody submitted past the dispatcher
        groups.setdefault((run_id, number), {})[name] = _stage(job, name)
    runs = [RunStatus(id=run_id, stages=tuple(stages.values())) for (run_id, _), stages in groups.items()]
    return sorted(runs, key=lambda run: run.created, reverse=True)


def _stage(job: dict[str, Any], name: str) -> StageStatus:
    """From a summary of ListJobs or a detail of DescribeJobs."""
    container = job.get("container") or {}
    environment = _environment(job)
    array = job.get("arrayProperties") or {}
    return StageStatus(
        name=name or environment.get(STAGE_NAME, ""),
        status=_status(job["status"], array.get("statusSummary") or {}),
        job_id=job["jobId"],
        job_name=job["jobName"],
        queue=job.get("jobQueue", ""),
        reason=_reason(job),
        created=_seconds(job.get("createdAt")),
        started=_seconds(job.get("startedAt")),
        stopped=_seconds(job.get("stoppedAt")),
        size=array.get("size") or 1,
        counts=array.get("statusSummary") or {},
        output_prefix=environment.get(OUTPUT_PREFIX, ""),
        log_streams=_log_streams(job),
        attempts=len(job.get("attempts") or []),
        exit_code=container.get("exitCode"),
    )


def _status(status: str, counts: dict[str, int]) -> str:
    begun = any(counts.get(each) for each in ("STARTING", RUNNING, SUCCEEDED, FAILED))
    return RUNNING if begun and status not in ENDED else status


def _reason(job: dict[str, Any]) -> str:
    """Of a container that was killed ECS says more than Batch, to which every one has just exited."""
    said = (job.get("container") or {}).get("reason") if job["status"] == FAILED else ""
    return said or job.get("statusReason") or ""


def _log_streams(job: dict[str, Any]) -> tuple[str, ...]:
    containers = [attempt.get("container") or {} for attempt in job.get("attempts") or []]
    streams = [each.get("logStreamName") for each in [*containers, job.get("container") or {}]]
    return tuple(dict.fromkeys(stream for stream in streams if stream))


def _seconds(milliseconds: int | None) -> float | None:
    return milliseconds / 1000 if milliseconds else None


def _describe(platform: Platform, job_ids: list[str]) -> list[dict[str, Any]]:
    batch = platform.client("batch")
    chunks = [job_ids[i : i + DESCRIBED_AT_ONCE] for i in range(0, len(job_ids), DESCRIBED_AT_ONCE)]
    answers = in_parallel(lambda chunk: batch.describe_jobs(jobs=chunk)["jobs"], chunks)
    return [job for jobs in answers for job in jobs]


def _described(platform: Platform, stages: Iterable[StageStatus]) -> list[StageStatus]:
    known = {stage.job_id: stage for stage in stages}
    return [_stage(job, known[job["jobId"]].name) for job in _describe(platform, list(known))]


def _with_progress(platform: Platform, stages: list[StageStatus]) -> dict[str, StageStatus]:
    platform.client("s3")

    def read(stage: StageStatus) -> StageStatus:
        writes_progress = stage.output_prefix and stage.status == RUNNING and stage.size == 1
        return with_progress(platform, stage) if writes_progress else stage

    return {stage.job_id: stage for stage in in_parallel(read, stages)}


def _run_of_job(platform: Platform, job_id: str) -> str:
    jobs = _describe(platform, [job_id])
    if not jobs:
        raise Problem(f"Batch knows no job {job_id}.", "`splatworks status` lists the runs.")
    return _run_id_of(jobs[0])


def _run_id_of(job: dict[str, Any]) -> str:
    return _environment(job).get(RUN_ID) or str(job["jobName"])


def _environment(job: dict[str, Any]) -> dict[str, str]:
    container = job.get("container") or {}
    return {pair["name"]: pair.get("value", "") for pair in container.get("environment") or []}


def _detailed(platform: Platform, run: RunStatus) -> RunStatus:
    described = _describe(platform, [stage.job_id for stage in run.stages])
    names = {stage.job_id: stage.name for stage in run.stages}
    stages = {stage.name: stage for stage in (_stage(job, names[job["jobId"]]) for job in described)}
    prefix = next((stage.output_prefix for stage in stages.values() if stage.output_prefix), "")
    parts = prefix.split("/")  # runs/<project>/<run>/<stage>/
    if len(parts) < 4:
        return replace(run, stages=tuple(stages.values()))
    project = parts[1]
    return _with_files(platform, replace(run, project=project), stages)


def _with_files(platform: Platform, run: RunStatus, stages: dict[str, StageStatus]) -> RunStatus:
    """The stages in run.json's order, reused ones included, each with its documents."""
    plan = read_document(platform, f"{run_folder(run.project, run.id)}{RUN}", read_run, REQUEST_LIMIT)
    ordered = [_planned(entry, stages) for entry in plan.stages] if plan else list(stages.values())
    request = plan or _request(platform, ordered)
    is_old = is_settled(request.submitted_at if request else "")
    found = in_parallel(lambda stage: with_documents(platform, stage, is_old), ordered)
    if any(stage.status == FAILED for stage in found):  # those after it were never run
        found = [replace(stage, status=UNSENT) if stage.status == FORGOTTEN else stage for stage in found]
    return replace(run, stages=tuple(found), message=request.message if request else {})


def _request(platform: Platform, stages: list[StageStatus]) -> RequestDocument | None:
    """request.json of a run without a run.json, which is one job."""
    if not stages:
        return None
    return read_document(platform, f"{stages[0].output_prefix}{REQUEST}", read_request, REQUEST_LIMIT)


def _planned(planned: RunStage, stages: dict[str, StageStatus]) -> StageStatus:
    name = planned.stage
    if source := planned.reused_from:
        return StageStatus(name=name, status=REUSED, output_prefix=source, reused_from=source, size=planned.size)
    missing = StageStatus(name=name, status=UNSENT, job_name=planned.job_name, size=planned.size)
    known = stages.get(name, missing)
    return replace(known if known.job_id else missing, output_prefix=planned.output_prefix)


def _run_in_s3(platform: Platform, run_id: str) -> RunStatus:
    """A run whose jobs Batch has forgotten, or that needed none because all its stages were reused."""
    s3, bucket = platform.client("s3"), platform.settings.output_bucket
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=RUNS, Delimiter="/")
    projects = [item["Prefix"].split("/")[1] for page in pages for item in page.get("CommonPrefixes", [])]

    def folders(project: str) -> list[str]:
        listing = s3.list_objects_v2(Bucket=bucket, Prefix=run_folder(project, run_id), Delimiter="/")
        return [item["Prefix"].split("/")[3] for item in listing.get("CommonPrefixes", [])] + [
            item["Key"].split("/")[3] for item in listing.get("Contents", [])
        ]

    for project, names in zip(projects, in_parallel(folders, projects), strict=True):
        if not names:
            continue
        prefix = run_folder(project, run_id)
        stages = {
            name: StageStatus(name=name, status=UNSENT, output_prefix=f"{prefix}{name}/")
            for name in names
            if "." not in name
        }
        return _with_files(platform, RunStatus(id=run_id, stages=tuple(stages.values()), project=project), stages)
    raise Problem(
        f"There is no run {run_id!r} on {platform.project}.",
        "`splatworks status` lists the runs. A new one takes a few seconds; of a refused message an e-mail tells.",
    )
