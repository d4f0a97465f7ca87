"""The e-mail about a job that has ended."""

import shlex
from dataclasses import dataclass, replace

from splatworks.contract.documents.job import JobReport
from splatworks.contract.documents.result import ResultDocument
from splatworks.contract.environment import REQUEST_KEY, STAGE_NAME, label_variable
from splatworks.contract.stage import number
from splatworks.report.attempts import attempt_in_words, exit_code_in_words
from splatworks.report.console_links import folder_link, log_link
from splatworks.report.email import Email, compose
from splatworks.report.email_text import bounded, duration, log_line
from splatworks.report.failure_causes import failure_cause
from splatworks.report.job_facts import BatchJob, JobFacts
from splatworks.report.rerun import job_again
from splatworks.report.settings import ReportSettings

METRICS_SHOWN = 20
NO_OUTPUT = "The script succeeded but wrote nothing into OUTPUT_DIR: check that it writes its results there."
NOT_SUBMITTED = "This job was not submitted through the platform, so it cannot be rerun by message."
NO_REQUEST = "The job's request.json is missing or cannot be read, so it cannot be rerun by message."


@dataclass(frozen=True, kw_only=True)
class JobView:
    """The facts that the templates job_done and job_failed show; an empty one is left out."""

    job_name: str
    job_id: str
    remark: str = ""
    advice: str = ""
    title: str = ""
    cause: str = ""
    fix: str = ""
    stage: str = ""
    user: str = ""
    experiment: str = ""
    array: str = ""
    took: str = ""
    exit_code: str = ""
    attempts: str = ""
    results: str = ""
    problems: tuple[str, ...] = ()
    # About the platform on AWS
    project: str = "local"
    queue: str = ""
    user_project: str = ""
    machine: str = ""
    cost: str = ""
    output_uri: str = ""
    copy_command: str = ""
    output_link: str = ""
    log_link: str = ""
    log_lines: tuple[str, ...] = ()
    no_rerun: str = ""
    rerun_commands: tuple[str, ...] = ()


def job_email(facts: JobFacts, settings: ReportSettings) -> Email:
    return _compose(_on_platform(_view_job(facts), facts, settings), facts)


def local_job_email(facts: JobFacts) -> Email:
    """The e-mail about a job that ran on this machine, which has no queue, cost, links or commands."""
    return _compose(_view_job(facts), facts)


def _compose(view: JobView, facts: JobFacts) -> Email:
    succeeded = facts.job.succeeded
    return compose("job_done" if succeeded else "job_failed", view, succeeded=succeeded)


def _view_job(facts: JobFacts) -> JobView:
    job = facts.job
    failure = None if job.succeeded else failure_cause(facts)
    left_nothing = failure is None and facts.has_output is False
    return JobView(
        job_name=job.name,
        job_id=job.id,
        remark=", but left no output" if left_nothing else "",
        advice=NO_OUTPUT if left_nothing else "",
        title=failure.title if failure else "",
        cause=bounded(failure.cause) if failure else "",
        fix=bounded(failure.fix) if failure else "",
        stage=job.environment.get(STAGE_NAME, ""),
        user=_metadata(facts, "user"),
        experiment=_metadata(facts, "experiment"),
        array=_array_text(job),
        took=_took_text(job),
        exit_code=exit_code_in_words(facts) if failure else "",
        attempts=attempts_text(facts),
        results=_results_text(facts.result),
        problems=facts.problems,
    )


def _on_platform(view: JobView, facts: JobFacts, settings: ReportSettings) -> JobView:
    """Add the places, costs and commands of the platform on AWS."""
    job, bucket = facts.job, settings.output_bucket
    view = replace(
        view,
        project=settings.project_name,
        queue=job.queue_arn.rsplit("/", 1)[-1],
        user_project=_metadata(facts, "project"),
        machine=machine_text(facts.report) if job.attempts else "",
        cost=cost_text(facts.report) if job.attempts else "",
        log_link=job_log_link(job, settings),
        log_lines=tuple(map(log_line, facts.log_tail)),
    )
    if job.output_prefix:
        uri = f"s3://{bucket}/{job.output_prefix}"
        view = replace(
            view,
            output_uri=uri,
            copy_command=f"aws s3 cp --recursive {shlex.quote(uri)} {shlex.quote(job.name)}/",
            output_link=folder_link(job.queue_arn, job.region, bucket, job.output_prefix),
        )
    request_key = job.environment.get(REQUEST_KEY, "")
    if facts.message is None:
        return replace(view, no_rerun=NO_REQUEST if request_key else NOT_SUBMITTED)
    return replace(view, rerun_commands=job_again(facts.message, request_key, settings))


def job_log_link(job: BatchJob, settings: ReportSettings) -> str:
    last = job.last
    if last is None or not last.log_stream:
        return ""
    return log_link(job.queue_arn, job.region, settings.job_log_group, last.log_stream)


def machine_text(report: JobReport) -> str:
    machine = report.machine
    known = [machine.instance_type, machine.lifecycle, machine.availability_zone] if machine else []
    return ", ".join(filter(None, known)) or "unknown"


def _metadata(facts: JobFacts, name: str) -> str:
    metadata = (facts.message or {}).get("metadata") or {}
    return str(metadata.get(name) or facts.job.environment.get(label_variable(name), ""))


def _array_text(job: BatchJob) -> str:
    if not job.array_size:
        return ""
    counts = ", ".join(f"{count} {status}" for status, count in sorted(job.array_summary.items()) if count)
    return f"{job.array_size} parts" + (f": {counts}" if counts else "")


def _took_text(job: BatchJob) -> str:
    if job.ran_seconds is None:
        return "" if job.array_size else "never started"  # an array's parts have their own times
    waited = f", after waiting {duration(job.waited_seconds)}" if job.waited_seconds is not None else ""
    return duration(job.ran_seconds) + waited


def attempts_text(facts: JobFacts) -> str:
    job = facts.job
    if not job.attempts:
        return ""
    count = f"{len(job.attempts)} of {job.attempts_allowed}"
    if len(job.attempts) == 1:
        return count
    return f"{count}: " + "; ".join(map(attempt_in_words, job.attempts))


def cost_text(report: JobReport) -> str:
    usd = number(report.cost.usd) if report.cost else None
    if report.cost is None or usd is None:
        return "unknown"
    earlier = " for the last attempt" if report.interruptions else ""
    return f"{usd:.4f} USD{earlier} ({report.cost.source})"


def _results_text(result: ResultDocument) -> str:
    plain = [(name, value) for name, value in result.metrics.items() if isinstance(value, str | int | float)]
    return bounded(", ".join(f"{name} {value}" for name, value in plain[:METRICS_SHOWN]))
