"""A Batch job that has ended becomes one e-mail."""

import os
from dataclasses import replace
from typing import Any

from aws_clients import client
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.data_classes import EventBridgeEvent
from aws_lambda_powertools.utilities.typing import LambdaContext
from job_email import compose
from job_facts import Job, gather, read_event
from notification import send_email
from observability import logger, metrics
from once import run_once
from settings import MonitorSettings


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    settings = MonitorSettings.from_environment(os.environ)
    job = read_event(EventBridgeEvent(event))
    if job.status not in ("SUCCEEDED", "FAILED") or job.array_index is not None:
        return {"skipped": f"{job.id} {job.status}"}  # the e-mail of an array counts its parts
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


def with_array_summary(job: Job) -> Job:
    """The event of an array may be older than the end of its last part: ask again unless the counts add up."""
    counted = job.array_summary.get("SUCCEEDED", 0) + job.array_summary.get("FAILED", 0)
    if not job.array_size or counted == job.array_size:
        return job
    jobs = client("batch").describe_jobs(jobs=[job.id])["jobs"]
    return replace(job, array_summary=jobs[0]["arrayProperties"].get("statusSummary", {})) if jobs else job
