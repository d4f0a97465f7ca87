"""Find the Batch jobs of a run by their names: run.json was written before they had ids."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from aws.clients import client
from splatworks.contract.documents.run import RunDocument, RunStage
from splatworks.report.job_facts import DEPENDENCY_FAILED, BatchJob, read_detail
from splatworks.report.part_facts import FailedPart

ATTEMPTS = 8  # of a call that only reads: a thousand pages in a minute may be throttled
DESCRIBED_AT_ONCE = 100


def stage_jobs(run: RunDocument, ended: BatchJob | None, region: str) -> dict[str, BatchJob]:
    """Jobs by stage; `ended` is the job of the event.

    Jobs that Batch no longer knows, a week after their end, are missing.
    """
    client("batch", ATTEMPTS)  # made before the threads start: boto3's session is for one thread
    submitted = run.submitted
    with ThreadPoolExecutor(max(1, len(submitted))) as pool:
        ids = list(pool.map(partial(_job_id, ended), submitted))
    found = {job.name: job for job in describe([job_id for job_id in ids if job_id], region)}
    # The event may know of an end that DescribeJobs does not; on the parts of an array DescribeJobs is the newer one.
    if ended and not (ended.name in found and found[ended.name].has_ended):
        found[ended.name] = ended
    return {stage.stage: found[stage.job_name] for stage in submitted if stage.job_name in found}


def describe(job_ids: Sequence[str], region: str) -> list[BatchJob]:
    batch = client("batch", ATTEMPTS)
    jobs = []
    for start in range(0, len(job_ids), DESCRIBED_AT_ONCE):
        details = batch.describe_jobs(jobs=list(job_ids[start : start + DESCRIBED_AT_ONCE]))["jobs"]
        jobs += [read_detail(detail, region) for detail in details]
    return jobs


class EndNotKnownError(Exception):
    """Batch reported a consequence and does not report its cause yet: Lambda tries the event again."""


def root_failure(run: RunDocument, jobs: dict[str, BatchJob]) -> RunStage | None:
    """The first stage that failed, which made those after it fail. None if Batch no longer knows its job."""
    found = [stage for stage in run.submitted if stage.stage in jobs]
    for stage in found:
        job = jobs[stage.stage]
        if job.status == "FAILED" and not job.was_left_out:
            return stage
        if job.stop_requested and not job.has_ended:
            raise EndNotKnownError(f"{job.name} was told to stop before the jobs after it, and has not ended yet")
    if going := [stage.job_name for stage in found if not jobs[stage.stage].has_ended]:
        raise EndNotKnownError(f"a job that waits for {going[0]} has failed, but AWS Batch does not say that this has")
    return None


def failed_parts(array_job_id: str) -> list[FailedPart]:
    pages = client("batch", ATTEMPTS).get_paginator("list_jobs").paginate(arrayJobId=array_job_id, jobStatus="FAILED")
    return [_part(summary) for page in pages for summary in page["jobSummaryList"]]


def _job_id(ended: BatchJob | None, stage: RunStage) -> str | None:
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
