"""SubmitJob, DescribeJobs, ListJobs, CancelJob and TerminateJob, with the checks that AWS makes.

moto's own job half pretends: no retries, no arrays that fail, SIGKILL at once. Its environments, queues and
definitions stay in use.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from moto.batch.exceptions import ClientException
from moto.batch.models import JOB_NAME_REGEX, BatchBackend
from moto.batch.responses import BatchResponse

from local.batch.descriptions import detail, summary
from local.batch.jobs import STATES, Job
from local.batch.retry_rules import check_strategy, glob_matches
from local.batch.scheduler import JobScheduler
from local.moto.hooks import Hooks

MAX_PAYLOAD = 30_720  # bytes of a SubmitJob request
MAX_DEPENDENCIES = 20
PAGE, FILTERED_PAGE = 1000, 100  # jobs in one answer, by state and by filter


class BatchAPI:
    def __init__(self, scheduler: JobScheduler) -> None:
        self._scheduler = scheduler
        self._jobs = scheduler.registry

    def install(self, hooks: Hooks) -> None:
        hooks.replace(BatchResponse, "submitjob", lambda response: self.submit(response.batch_backend, body(response)))
        hooks.replace(BatchResponse, "describejobs", lambda response: self.describe(response, body(response)))
        hooks.replace(
            BatchResponse, "listjobs", lambda response: self.list_page(response.batch_backend, body(response))
        )
        hooks.replace(BatchResponse, "terminatejob", lambda response: self.terminate(body(response)))
        hooks.replace(BatchResponse, "canceljob", lambda response: self.cancel(body(response)))
        hooks.wrap(BatchResponse, "registerjobdefinition", register)
        hooks.wrap(BatchBackend, "delete_job_queue", self.delete_queue)

    def submit(self, backend: BatchBackend, request: dict[str, Any]) -> str:
        definition = backend.get_job_definition(request.get("jobDefinition", ""))
        if definition is None or definition.status != "ACTIVE":
            raise ClientException(f"JobDefinition {request.get('jobDefinition')} does not exist or is not ACTIVE")
        queue = backend.get_job_queue(request.get("jobQueue", ""))
        if queue is None:
            raise ClientException(f"JobQueue {request.get('jobQueue')} not found")
        if queue.state != "ENABLED":
            raise ClientException(f"JobQueue {queue.name} is not in ENABLED state")
        check_submission(request, queue.schedule_policy is not None)
        self._check_dependencies(request)
        job = self._scheduler.submit(queue, definition, request)
        if request.get("tags"):
            backend.tag_resource(job.arn, request["tags"])
        return json.dumps({"jobId": job.job_id, "jobName": job.name, "jobArn": job.arn})

    def _check_dependencies(self, request: dict[str, Any]) -> None:
        size = (request.get("arrayProperties") or {}).get("size")
        for dependency in request.get("dependsOn") or []:
            if dependency.get("type") == "SEQUENTIAL":
                continue  # names no job: it means the array's own previous child
            job = self._jobs.by_id.get(dependency.get("jobId", ""))
            if job is None:
                raise ClientException(f"dependsOn: there is no job {dependency.get('jobId')}")
            if dependency.get("type") == "N_TO_N" and (size is None or len(job.children) != size):
                raise ClientException(
                    f"dependsOn: N_TO_N binds arrays of one size; this has {size}, {job.name} has {len(job.children)}"
                )

    def describe(self, response: BatchResponse, request: dict[str, Any]) -> str:
        wanted = [name.rpartition(":job/")[2] for name in request.get("jobs") or []]
        found = [self._jobs.by_id[job_id] for job_id in wanted if job_id in self._jobs.by_id]
        backend = response.batch_backend
        return json.dumps({"jobs": [detail(job, backend.list_tags_for_resource(job.arn)) for job in found]})

    def list_page(self, backend: BatchBackend, request: dict[str, Any]) -> str:
        matching = [job for job in self._candidates(backend, request) if is_listed(job, request)]
        page = FILTERED_PAGE if request.get("filters") else PAGE
        start = page_start(request.get("nextToken"))
        end = start + min(int(request.get("maxResults") or page), page)
        shown: dict[str, Any] = {"jobSummaryList": [summary(job) for job in matching[start:end]]}
        if end < len(matching):
            shown["nextToken"] = base64.b64encode(str(end).encode()).decode()
        return json.dumps(shown)

    def _candidates(self, backend: BatchBackend, request: dict[str, Any]) -> list[Job]:
        """Return jobs, newest first. The children of an array are listed only by the array's id."""
        if request.get("arrayJobId"):
            array = self._jobs.by_id.get(request["arrayJobId"])
            return array.children if array else []
        if not request.get("jobQueue"):
            raise ClientException("Must provide one of JobQueue, ArrayJobId or MultiNodeJobId")
        queue = backend.get_job_queue(request["jobQueue"])
        if queue is None:
            raise ClientException(f"Job queue {request['jobQueue']} does not exist")
        name = exact_name(request)
        return self._jobs.of_queue(queue.arn) if name is None else self._jobs.named(queue.arn, name)

    def terminate(self, request: dict[str, Any]) -> str:
        job = self._stoppable(request)
        if job is not None:
            self._scheduler.terminate(job, request["reason"])
        return "{}"

    def cancel(self, request: dict[str, Any]) -> str:
        job = self._stoppable(request)
        if job is not None:
            self._scheduler.cancel(job, request["reason"])
        return "{}"

    def _stoppable(self, request: dict[str, Any]) -> Job | None:
        for name in ("jobId", "reason"):
            if not request.get(name):
                raise ClientException(f"'{name}' is a required field (cannot be an empty string)")
        return self._jobs.by_id.get(request["jobId"])

    def delete_queue(self, original: Any, backend: BatchBackend, queue_name: str) -> None:
        """Terminate the jobs of a deleted queue, like AWS."""
        queue = backend.get_job_queue(queue_name)
        for job in list(self._jobs.by_id.values()):
            if queue is not None and job.queue.arn == queue.arn and not job.ended and job.parent is None:
                self._scheduler.terminate(job, "Job queue was deleted")
        original(backend, queue_name)


def register(original: Any, response: BatchResponse) -> str:
    check_retries(body(response))
    answer: str = original(response)
    return answer


def body(response: BatchResponse) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(response.body or "{}")
    return parsed


def check_submission(request: dict[str, Any], fair_share: bool) -> None:
    problems = [
        (JOB_NAME_REGEX.match(request.get("jobName", "")) is None, "Job name should match valid pattern"),
        (len(json.dumps(request)) > MAX_PAYLOAD, f"The request is larger than {MAX_PAYLOAD} bytes"),
        (
            fair_share and not request.get("shareIdentifier"),
            "A shareIdentifier is required: the job queue has a scheduling policy",
        ),
        (
            not fair_share and bool(request.get("shareIdentifier")),
            "shareIdentifier is only valid for a job queue that has a scheduling policy",
        ),
        (not str(request.get("shareIdentifier") or "a").isalnum(), "shareIdentifier must be alphanumeric"),
        (len(request.get("dependsOn") or []) > MAX_DEPENDENCIES, f"At most {MAX_DEPENDENCIES} dependencies"),
        (not 2 <= array_size(request) <= 10_000, "Array size must be between 2 and 10000"),
        (attempt_seconds(request) < 60, "attemptDurationSeconds must be at least 60"),
    ]
    for found, message in problems:
        if found:
            raise ClientException(message)
    check_retries(request)


def check_retries(request: dict[str, Any]) -> None:
    if problem := check_strategy(request.get("retryStrategy") or {}):
        raise ClientException(f"Error executing request, Exception : {problem}")


def array_size(request: dict[str, Any]) -> int:
    return int((request.get("arrayProperties") or {}).get("size", 2))


def attempt_seconds(request: dict[str, Any]) -> int:
    return int((request.get("timeout") or {}).get("attemptDurationSeconds", 60))


def is_listed(job: Job, request: dict[str, Any]) -> bool:
    """Tell if ListJobs returns this job. Filters replace the status, except for an array's children."""
    filters = request.get("filters") or []
    if len(filters) > 1:
        raise ClientException("Only one filter can be used at a time")
    if filters and job.parent is None:
        return filter_matches(job, filters[0]["name"], filters[0]["values"])
    wanted = request.get("jobStatus") or "RUNNING"
    if wanted not in STATES:
        raise ClientException(f"jobStatus {wanted} is not one of {' | '.join(STATES)}")
    return job.status == wanted


def filter_matches(job: Job, name: str, values: list[str]) -> bool:
    if name == "JOB_NAME":
        return any(name_matches(value.lower(), job.name.lower()) for value in values)
    if name == "JOB_DEFINITION":
        return any(value in (job.definition.name, job.definition.arn) for value in values)
    if name == "SHARE_IDENTIFIER":
        return any(glob_matches(value, job.request.get("shareIdentifier") or "") for value in values)
    if name == "BEFORE_CREATED_AT":
        return job.created_at < int(values[0])
    if name == "AFTER_CREATED_AT":
        return job.created_at > int(values[0])
    raise ClientException(f"Unknown filter {name}")


def name_matches(wanted: str, name: str) -> bool:
    """Match a value; an asterisk is a wildcard only at the end."""
    return name.startswith(wanted[:-1]) if wanted.endswith("*") else name == wanted


def exact_name(request: dict[str, Any]) -> str | None:
    """Return the name if the filter is one exact name, which can be looked up."""
    values = [value for item in request.get("filters") or [] if item["name"] == "JOB_NAME" for value in item["values"]]
    return values[0] if len(values) == 1 and not values[0].endswith("*") else None


def page_start(token: str | None) -> int:
    if not token:
        return 0
    try:
        return int(base64.b64decode(token, validate=True))
    except ValueError as error:
        raise ClientException("Invalid nextToken") from error
