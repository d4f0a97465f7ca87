"""trigger_type batch_job: one script on one machine (or an array of them)."""

import json
from typing import Any

from aws_clients import client
from bad_input import BadInputError, shown
from bucket_checks import require_input, require_script
from job_plan import JobPlan, plan_job
from message import Request

from triggers.base import BaseTrigger


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
            "queue": plan.submission["jobQueue"],
            "output": f"s3://{self.settings.output_bucket}/{plan.job['output_prefix']}",
        }

    def _submitted_before(self, plan: JobPlan, request: Request) -> str | None:
        """The job of an earlier call that ended between SubmitJob and its record."""
        queue = plan.submission["jobQueue"]
        filters = [{"name": "JOB_NAME", "values": [plan.name]}]
        pages = client("batch").get_paginator("list_jobs").paginate(jobQueue=queue, filters=filters)
        jobs = [job for page in pages for job in page["jobSummaryList"] if job["jobName"] == plan.name]
        if not jobs:
            return None
        if self._recorded_message(plan) != request.published:
            raise other_body(request)
        job_id: str = jobs[0]["jobId"]
        return job_id

    def _recorded_message(self, plan: JobPlan) -> Any:
        s3 = client("s3")
        try:
            body = s3.get_object(Bucket=self.settings.output_bucket, Key=plan.request_key)["Body"].read()
        except s3.exceptions.NoSuchKey:
            return None
        return json.loads(body)["message"]

    def _check_what_it_needs(self, plan: JobPlan) -> None:
        require_script(self.settings.input_bucket, plan.script_key)
        for uri in plan.inputs:
            require_input(uri)
        _require_jobs([dependency["jobId"] for dependency in plan.submission.get("dependsOn", [])])

    def _write_request(self, plan: JobPlan, request: Request) -> None:
        client("s3").put_object(
            Bucket=self.settings.output_bucket,
            Key=plan.request_key,
            Body=json.dumps(plan.document(request), indent=1).encode(),
            ContentType="application/json",
        )


def other_body(request: Request) -> BadInputError:
    return BadInputError(
        field="data.request_id",
        given=shown(request.identity),
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
            given=shown(unknown),
            allowed="ids of jobs that Batch knows",
            fix="Remove them; Batch forgets a job about a week after its end.",
        )
