"""What the e-mail would have said about a local run: the monitor's own words."""

from dataclasses import fields

from splatworks.cli.local_run import LocalEnd
from splatworks.planning.settings import MonitorSettings
from splatworks.report.job_email import compose
from splatworks.report.job_facts import PLATFORM_FILES, JobFacts, read_detail

# These paragraphs, and these facts, are about places and commands on AWS.
ON_AWS = ("Output:", "Log:", "The last ", "Run it again", "It was not submitted")
FACTS_ON_AWS = ("Queue:", "Project:", "Machine:", "Cost:")


def email_text(end: LocalEnd) -> tuple[str, str]:
    """Subject, and the part of the body that holds for a local run too."""
    names = {each.name: "local" for each in fields(MonitorSettings) if each.type is str}
    settings = MonitorSettings(**names, cancelled_reasons=())
    subject, body = compose(_facts(end), settings)
    kept = [part for part in body.strip().split("\n\n") if not part.startswith(ON_AWS)]
    lines = [line for line in "\n\n".join(kept).split("\n") if not line.startswith(FACTS_ON_AWS)]
    return subject, "\n".join(lines)


def _facts(end: LocalEnd) -> JobFacts:
    succeeded = end.exit_code == 0
    own = [name for name in end.files if name.rsplit("/", 1)[-1] not in PLATFORM_FILES]
    job = read_detail(_detail(end), "local")
    return JobFacts(
        job=job,
        message=end.message,
        report=end.report,
        result=end.result,
        has_output=bool(own) if succeeded else None,
        log_tail=(),
    )


def _detail(end: LocalEnd) -> dict[str, object]:
    """As an event of Batch tells how a job ended."""
    began, ended = int(end.began * 1000), int(end.ended * 1000)
    container = {"exitCode": end.exit_code, **({"reason": end.reason} if end.reason else {})}
    return {
        "jobId": end.report.get("job_id", "local"),
        "jobName": end.plan.name,
        "jobQueue": "arn:aws:batch:local:000000000000:job-queue/this-machine",
        "status": "SUCCEEDED" if end.exit_code == 0 else "FAILED",
        "statusReason": "" if end.exit_code == 0 else "Essential container in task exited",
        "createdAt": began,
        "startedAt": began,
        "stoppedAt": ended,
        "attempts": [{"startedAt": began, "stoppedAt": ended, "container": container, "statusReason": ""}],
        "retryStrategy": {"attempts": 1},
        "container": {
            **container,
            "environment": end.plan.submission["containerOverrides"]["environment"],
            "resourceRequirements": [{"type": "MEMORY", "value": str(end.memory)}],
        },
    }
