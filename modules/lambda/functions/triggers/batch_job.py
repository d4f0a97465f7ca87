"""trigger_type batch_job: one script on one machine (or an array of them)."""

from typing import Any

from aws.clients import client
from aws.documents import store
from splatworks.contract.documents.codec import APPLY
from splatworks.contract.documents.request import RequestDocument, read_request, write_request
from splatworks.lookup.buckets import require_input, require_script
from splatworks.lookup.documents import read_object
from splatworks.planning.bad_input import BadInputError, format_value
from splatworks.planning.job_plan import JobPlan, now, plan_job
from splatworks.planning.message import Request
from triggers.base import BaseTrigger
from triggers.chain import find_job


class BatchJobTrigger(BaseTrigger):
    def execute(self, request: Request) -> dict[str, Any]:
        plan = plan_job(request, self.settings)
        job_id = self._submitted_before(plan, request)
        if job_id is None:
            self._check_what_it_needs(plan)
            self._write_request(plan, request)
            job_id = client("batch").submit_job(**plan.submission)["jobId"]
        return {
            "job_id": job_id,
            "job_name": plan.name,
            "queue": plan.placement.queue,
            "output": f"s3://{self.settings.output_bucket}/{plan.job.output_prefix}",
        }

    def _submitted_before(self, plan: JobPlan, request: Request) -> str | None:
        """The job of an earlier call that ended between SubmitJob and its record."""
        job_id = find_job(plan.placement.queue, plan.name)
        if job_id is None:
            return None
        content = read_object(client, self.settings.output_bucket, plan.request_key)
        if content is None or read_request(content, plan.request_key, APPLY).message != request.published:
            raise other_body(request)
        return job_id

    def _check_what_it_needs(self, plan: JobPlan) -> None:
        require_script(client, self.settings.input_bucket, plan.job.script_key)
        for uri in plan.job.input:
            require_input(client, uri)
        _require_jobs([dependency["jobId"] for dependency in plan.submission.get("dependsOn", [])])

    def _write_request(self, plan: JobPlan, request: Request) -> None:
        document = RequestDocument(
            request_id=request.identity, message=request.published, job=plan.job, submitted_at=now()
        )
        store(self.settings.output_bucket, plan.request_key, write_request(document))


def other_body(request: Request) -> BadInputError:
    return BadInputError(
        field="data.request_id",
        given=format_value(request.identity),
        allowed="an id that no other message had in the last 14 days",
        fix="Another message with this id was accepted. Give a new request_id, or none.",
    )


def _require_jobs(job_ids: list[str]) -> None:
    if not job_ids:
        return
    known = {job["jobId"] for job in client("batch").describe_jobs(jobs=job_ids)["jobs"]}
    unknown = [job_id for job_id in job_ids if job_id not in known]
    if unknown:
        raise BadInputError(
            field="data.depends_on",
            given=format_value(unknown),
            allowed="ids of jobs that Batch knows",
            fix="Remove them; Batch forgets a job about a week after its end.",
        )
