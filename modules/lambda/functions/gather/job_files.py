"""Read what S3 and CloudWatch Logs know about a job that has ended."""

import json
from dataclasses import replace
from typing import Any

from aws.clients import client
from splatworks.planning.settings import MonitorSettings
from splatworks.report.job_facts import (
    FILE_LIMIT,
    PLATFORM_FILES,
    REQUEST_LIMIT,
    Job,
    JobFacts,
    as_object,
    is_report_of,
)

LOG_LINES = 20
LOG_LINES_READ = 500  # among them are a script's metrics, which are not text for people
METRICS_LINE = '{"_aws":'  # how a line of CloudWatch's embedded metric format begins
KEYS_LISTED = 1000


def gather(job: Job, settings: MonitorSettings) -> JobFacts:
    """Add what S3 and the log know. A file or a log stream that is not there is no error; one that is denied is."""
    facts = read_files(job, settings.output_bucket)
    if job.succeeded:
        prefix = job.output_prefix
        return replace(facts, has_output=_has_output(settings.output_bucket, prefix) if prefix else None)
    stream = job.last.log_stream if job.last else None
    return replace(facts, log_tail=_log_tail(settings.job_log_group, stream) if stream else ())


def read_files(job: Job, bucket: str) -> JobFacts:
    request = read_json(bucket, job.environment.get("REQUEST_KEY"), REQUEST_LIMIT)
    report = read_report(job, bucket, "job.json")
    result = read_json(bucket, f"{job.output_prefix}result.json") if report else {}
    message = as_object(request.get("message")) or None
    return JobFacts(job=job, message=message, report=report, result=result, has_output=None, log_tail=())


def read_report(job: Job, bucket: str, name: str) -> dict[str, Any]:
    """Empty where an earlier attempt wrote it, and the last one died before it could."""
    report = read_json(bucket, job.output_prefix and f"{job.output_prefix}{name}")
    return report if is_report_of(report, job.id, len(job.attempts)) else {}


def read_json(bucket: str, key: str | None, limit: int = FILE_LIMIT) -> dict[str, Any]:
    """Empty where there is no such file or no JSON object in it: a script may have written anything."""
    if not key:
        return {}
    s3 = client("s3")
    try:
        return as_object(json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read(limit)))
    except (s3.exceptions.NoSuchKey, ValueError, RecursionError):
        return {}


def _has_output(bucket: str, prefix: str) -> bool:
    """Whether anything lies there that the platform did not write itself. result.json counts: the script wrote it."""
    listing = client("s3").list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=KEYS_LISTED)
    names = (found["Key"].rsplit("/", 1)[1] for found in listing.get("Contents", []))
    return listing["IsTruncated"] or any(name not in PLATFORM_FILES for name in names)


def _log_tail(group: str, stream: str) -> tuple[str, ...]:
    logs = client("logs")
    try:
        events = logs.get_log_events(
            logGroupName=group, logStreamName=stream, limit=LOG_LINES_READ, startFromHead=False
        )["events"]
    except logs.exceptions.ResourceNotFoundException:
        return ()
    lines = [event["message"] for event in events if not event["message"].startswith(METRICS_LINE)]
    return tuple(lines[-LOG_LINES:])
