"""Whether a job that has failed is resumed by the platform, when, and the e-mail that says so."""

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from splatworks.contract.documents.run import RunDocument
from splatworks.contract.environment import REQUEST_KEY
from splatworks.contract.resumes import delay_minutes, schedule_group, schedule_name, split_name
from splatworks.report.attempts import lost_its_machine
from splatworks.report.email import Email, Resume, compose
from splatworks.report.email_text import bounded
from splatworks.report.failure_causes import failure_cause
from splatworks.report.job_email import attempts_text, job_log_link
from splatworks.report.job_facts import BatchJob, JobFacts
from splatworks.report.settings import ReportSettings


@dataclass(frozen=True, kw_only=True)
class ResumesView:
    """The fields of resumes.txt."""

    project: str
    name: str
    at: str
    number: int
    most: int
    in_stage: str
    cause: str
    job_name: str
    job_id: str
    attempts: str
    cost: str
    problems: tuple[str, ...]
    log_link: str
    stop_command: str


def resume_of(facts: JobFacts, run: RunDocument | None = None, others: Iterable[BatchJob] = ()) -> Resume | None:
    """The resumption that follows this failure; None if the job has failed for good.

    `run` is the run of a pipeline's job, `others` are its jobs: if one of them was stopped, the run was.
    """
    job = facts.job
    key = run.key if run else job.environment.get(REQUEST_KEY, "")
    most = ((facts.message or {}).get("data") or {}).get("auto_resume", 0)
    number = (run.resumed if run else split_name(job.name)[1]) + 1
    used_up = len(job.attempts) >= job.attempts_allowed
    stopped = job.stop_requested or any(other.stop_requested for other in others)
    if not key or job.array_size or stopped or not used_up or not isinstance(most, int) or number > most:
        return None
    if not lost_its_machine(facts):
        return None
    at = (datetime.now(UTC) + timedelta(minutes=delay_minutes(number))).replace(microsecond=0)
    return Resume(key=key, number=number, most=most, at=at)


def resumes_email(
    facts: JobFacts, resume: Resume, settings: ReportSettings, *, cost: str, run: RunDocument | None = None
) -> Email:
    job = facts.job
    group, name = schedule_group(settings.project_name), schedule_name(resume.key, resume.number)
    view = ResumesView(
        project=settings.project_name,
        name=run.run_id if run else split_name(job.name)[0],
        at=resume.at.strftime("%H:%M"),
        number=resume.number,
        most=resume.most,
        in_stage=f" in {stage.stage}" if run and (stage := run.stage_of_job(job.name)) else "",
        cause=bounded(failure_cause(facts).cause),
        job_name=job.name,
        job_id=job.id,
        attempts=attempts_text(facts),
        cost=cost,
        problems=facts.problems,
        log_link=job_log_link(job, settings),
        stop_command=f"aws scheduler delete-schedule --group-name {shlex.quote(group)} --name {name}",
    )
    return compose("resumes", view, succeeded=False, resume=resume)
