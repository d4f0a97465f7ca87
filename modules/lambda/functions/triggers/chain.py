"""Submit the jobs of a run, each waiting for the one before."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from aws.clients import client
from aws.documents import store
from splatworks.contract.documents.request import JobRequest, RequestDocument, write_request
from splatworks.contract.documents.run import RunDocument


def submit_chain(run: RunDocument, submitted: dict[str, str], bucket: str) -> dict[str, str]:
    """The chain's job ids by stage; `submitted` are those that an earlier call has submitted."""
    batch = client("batch")
    # Not of jobs that were submitted: an object newer than a stage's _SUCCESS makes its result unusable.
    _write_requests(run, [each.job for each in run.stages if each.job and each.stage not in submitted], bucket)
    jobs: dict[str, str] = {}
    waits: dict[str, Any] = {}  # what the next stage waits for
    for stage in run.submitted:
        job_id = submitted.get(stage.stage)
        if job_id is None:
            job_id = batch.submit_job(**(stage.submission or {}), **waits)["jobId"]
        jobs[stage.stage] = job_id
        # If an array follows an array, a scene or variant waits for its own, not for all others.
        waits = {"dependsOn": [{"jobId": job_id, "type": "N_TO_N"} if stage.is_array else {"jobId": job_id}]}
    return jobs


def submitted_before(run: RunDocument) -> dict[str, str]:
    """Job ids by stage, of the jobs that an earlier call submitted."""
    found = {stage.stage: find_job(stage.queue, stage.job_name) for stage in run.submitted}
    return {stage: job_id for stage, job_id in found.items() if job_id}


def find_job(queue: str, name: str) -> str | None:
    filters = [{"name": "JOB_NAME", "values": [name]}]
    pages = client("batch").get_paginator("list_jobs").paginate(jobQueue=queue, filters=filters)
    return next((job["jobId"] for page in pages for job in page["jobSummaryList"] if job["jobName"] == name), None)


def _write_requests(run: RunDocument, jobs: list[JobRequest], bucket: str) -> None:
    documents = [
        RequestDocument(request_id=run.request_id, message=run.message, job=job, submitted_at=run.submitted_at)
        for job in jobs
    ]
    with ThreadPoolExecutor(len(jobs) or 1) as pool:
        list(pool.map(lambda each: store(bucket, each.job.request_key, write_request(each)), documents))
