"""The text of the e-mail about a run on this machine, composed as the monitor does."""

from splatworks.cli.local_run import LocalEnd
from splatworks.contract.documents.codec import from_json
from splatworks.contract.documents.job import JobReport
from splatworks.contract.documents.result import ResultDocument
from splatworks.contract.keys import JOB, PLATFORM_FILES, RESULT
from splatworks.report.job_email import local_job_email
from splatworks.report.job_facts import BatchAttempt, BatchJob, JobFacts


def email_text(end: LocalEnd) -> tuple[str, str]:
    """Subject and body."""
    email = local_job_email(_facts(end))
    return email.subject, email.body.strip()


def _facts(end: LocalEnd) -> JobFacts:
    job = _job(end)
    own = [name for name in end.files if name.rsplit("/", 1)[-1] not in PLATFORM_FILES]
    return JobFacts(
        job=job,
        message=end.message,
        report=from_json(JobReport, end.report, JOB, lenient=True),
        result=from_json(ResultDocument, end.result, RESULT, lenient=True),
        has_output=bool(own) if job.succeeded else None,
    )


def _job(end: LocalEnd) -> BatchJob:
    """The job as AWS Batch would report it."""
    succeeded = end.exit_code == 0
    seconds = max(0.0, end.ended - end.began)
    attempt = BatchAttempt(
        seconds=seconds, exit_code=end.exit_code, reason=end.reason, status_reason="", log_stream=None
    )
    pairs = end.plan.submission["containerOverrides"]["environment"]
    return BatchJob(
        id=str(end.report.get("job_id", "local")),
        name=end.plan.name,
        queue_arn="",
        region="local",
        status="SUCCEEDED" if succeeded else "FAILED",
        status_reason="" if succeeded else "Essential container in task exited",
        created_at=end.began,
        started_at=end.began,
        stopped_at=end.ended,
        waited_seconds=None,
        ran_seconds=seconds,
        attempts=(attempt,),
        attempts_allowed=1,
        timeout_seconds=None,
        memory=end.memory,
        array_size=None,
        array_index=None,
        array_summary={},
        stop_requested=False,
        environment={pair["name"]: pair["value"] for pair in pairs},
    )
