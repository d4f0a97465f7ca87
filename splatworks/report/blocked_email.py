"""The e-mail about a job that cannot start, keeps those behind it waiting, and that AWS Batch will not cancel."""

import shlex
from datetime import UTC, datetime

from splatworks.report.email_text import bounded, labelled
from splatworks.report.job_facts import Job

# What Batch says of a job at the head of its queue, by how it begins.
FIXES = {
    "MISCONFIGURATION:SERVICE_ROLE_PERMISSIONS": "AWS Batch's own role, AWSServiceRoleForBatch, is not allowed to "
    "start machines: take away what denies it (a service control policy, a permissions boundary).",
    "ACTION_REQUIRED": "The compute environment is INVALID. The AWS Batch console says why; terraform apply makes "
    "again what was deleted by hand.",
}
OTHERWISE = (
    "Look at the account's vCPU quotas for these machines (README, Quotas) and at the compute environment in the AWS "
    "Batch console: they say what keeps it from starting machines."
)


def compose(job: Job, project_name: str) -> tuple[str, str]:
    """Subject and body."""
    queue = job.queue_arn.rsplit("/", 1)[-1]
    fix = next((text for reason, text in FIXES.items() if job.status_reason.startswith(reason)), OTHERWISE)
    whole = job.id.partition(":")[0]  # after a part of an array the next one would block the queue
    reason = shlex.quote("it cannot start")
    facts = {
        "Job": f"{job.name} ({job.id})",
        "Queue": queue,
        "Who": job.environment.get("TRIGGER_USER", ""),
        "Project": job.environment.get("TRIGGER_PROJECT", ""),
        "Experiment": job.environment.get("TRIGGER_EXPERIMENT", ""),
        "Waits": f"since {datetime.fromtimestamp(job.created_at, UTC):%Y-%m-%d %H:%M} UTC" if job.created_at else "",
    }
    parts = [
        f"{job.name} cannot start, and the jobs behind it in {queue} wait for it.",
        f"Why:    AWS Batch says: {bounded(job.status_reason or 'nothing')}\nTo do:  {fix}",
        labelled(facts),
        "AWS Batch does not end such a wait. The job starts when the cause is mended, or is stopped by\n"
        f"  aws batch terminate-job --region {job.region} --job-id {whole} --reason {reason}",
    ]
    return f"[{project_name}] {job.name} cannot start", "\n\n".join(parts) + "\n"
