"""A Batch job that has ended becomes one e-mail, and so does a run of several jobs, and a job that cannot start."""

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
from gather.job_files import gather
from gather.run_document import read_run
from gather.run_report import compose as compose_run
from splatworks.planning.settings import MonitorSettings
from splatworks.report.blocked_email import compose as compose_blocked
from splatworks.report.job_email import compose
from splatworks.report.job_facts import Job, read_detail
from splatworks.report.run_record import Run, ends_run

QUEUE_BLOCKED = "Batch Job Queue Blocked"  # Batch's event for a job at the head of a queue that cannot start
RUN_SETTLED = "Pipeline Run Settled"  # the dispatcher's event for a run whose results were all there already


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    settings = MonitorSettings.from_environment(os.environ)
    bridged = EventBridgeEvent(event)
    if bridged.detail_type == RUN_SETTLED:
        run = read_run(settings.output_bucket, bridged.detail["run_key"])
        return report_run_once(run, None, bridged.region, settings, context)
    job = read_detail(bridged.detail, bridged.region)
    if bridged.detail_type == QUEUE_BLOCKED:
        return report_blocked_once(job, settings, context)
    if not job.has_ended or job.array_index is not None:
        return {"skipped": f"{job.id} {job.status}"}  # the e-mail of an array counts its parts
    if run_key := job.environment.get("RUN_KEY"):
        run = read_run(settings.output_bucket, run_key)
        stage = run.stage_of(job.name)
        if stage and not ends_run(run, stage, failed=not job.succeeded):
            return {"skipped": f"{job.name} {job.status}, {run.id} goes on"}
        if stage:
            return report_run_once(run, job, job.region, settings, context)
        # Somebody's copy of a stage's job, under a name of its own: no part of the run, and reported as any other.
    return run_once(
        lambda: report(job, settings),
        kind="job-email",
        key=job.id,
        body=None,
        table=settings.idempotency_table,
        context=context,
    )


def report(job: Job, settings: MonitorSettings) -> dict[str, Any]:
    facts = gather(with_array_summary(job), settings)
    subject, body = compose(facts, settings)
    send_email(settings.notification_topic_arn, subject, body)
    metrics.add_metric(name="JobsSucceeded" if job.succeeded else "JobsFailed", unit=MetricUnit.Count, value=1)
    logger.info("reported", job_id=job.id, job_name=job.name, status=job.status, subject=subject)
    return {"job_id": job.id, "subject": subject}


def report_run_once(
    run: Run, ended: Job | None, region: str, settings: MonitorSettings, context: LambdaContext
) -> dict[str, Any]:
    def report_run() -> dict[str, Any]:
        email = compose_run(run, ended, settings, region)
        send_email(settings.notification_topic_arn, email.subject, email.body)
        metrics.add_metric(name="RunsSucceeded" if email.succeeded else "RunsFailed", unit=MetricUnit.Count, value=1)
        logger.info("reported", run_id=run.id, subject=email.subject)
        return {"run_id": run.id, "subject": email.subject}

    try:
        return run_once(
            report_run, kind="run-email", key=run.id, body=None, table=settings.idempotency_table, context=context
        )
    except IdempotencyAlreadyInProgressError:
        # The jobs of a chain fail at the same moment. The event of the cause is tried again, should the call that is
        # reporting now die; those of its consequences have nothing to add.
        if ended is None or not ended.was_left_out:
            raise
        return {"skipped": f"{run.id} is being reported"}


def report_blocked_once(job: Job, settings: MonitorSettings, context: LambdaContext) -> dict[str, Any]:
    if job.status_reason.startswith(settings.cancelled_reasons):
        return {"skipped": f"{job.name} waits, and is reported when it has started or was cancelled"}

    def report_blocked() -> dict[str, Any]:
        subject, body = compose_blocked(job, settings.project_name)
        send_email(settings.notification_topic_arn, subject, body)
        logger.info("reported", job_id=job.id, job_name=job.name, status=job.status, subject=subject)
        return {"job_id": job.id, "subject": subject}

    # One for all parts of an array: each in turn comes to the head of the queue.
    key = job.id.partition(":")[0]
    return run_once(
        report_blocked, kind="blocked-email", key=key, body=None, table=settings.idempotency_table, context=context
    )


def with_array_summary(job: Job) -> Job:
    """The event of an array may be older than the end of its last part: ask again unless the counts add up."""
    counted = job.array_summary.get("SUCCEEDED", 0) + job.array_summary.get("FAILED", 0)
    if not job.array_size or counted == job.array_size:
        return job
    jobs = client("batch").describe_jobs(jobs=[job.id])["jobs"]
    return replace(job, array_summary=jobs[0]["arrayProperties"].get("statusSummary", {})) if jobs else job
