"""A pipeline run as its jobs, files and events look: AWS Batch answers what a test says it knows."""

import copy
import json
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from lambda_platform import Platform, saved_event

RUN = "harbour-0123456789ab"
FOLDER = f"runs/surveys/{RUN}/"
QUEUE = "arn:aws:batch:us-east-1:123456789012:job-queue/demo-ml-{}-job-queue"
STARTED = 1_769_860_800  # 2026-01-31 12:00:00 UTC
KINDS = {"sfm": "cpu", "train": "gpu", "compress": "cpu"}
MESSAGE: dict[str, Any] = {
    "trigger_type": "splat_pipeline",
    "data": {
        "input": "photos/harbour/",
        "preset": "standard",
        "sfm": {"parameters": {"camera_mode": "single"}},
        "train": {"memory": 30000, "parameters": {"cap_max": 300000}},
        "compress": {"parameters": {"title": "The harbour's wall"}},
        "request_id": "nightly-1",
    },
    "metadata": {"user": "ml-engineer", "project": "surveys", "experiment": "first"},
}
METRICS: dict[str, dict[str, Any]] = {
    "sfm": {
        "photos": 24,
        "registered": 22,
        "points": 9123,
        "reprojection_error_px": 0.61,
        "warnings": ["2 photos are blurred: a, b"],
    },
    "train": {"psnr": 27.3012, "ssim": 0.88, "gaussians": 181234, "steps": 30000},
    "compress": {
        "splats": 180990,
        "megabytes": 2.913,
        "psnr": 41.2,
        "loss_db": 0.1204,
        "loss_is": "measured against photos",
    },
}
# A stage's error, as its result.json has it.
LIMIT = {"code": "low_psnr", "cause": "the held-out PSNR is 11 dB, under 15 dB", "fix": "Take sharper photos."}


@dataclass
class PipelineRun:
    """Stage n starts 2 minutes after the one before has ended and takes 10 minutes, unless a test says otherwise."""

    platform: Platform
    message: dict[str, Any] = field(default_factory=lambda: copy.deepcopy(MESSAGE))
    stages: list[dict[str, Any]] = field(default_factory=list)
    scenes: list[dict[str, Any]] = field(default_factory=list)
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)  # what DescribeJobs answers, by id
    children: dict[str, list[dict[str, Any]]] = field(default_factory=dict)  # what ListJobs answers, by the array's id
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def plan(
        self,
        *names: str,
        size: int = 1,
        reused: dict[str, str] | None = None,
        variants: list[dict[str, Any]] | None = None,
    ) -> None:
        """run.json. `size` and `variants` are those of train and compress in a sweep, of all stages with scenes."""
        before: list[str] = ["s3://demo-input/photos/harbour/"]
        prefixes = {name: (reused or {}).get(name, f"{FOLDER}{name}/") for name in KINDS}
        for name in names:
            single = name == "sfm" and not self.scenes
            reused_from = (reused or {}).get(name)
            job = {
                "script_key": f"stages/{name}.py",
                "checkpoint_prefix": f"checkpoints/surveys/{RUN}/{name}/",
                "input": before,
                "input_layout": "by_name" if len(before) > 1 else "flat",
            }
            stage = {
                "stage": name,
                "job_name": f"{RUN}-{name}",
                "queue": QUEUE.format(KINDS[name]),
                "compute_type": KINDS[name],
                "size": 1 if single else size,
                "output_prefix": f"{FOLDER}{name}/",
                "variants": None if single or not variants else [each[name] for each in variants],
                "content_key": None,
                "reused_from": reused_from,
                "job": None if reused_from else job,
                "submission": None if reused_from else {},
            }
            self.stages.append(stage)
            done = [f"s3://demo-output/{prefixes[each['stage']]}" for each in self.stages]
            before = done[-2:]
        self.write_run()

    def write_run(self) -> None:
        scenes_key = f"{FOLDER}scenes.json" if self.scenes else None
        document = {
            "version": 1,
            "run_id": RUN,
            "project": "surveys",
            "request_id": "nightly-1",
            "message": self.message,
            "submitted_at": "2026-01-31T12:00:00Z",
            "scenes": {"count": len(self.scenes) or 1, "key": scenes_key},
            "max_cost_usd": None,
            "stages": self.stages,
        }
        self.platform.put("demo-output", f"{FOLDER}run.json", document)
        if scenes_key:
            self.platform.put("demo-output", scenes_key, self.scenes)

    def ends(self, stage: str, status: str = "SUCCEEDED", **changes: Any) -> dict[str, Any]:
        """The job of a stage has ended; returns the event that says so."""
        order = [each["stage"] for each in self.stages]
        begun = STARTED + 120 + 720 * order.index(stage)
        event = saved_event("job_succeeded" if status == "SUCCEEDED" else "job_script_error")
        job_id = f"00000000-0000-0000-0000-00000000000{order.index(stage)}"
        detail = event["detail"]
        attempt = detail["attempts"][0] | {"startedAt": begun * 1000, "stoppedAt": (begun + 600) * 1000}
        detail |= {
            "jobName": f"{RUN}-{stage}",
            "jobId": job_id,
            "jobQueue": QUEUE.format(KINDS[stage]),
            "status": status,
            "createdAt": STARTED * 1000,
            "startedAt": begun * 1000,
            "stoppedAt": (begun + 600) * 1000,
            "attempts": [attempt],
        } | changes
        detail["container"]["environment"] = [
            {"name": name, "value": value}
            for name, value in {
                "REQUEST_KEY": f"{FOLDER}{stage}/request.json",
                "OUTPUT_PREFIX": f"{FOLDER}{stage}/",
                "RUN_ID": RUN,
                "RUN_KEY": f"{FOLDER}run.json",
                "STAGE": stage,
            }.items()
        ]
        self.jobs[job_id] = copy.deepcopy(detail)
        return event

    def ends_array(self, stage: str, failed: dict[int, str]) -> dict[str, Any]:
        """`failed`: status reasons by index. A part that failed for another's sake was never started."""
        size = next(each["size"] for each in self.stages if each["stage"] == stage)
        summary = {"SUCCEEDED": size - len(failed), "FAILED": len(failed)}
        reason = "Array Child Job failed" if failed else ""
        event = self.ends(
            stage,
            "FAILED" if failed else "SUCCEEDED",
            statusReason=reason,
            attempts=[],
            startedAt=None,
            arrayProperties={"size": size, "statusSummary": summary},
        )
        job_id = event["detail"]["jobId"]
        self.children[job_id] = [
            {
                "jobId": f"{job_id}:{index}",
                "jobName": event["detail"]["jobName"],
                "status": "FAILED",
                "statusReason": why,
                "arrayProperties": {"index": index},
            }
            for index, why in failed.items()
        ]
        return event

    def never_starts(self, stage: str) -> dict[str, Any]:
        return self.ends(
            stage, "FAILED", statusReason="Dependent Job failed", attempts=[], startedAt=None, stoppedAt=STARTED * 1000
        )

    def writes(self, stage: str, *, folder: str = FOLDER, index: int | None = None, **report: Any) -> None:
        """The files that the runner and the script leave."""
        prefix = f"{folder}{stage}/" + ("" if index is None else f"{index}/")
        job_id = next((job["jobId"] for job in self.jobs.values() if job["jobName"] == f"{RUN}-{stage}"), "earlier")
        job_id = job_id if index is None else f"{job_id}:{index}"
        written = {
            "version": 1,
            "job_id": job_id,
            "attempt": len(self.jobs.get(job_id, {}).get("attempts", "1")),
            "ended": "done",
            "error": None,
            "machine": {"instance_type": "g5.xlarge", "lifecycle": "spot", "availability_zone": "us-east-1a"},
            "seconds": {"script": 580.0, "total": 598.0},
            "cost": {"usd": 0.1229, "usd_per_hour": 0.74, "source": "EC2 spot price history"},
            "interruptions": [],
            "reused_from": None,
        } | report
        self.platform.put("demo-output", f"{prefix}job.json", written)
        metrics = report.get("metrics", METRICS[stage])
        self.platform.put(
            "demo-output", f"{prefix}result.json", {"version": 1, "metrics": metrics, "error": written["error"]}
        )

    def succeeds(self) -> dict[str, Any]:
        """Each stage has ended well; returns the last event."""
        for stage in self.stages:
            event = self.ends(stage["stage"])
            self.writes(stage["stage"])
        return event

    def install(self) -> None:
        from aws import clients as aws_clients
        from gather.run_jobs import ATTEMPTS

        events = aws_clients.client("batch", ATTEMPTS).meta.events
        for operation, answer in (("ListJobs", self._listed), ("DescribeJobs", self._described)):
            events.register(f"before-call.batch.{operation}", self._answering(operation, answer))

    def _answering(self, operation: str, answer: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[..., Any]:
        def handler(params: dict[str, Any], **_: Any) -> Any:
            asked = json.loads(params["body"])
            self.calls.append((operation, asked))

            class Answered:
                status_code = 200

            return Answered(), answer(asked)

        return handler

    def _described(self, asked: dict[str, Any]) -> dict[str, Any]:
        found = [self._part(job_id) if ":" in job_id else self.jobs.get(job_id) for job_id in asked["jobs"]]
        return {"jobs": [job for job in found if job]}

    def _part(self, job_id: str) -> dict[str, Any]:
        parent = job_id.partition(":")[0]
        (summary,) = [each for each in self.children[parent] if each["jobId"] == job_id]
        detail: dict[str, Any] = saved_event("array_child_failed")["detail"]
        return detail | summary | {"container": self.jobs[parent]["container"]}

    def _listed(self, asked: dict[str, Any]) -> dict[str, Any]:
        if "arrayJobId" in asked:
            found = [child for child in self.children[asked["arrayJobId"]] if child["status"] == asked["jobStatus"]]
            start = int(asked.get("nextToken", 0))
            more = {"nextToken": str(start + 100)} if start + 100 < len(found) else {}
            return {"jobSummaryList": found[start : start + 100], **more}
        (names,) = [each["values"] for each in asked["filters"] if each["name"] == "JOB_NAME"]
        found = [job for job in self.jobs.values() if job["jobName"] in names and job["jobQueue"] == asked["jobQueue"]]
        return {"jobSummaryList": found}


@pytest.fixture
def run(platform: Platform) -> PipelineRun:
    started = PipelineRun(platform)
    started.install()
    return started


def published(body: str) -> dict[str, Any]:
    """The message in the e-mail's command, which the dispatcher's schema takes."""
    line = next(line for line in body.splitlines() if line.strip().startswith("aws sns publish"))
    arguments = shlex.split(line)
    assert arguments[arguments.index("--topic-arn") + 1].endswith(":demo-ml-trigger-events")
    found: dict[str, Any] = json.loads(arguments[arguments.index("--message") + 1])
    from splatworks.planning import message

    message.check(found)
    return found
