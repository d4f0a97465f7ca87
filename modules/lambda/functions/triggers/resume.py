"""trigger_type resume: continue a run that has used up its attempts because of lost machines.

The monitor has this message published. Anyone else who publishes it gets no more than the run's own message allows: as
many resumptions as its auto_resume says, of a job that has failed for its machines and that nobody has stopped.
"""

from dataclasses import replace
from typing import Any

from aws.clients import client
from aws.documents import store, store_first
from aws.observability import logger
from splatworks.contract.documents.codec import APPLY
from splatworks.contract.documents.request import RequestDocument, read_request, write_request
from splatworks.contract.documents.run import RunDocument, RunStage, read_run, write_run
from splatworks.contract.keys import RUN
from splatworks.contract.resumes import document_key, resumed_name
from splatworks.contract.retries import FINAL_CODES, FINAL_REASONS
from splatworks.lookup.documents import read_object
from splatworks.planning.bad_input import BadInputError, format_value
from splatworks.planning.job_plan import plan_job
from splatworks.planning.message import Request
from splatworks.planning.message import check as check_message
from splatworks.planning.resume_plan import check_places, resumed_run
from triggers.base import BaseTrigger
from triggers.chain import find_job, submit_chain, submitted_before


class ResumeTrigger(BaseTrigger):
    """The document of the resumption is the commitment, as run.json is that of the run."""

    def execute(self, request: Request) -> dict[str, Any]:
        key, number = request.data["key"], int(request.data["number"])
        if key.endswith(f"/{RUN}"):
            return self._resume_run(key, number)
        return self._resume_job(key, number)

    def _resume_run(self, key: str, number: int) -> dict[str, Any]:
        first = self._read_run(key)
        _check_allowed(first.message, number, key)
        if first.key != key:
            raise _not_the_runs("key", key, first.key)
        committed, bucket = document_key(key, number), self.settings.output_bucket
        content = read_object(client, bucket, committed)
        if content is None:
            before = first if number == 1 else self._read_run(document_key(key, number - 1))
            found = _lost_stage(before)
            if isinstance(found, str):
                return _left_alone(key, number, found)
            stage, job_id = found
            store_first(bucket, committed, write_run(resumed_run(before, stage, job_id, number)))
        run = self._read_run(committed)
        return {"run_id": run.run_id, "resumed": number, "jobs": submit_chain(run, submitted_before(run), bucket)}

    def _resume_job(self, key: str, number: int) -> dict[str, Any]:
        bucket = self.settings.output_bucket
        content = read_object(client, bucket, key)
        if content is None:
            raise _missing(key)
        document = read_request(content, key, APPLY)
        _check_allowed(document.message, number, key)
        check_message(document.message)
        data, metadata = document.message["data"], document.message.get("metadata", {})
        plan = plan_job(
            Request(
                identity=document.request_id,
                trigger_type=document.message["trigger_type"],
                data=data,
                metadata=metadata,
                published=document.message,
            ),
            self.settings,
        )
        if plan.request_key != key:
            raise _not_the_runs("key", key, plan.request_key)
        check_places(document.job, plan.job.project, plan.job.run_id, plan.job.stage)
        name, queue = resumed_name(plan.name, number), plan.placement.queue
        job_id = find_job(queue, name)
        if job_id is None:
            lost = find_job(queue, resumed_name(plan.name, number - 1))
            if problem := _not_lost(lost):
                return _left_alone(key, number, problem)
            store(bucket, key, write_request(_resumed_request(document, str(lost))))
            submission = {name: value for name, value in plan.submission.items() if name != "dependsOn"}
            job_id = client("batch").submit_job(**{**submission, "jobName": name})["jobId"]
        return {"job_id": job_id, "job_name": name, "resumed": number}

    def _read_run(self, key: str) -> RunDocument:
        content = read_object(client, self.settings.output_bucket, key)
        if content is None:
            raise _missing(key)
        return read_run(content, key, APPLY)


def _resumed_request(document: RequestDocument, lost: str) -> RequestDocument:
    return replace(document, job=replace(document.job, resumes_job=lost))


def _lost_stage(run: RunDocument) -> tuple[RunStage, str] | str:
    """The stage whose job has lost its machines, and the job's id; or why the run is left alone."""
    jobs = submitted_before(run)
    for stage in run.submitted:
        job_id = jobs.get(stage.stage)
        job = _describe(job_id)
        if job is None:
            return f"AWS Batch does not know {stage.job_name}"
        if job["status"] == "SUCCEEDED":
            continue
        if stage.is_array:
            return f"{stage.job_name} is an array"
        later = [_describe(jobs.get(each.stage)) for each in run.submitted[run.submitted.index(stage) + 1 :]]
        stopped = next((each["jobName"] for each in later if each and _is_stopped(each)), None)
        problem = f"{stopped} was stopped" if stopped else _not_lost(job_id, job)
        return problem or (stage, str(job_id))
    return "all its jobs have succeeded"


def _not_lost(job_id: str | None, job: dict[str, Any] | None = None) -> str:
    """Why a job is not to be resumed; empty if it has failed for lost machines or temporary faults."""
    job = job or _describe(job_id)
    if job is None:
        return "AWS Batch does not know its job"
    attempts = job.get("attempts") or []
    last = (attempts[-1].get("container") or {}) if attempts else {}
    if job["status"] != "FAILED":
        return f"{job['jobName']} is {job['status']}"
    if _is_stopped(job):
        return f"{job['jobName']} was stopped"
    if len(attempts) < int((job.get("retryStrategy") or {}).get("attempts", 1)):
        return f"{job['jobName']} ended before its attempts were used up"
    if str(last.get("exitCode")) in FINAL_CODES or str(last.get("reason") or "").startswith(FINAL_REASONS):
        return f"{job['jobName']} failed for good"
    return ""


def _is_stopped(job: dict[str, Any]) -> bool:
    return bool(job.get("isTerminated") or job.get("isCancelled"))


def _describe(job_id: str | None) -> dict[str, Any] | None:
    jobs = client("batch").describe_jobs(jobs=[job_id])["jobs"] if job_id else []
    return jobs[0] if jobs else None


def _left_alone(key: str, number: int, reason: str) -> dict[str, Any]:
    logger.warning("not resumed", key=key, number=number, reason=reason)
    return {"not_resumed": reason, "key": key, "number": number}


def _check_allowed(message: dict[str, Any], number: int, key: str) -> None:
    allowed = message.get("data", {}).get("auto_resume", 0)
    if not isinstance(allowed, int) or number > allowed:
        raise BadInputError(
            field="data.number",
            given=format_value(number),
            allowed=f"at most auto_resume of the message in {key}, which is {allowed}",
            fix="Publish the run's own message again, with a higher auto_resume.",
        )


def _missing(key: str) -> BadInputError:
    return BadInputError(
        field="data.key",
        given=format_value(key),
        allowed="the key of a run.json or request.json that is in the output bucket",
        fix="The platform publishes this message by itself: publish the run's own message instead.",
    )


def _not_the_runs(name: str, given: str, allowed: str) -> BadInputError:
    return BadInputError(
        field=f"data.{name}", given=format_value(given), allowed=allowed, fix="Publish the run's own message again."
    )
