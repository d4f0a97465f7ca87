"""The e-mail about a job that has ended. An empty line between parts, one fact per line, what to do first."""

import json
import shlex
from typing import Any

from splatworks.planning.settings import MonitorSettings
from splatworks.report.console_links import folder_link, log_link
from splatworks.report.email_text import (
    COMMAND_LIMIT,
    bounded,
    duration,
    labelled,
    log_line,
    publish_command,
    without_request_id,
)
from splatworks.report.failure_causes import Cause, failure_cause
from splatworks.report.job_facts import Attempt, JobFacts

METRICS_SHOWN = 20


def compose(facts: JobFacts, settings: MonitorSettings) -> tuple[str, str]:
    """Subject and body."""
    cause = None if facts.job.succeeded else failure_cause(facts)
    headline = _headline(facts, cause)
    parts = [
        f"{headline}.",
        _explanation(facts, cause),
        labelled(_facts_lines(facts, settings)),
        _output(facts, settings),
        log_text(facts, settings),
        _run_again(facts, settings),
    ]
    return f"[{settings.project_name}] {headline}", "\n\n".join(part for part in parts if part) + "\n"


def _headline(facts: JobFacts, cause: Cause | None) -> str:
    if cause:
        return f"{facts.job.name} FAILED: {cause.title}"
    return f"{facts.job.name} is done" + (", but left no output" if facts.has_output is False else "")


def _explanation(facts: JobFacts, cause: Cause | None) -> str:
    if cause:
        return f"Why:    {bounded(cause.text)}\nTo do:  {bounded(cause.fix)}"
    if facts.has_output is False:
        return "Its script ended well but wrote nothing into OUTPUT_DIR: check that it writes its results there."
    return ""


def _facts_lines(facts: JobFacts, settings: MonitorSettings) -> dict[str, str]:
    job, report = facts.job, facts.report
    metadata = (facts.message or {}).get("metadata") or {}
    who = {name: metadata.get(name) or job.environment.get(f"TRIGGER_{name.upper()}") for name in ("user", "project")}
    return {
        "Job": f"{job.name} ({job.id})",
        "Stage": job.environment.get("STAGE", ""),
        "Queue": job.queue_arn.rsplit("/", 1)[-1],
        "Who": who["user"] or "",
        "Project": who["project"] or "",
        "Experiment": metadata.get("experiment") or job.environment.get("TRIGGER_EXPERIMENT", ""),
        "Array": _array(facts),
        "Took": _took(facts),
        "Attempts": _attempts(facts),
        "Machine": machine_text(report) if job.attempts else "",
        "Cost": _cost(report) if job.attempts else "",
        "Results": _metrics(facts.result),
    }


def _array(facts: JobFacts) -> str:
    job = facts.job
    if not job.array_size:
        return ""
    counts = ", ".join(f"{count} {status}" for status, count in sorted(job.array_summary.items()) if count)
    return f"{job.array_size} parts" + (f": {counts}" if counts else "")


def _took(facts: JobFacts) -> str:
    job = facts.job
    if job.ran_seconds is None:
        return "" if job.array_size else "never started"  # an array's parts have their own times
    waited = f", after waiting {duration(job.waited_seconds)}" if job.waited_seconds is not None else ""
    return duration(job.ran_seconds) + waited


def _attempts(facts: JobFacts) -> str:
    job = facts.job
    if not job.attempts:
        return ""
    count = f"{len(job.attempts)} of {job.attempts_allowed}"
    if len(job.attempts) == 1:
        return count
    return f"{count}: " + "; ".join(_attempt(attempt) for attempt in job.attempts)


def _attempt(attempt: Attempt) -> str:
    words = [duration(attempt.seconds) if attempt.seconds is not None else "not started"]
    if attempt.exit_code is not None:
        words.append(f"exit code {attempt.exit_code}")
    return ", ".join([*words, attempt.reason or attempt.status_reason]).rstrip(", ")


def machine_text(report: dict[str, Any]) -> str:
    machine = report.get("machine")
    if not isinstance(machine, dict):
        return "unknown (spot or not as well)"
    facts = [machine.get("instance_type"), machine.get("lifecycle"), machine.get("availability_zone")]
    return ", ".join(str(fact) for fact in facts if fact)


def _cost(report: dict[str, Any]) -> str:
    cost = report.get("cost")
    if not isinstance(cost, dict) or not isinstance(cost.get("usd"), int | float):
        return "unknown"
    earlier = " for the last attempt" if report.get("interruptions") else ""
    return f"{cost['usd']:.4f} USD{earlier} ({cost.get('source', 'source unknown')})"


def _metrics(result: dict[str, Any]) -> str:
    metrics = result.get("metrics")
    if not isinstance(metrics, dict):
        return ""
    plain = [(name, value) for name, value in metrics.items() if isinstance(value, str | int | float)]
    return bounded(", ".join(f"{name} {value}" for name, value in plain[:METRICS_SHOWN]))


def _output(facts: JobFacts, settings: MonitorSettings) -> str:
    job, bucket = facts.job, settings.output_bucket
    if not job.output_prefix:
        return ""
    uri = f"s3://{bucket}/{job.output_prefix}"
    link = folder_link(job.queue_arn, job.region, bucket, job.output_prefix)
    return f"Output:  {uri}\n  aws s3 cp --recursive {shlex.quote(uri)} {shlex.quote(job.name)}/\n  {link}"


def log_text(facts: JobFacts, settings: MonitorSettings) -> str:
    job = facts.job
    stream = job.last.log_stream if job.last else None
    if not stream:
        return ""
    link = f"Log:  {log_link(job.queue_arn, job.region, settings.job_log_group, stream)}"
    if not facts.log_tail:
        return link
    tail = "\n".join(f"  | {log_line(line)}" for line in facts.log_tail)
    return f"{link}\n\nThe last {len(facts.log_tail)} lines of the log:\n{tail}"


def _run_again(facts: JobFacts, settings: MonitorSettings) -> str:
    if facts.message is None:
        return "It was not submitted by a message, so that there is no message to publish again."
    message = without_request_id(facts.message)
    if len(json.dumps(message)) <= COMMAND_LIMIT:
        return f"Run it again:\n  {publish_command(settings.trigger_topic_arn, message)}"
    topic = shlex.quote(settings.trigger_topic_arn)
    source = shlex.quote(f"s3://{settings.output_bucket}/{facts.job.environment['REQUEST_KEY']}")
    program = (
        'import json,sys; m=json.load(sys.stdin)["message"]; m["data"].pop("request_id",None); '
        "print(json.dumps(m,ensure_ascii=False))"
    )
    return (
        f"Run it again:\n  aws s3 cp {source} - | python3 -c {shlex.quote(program)} > message.json\n"
        f"  aws sns publish --topic-arn {topic} --message file://message.json"
    )
