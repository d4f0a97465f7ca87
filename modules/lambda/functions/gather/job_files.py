"""Read what S3 and CloudWatch Logs know about a job that has ended."""

from dataclasses import replace

from aws.clients import client
from gather.documents import file_keys, parse, parse_files, parse_request, read_texts
from gather.settings import MonitorSettings
from splatworks.contract.documents.job import JobReport, read_job
from splatworks.contract.environment import REQUEST_KEY
from splatworks.contract.keys import PLATFORM_FILES, RUNNING
from splatworks.report.job_facts import BatchJob, JobFacts, StageFiles

LOG_LINES = 20
LOG_LINES_READ = 500  # among them are a script's metrics, which are not text for people
METRICS_LINE = '{"_aws":'  # the beginning of a line of CloudWatch's embedded metric format
KEYS_LISTED = 1000


def gather(job: BatchJob, settings: MonitorSettings) -> JobFacts:
    """Add what S3 and the log know. A missing file or log stream is not an error; denied access is."""
    facts = read_files(job, settings.output_bucket)
    if job.succeeded:
        prefix = job.output_prefix
        return replace(facts, has_output=_has_output(settings.output_bucket, prefix) if prefix else None)
    return replace(facts, log_tail=log_tail(job, settings.job_log_group))


def read_files(job: BatchJob, bucket: str) -> JobFacts:
    request_key, prefix = job.environment.get(REQUEST_KEY), job.output_prefix
    keys = [*([request_key] if request_key else []), *file_keys([prefix] if prefix else [])]
    texts = read_texts(bucket, keys)
    request, problems = parse_request(texts.get(request_key or ""))
    files = parse_files(texts, prefix, job=job) if prefix else StageFiles()
    return JobFacts(
        job=job,
        message=request.message if request else None,
        report=files.report,
        result=files.result,
        problems=(*problems, *files.problems),
    )


def last_sign_of_life(job: BatchJob, bucket: str, name: str) -> StageFiles:
    """The report of a host that was lost without notice, as of its last upload."""
    key = f"{job.output_prefix}{RUNNING}"
    report, problems = parse(read_job, read_texts(bucket, [key])[key], f"{name}{RUNNING}")
    is_own = report is not None and report.is_of(job.id, len(job.attempts))
    return StageFiles(report=report if report and is_own else JobReport(), problems=problems)


def log_tail(job: BatchJob, group: str) -> tuple[str, ...]:
    """The last lines of its log, without metrics."""
    stream = job.last.log_stream if job.last else None
    if not stream:
        return ()
    logs = client("logs")
    try:
        events = logs.get_log_events(
            logGroupName=group, logStreamName=stream, limit=LOG_LINES_READ, startFromHead=False
        )["events"]
    except logs.exceptions.ResourceNotFoundException:
        return ()
    lines = [event["message"] for event in events if not event["message"].startswith(METRICS_LINE)]
    return tuple(lines[-LOG_LINES:])


def _has_output(bucket: str, prefix: str) -> bool:
    """Whether the prefix holds a file that the platform did not write. result.json counts: the script wrote it."""
    listing = client("s3").list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=KEYS_LISTED)
    names = (found["Key"].rsplit("/", 1)[1] for found in listing.get("Contents", []))
    return listing["IsTruncated"] or any(name not in PLATFORM_FILES for name in names)
