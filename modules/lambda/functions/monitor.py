"""Send one e-mail about each finished job or run, and about a job that blocks its queue."""

import os
from dataclasses import replace
from typing import Any

from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.data_classes import EventBridgeEvent
from aws_lambda_powertools.utilities.idempotency.exceptions import IdempotencyAlreadyInProgressError
from aws_lambda_powertools.utilities.typing import LambdaContext

from aws.clients import client
from aws.notification import send_email
from aws.observability import logger, metrics
from aws.once import run_once
from gather.documents import read_run
from gather.job_files import gather
from gather.resume import schedule
from gather.run_report import compose_run
from gather.settings import MonitorSettings
from splatworks.contract.documents.run import RunDocument
from splatworks.contract.environment import RUN_KEY
from splatworks.contract.events import RUN_KEY_FIELD, RUN_SETTLED
from splatworks.report.blocked_email import blocked_email
from splatworks.report.email import Email
from splatworks.report.job_email import cost_text, job_email
from splatworks.report.job_facts import BatchJob, read_detail
from splatworks.report.resumes import resume_of, resumes_email
from splatworks.report.run_facts import ends_run

QUEUE_BLOCKED = "Batch Job Queue Blocked"  # event of Batch about a job at the head of a queue that cannot start


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    settings = MonitorSettings.from_environment(os.environ)
    bridged = EventBridgeEvent(event)
    if bridged.detail_type == RUN_SETTLED:
        run = read_run(settings.output_bucket, bridged.detail[RUN_KEY_FIELD])
        return report_run_once(run, None, bridged.region, settings, context)
    job = read_detail(bridged.detail, bridged.region)
    if bridged.detail_type == QUEUE_BLOCKED:
        return report_blocked_once(job, settings, context)
    if not job.has_ended or job.array_index is not None:
        return {"skipped": f"{job.id} {job.status}"}  # the e-mail of an array counts its parts
    if run_key := job.environment.get(RUN_KEY):
        run = read_run(settings.output_bucket, run_key)
        stage = run.stage_of_job(job.name)
        if stage and not ends_run(run, stage, failed=not job.succeeded):
            return {"skipped": f"{job.name} {job.status}, {run.run_id} goes on"}
        if stage:
            return report_run_once(run, job, job.region, settings, context)
        # A copy of a stage's job under another name is not part of the run: reported like any other job.
    return run_once(
        lambda: report(job, settings),
        kind="job-email",
        key=job.id,
        body=None,
        table=settings.idempotency_table,
        context=context,
    )


def report(job: BatchJob, settings: MonitorSettings) -> dict[str, Any]:
    facts = gather(with_array_summary(job), settings)
    if not job.succeeded and (resume := resume_of(facts)):
        email = resumes_email(facts, resume, settings, cost=cost_text(facts.report))
    else:
        email = job_email(facts, settings)
    send(email, settings)
    count("Jobs", email)
    logger.info("reported", job_id=job.id, job_name=job.name, status=job.status, subject=email.subject)
    return {"job_id": job.id, "subject": email.subject}


def report_run_once(
    run: RunDocument, ended: BatchJob | None, region: str, settings: MonitorSettings, context: LambdaContext
) -> dict[str, Any]:
    def report_run() -> dict[str, Any]:
        email = compose_run(run, ended, settings, region)
        send(email, settings)
        count("Runs", email)
        logger.info("reported", run_id=run.run_id, subject=email.subject)
        return {"run_id": run.run_id, "subject": email.subject}

    try:
        return run_once(
            report_run,
            kind="run-email",
            key=f"{run.run_id}{f'-r{run.resumed}' if run.resumed else ''}",
            body=None,
            table=settings.idempotency_table,
            context=context,
        )
    except IdempotencyAlreadyInProgressError:
        # The jobs of a chain fail at the same moment. The event of the cause is tried again, in case the call that is
        # reporting now dies; the events of its consequences add nothing.
        if ended is None or not ended.was_left_out:
            raise
        return {"skipped": f"{run.run_id} is being reported"}


def report_blocked_once(job: BatchJob, settings: MonitorSettings, context: LambdaContext) -> dict[str, Any]:
    if job.status_reason.startswith(settings.cancelled_reasons):
        return {"skipped": f"{job.name} waits; it is reported once it has ended or was cancelled"}

    def report_blocked() -> dict[str, Any]:
        email = blocked_email(job, settings.project_name)
        send(email, settings)
        logger.info("reported", job_id=job.id, job_name=job.name, status=job.status, subject=email.subject)
        return {"job_id": job.id, "subject": email.subject}

    # One for all parts of an array, which come to the head of the queue one after the other.
    key = job.id.partition(":")[0]
    return run_once(
        report_blocked, kind="blocked-email", key=key, body=None, table=settings.idempotency_table, context=context
    )


def count(what: str, email: Email) -> None:
    ended = "Resumed" if email.resume else "Succeeded" if email.succeeded else "Failed"
    metrics.add_metric(name=f"{what}{ended}", unit=MetricUnit.Count, value=1)


def send(email: Email, settings: MonitorSettings) -> None:
    """Schedule what the e-mail announces, store the files that it refers to, then send it."""
    if email.resume:
        schedule(email.resume, settings)
    for file in email.files:
        body, kind = file.text.encode(), file.content_type
        client("s3").put_object(Bucket=settings.output_bucket, Key=file.key, Body=body, ContentType=kind)
    send_email(settings.notification_topic_arn, email.subject, email.body)


def with_array_summary(job: BatchJob) -> BatchJob:
    """The event of an array may be older than the end of its last part: ask again unless the counts add up."""
    counted = job.array_summary.get("SUCCEEDED", 0) + job.array_summary.get("FAILED", 0)
    if not job.array_size or counted == job.array_size:
        return job
    jobs = client("batch").describe_jobs(jobs=[job.id])["jobs"]
    return replace(job, array_summary=jobs[0]["arrayProperties"].get("statusSummary", {})) if jobs else job
