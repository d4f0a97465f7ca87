"""The Batch jobs of a run: found by their names, since run.json is older than they are."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from aws.clients import client
from splatworks.report.job_facts import DEPENDENCY_FAILED, Job, read_detail
from splatworks.report.run_record import Run, RunStage

ATTEMPTS = 8  # of a call that only reads: a thousand pages in a minute may be throttled
DESCRIBED_AT_ONCE = 100


@dataclass(frozen=True)
class FailedPart:
    """A part of an array that failed, as ListJobs tells it."""

    index: int
    job_id: str
    dependency_failed: bool  # it never started, because the same part of the stage before failed


def stage_jobs(run: Run, ended: Job | None, region: str) -> dict[str, Job]:
    """By stage. `ended` is the job of the event. One that Batch has forgotten, a week after its end, is missing."""
    client("batch", ATTEMPTS)  # made before the threads start: boto3's session is for one thread
    with ThreadPoolExecutor(max(1, len(run.submitted))) as pool:
        ids = list(pool.map(lambda stage: _job_id(stage, ended), run.submitted))
    found = {job.name: job for job in describe([job_id for job_id in ids if job_id], region)}
    # The event may know of an end that DescribeJobs does not; on the parts of an array DescribeJobs is the newer one.
    if ended and not (ended.name in found and found[ended.name].has_ended):
        found[ended.name] = ended
    return {stage.name: found[stage.job_name] for stage in run.submitted if stage.job_name in found}


def describe(job_ids: Sequence[str], region: str) -> list[Job]:
    batch = client("batch", ATTEMPTS)
    jobs = []
    for start in range(0, len(job_ids), DESCRIBED_AT_ONCE):
        details = batch.describe_jobs(jobs=list(job_ids[start : start + DESCRIBED_AT_ONCE]))["jobs"]
        jobs += [read_detail(detail, region) for detail in details]
    return jobs


class EndNotKnownError(Exception):
    """Batch has told of a consequence and does not know of its cause yet: Lambda tries the event again."""


def root_failure(run: Run, jobs: dict[str, Job]) -> RunStage | None:
    """The first stage that failed of itself; those after it failed because it did. None where Batch has forgotten."""
    found = [stage for stage in run.submitted if stage.name in jobs]
    for stage in found:
        job = jobs[stage.name]
        if job.status == "FAILED" and not job.was_left_out:
            return stage
        if job.told_to_stop and not job.has_ended:
            raise EndNotKnownError(f"{job.name} was told to stop before the jobs after it, and has not ended yet")
    if going := [stage.job_name for stage in found if not jobs[stage.name].has_ended]:
        raise EndNotKnownError(f"a job that waits for {going[0]} has failed, but AWS Batch does not say that this has")
    return None


def failed_parts(array_job_id: str) -> list[FailedPart]:
    pages = client("batch", ATTEMPTS).get_paginator("list_jobs").paginate(arrayJobId=array_job_id, jobStatus="FAILED")
    return [_part(summary) for page in pages for summary in page["jobSummaryList"]]


def _job_id(stage: RunStage, ended: Job | None) -> str | None:
    if ended and stage.job_name == ended.name:
        return ended.id
    filters = [{"name": "JOB_NAME", "values": [stage.job_name]}]
    pages = client("batch", ATTEMPTS).get_paginator("list_jobs").paginate(jobQueue=stage.queue, filters=filters)
    # The filter takes capitals for small letters. The oldest is the run's own, any other somebody's copy of it.
    found = [job for page in pages for job in page["jobSummaryList"] if job["jobName"] == stage.job_name]
    oldest = min(found, key=lambda job: job["createdAt"], default=None)
    return oldest and oldest["jobId"]


def _part(summary: dict[str, Any]) -> FailedPart:
    return FailedPart(
        index=summary["arrayProperties"]["index"],
        job_id=summary["jobId"],
        dependency_failed=(summary.get("statusReason") or "").startswith(DEPENDENCY_FAILED),
    )
