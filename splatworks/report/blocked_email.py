"""The e-mail about a job that cannot start, blocks the jobs behind it, and that AWS Batch will not cancel."""

import shlex
from dataclasses import dataclass
from datetime import UTC, datetime

from splatworks.contract.environment import label_variable
from splatworks.report.email import Email, compose
from splatworks.report.email_text import bounded
from splatworks.report.job_facts import BatchJob

# By the beginning of Batch's reason for a job at the head of its queue.
FIXES = {
    "MISCONFIGURATION:SERVICE_ROLE_PERMISSIONS": "AWS Batch's own role, AWSServiceRoleForBatch, is not allowed to "
    "start machines: remove what denies it (a service control policy, a permissions boundary).",
    "ACTION_REQUIRED": "The compute environment is INVALID. The AWS Batch console shows why; terraform apply creates "
    "deleted resources again.",
}
OTHERWISE = (
    "Look at the account's vCPU quotas for these machines (README, Quotas) and at the compute environment in the AWS "
    "Batch console: they show why no machines start."
)


@dataclass(frozen=True, kw_only=True)
class BlockedView:
    project: str
    job_name: str
    job_id: str
    queue: str
    reason: str
    fix: str
    user: str
    user_project: str
    experiment: str
    waits: str
    stop_command: str


def blocked_email(job: BatchJob, project_name: str) -> Email:
    environment = job.environment
    array_id = job.id.partition(":")[0]  # after one part of an array, the next would block the queue
    stop = f"aws batch terminate-job --region {job.region} --job-id {array_id}"
    view = BlockedView(
        project=project_name,
        job_name=job.name,
        job_id=job.id,
        queue=job.queue_arn.rsplit("/", 1)[-1],
        reason=bounded(job.status_reason or "nothing"),
        fix=next((text for reason, text in FIXES.items() if job.status_reason.startswith(reason)), OTHERWISE),
        user=environment.get(label_variable("user"), ""),
        user_project=environment.get(label_variable("project"), ""),
        experiment=environment.get(label_variable("experiment"), ""),
        waits=f"since {datetime.fromtimestamp(job.created_at, UTC):%Y-%m-%d %H:%M} UTC" if job.created_at else "",
        stop_command=f"{stop} --reason {shlex.quote('it cannot start')}",
    )
    return compose("queue_blocked", view, succeeded=False)
