"""Why a job failed, in plain words, and what to do about it: the first rule that applies decides."""

from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from splatworks.contract.documents.job import COST_LIMIT, FAILED, INPUT_ERROR, RUNNER_ERROR
from splatworks.contract.exit_codes import ContainerCode, ExitCode
from splatworks.contract.failures import Failure
from splatworks.contract.retries import MISSING_IMAGE, OUT_OF_MEMORY
from splatworks.report.attempts import (
    BATCH_REASONS,
    had_bad_host,
    lost_attempts,
    lost_its_machine,
    machine_end,
    own_exit_code,
)
from splatworks.report.job_facts import DEPENDENCY_FAILED, JobFacts

MORE_ATTEMPTS = (
    'Run it again with more "attempts": it starts from the beginning, and each attempt continues from the last '
    "checkpoint."
)
LATER = 'With "auto_resume" the platform starts it again by itself, some minutes later.'
USED_UP = "{attempts} of {allowed} attempts were used, {lost} of them because the machine was lost."
ON_DEMAND = "on-demand"  # `lifecycle` of a machine


@dataclass(frozen=True, kw_only=True)
class FailureCause(Failure):
    """A failure as e-mails show it."""

    title: str  # a few words for a subject line


@dataclass(frozen=True)
class Rule:
    title: str
    applies: Callable[[JobFacts], bool]
    cause: str  # may name any word of _words()
    fix: str


def _status(*patterns: str) -> Callable[[JobFacts], bool]:
    return lambda facts: any(fnmatchcase(facts.job.status_reason, pattern) for pattern in patterns)


def _container(*starts: str) -> Callable[[JobFacts], bool]:
    return lambda facts: facts.job.last is not None and facts.job.last.reason.startswith(starts)


def _exit(code: int) -> Callable[[JobFacts], bool]:
    return lambda facts: facts.job.last is not None and facts.job.last.exit_code == code


def _lost_spot_machine(facts: JobFacts) -> bool:
    machine = facts.report.machine
    return lost_its_machine(facts) and not (machine and machine.lifecycle == ON_DEMAND)


def _temporary_fault(facts: JobFacts) -> bool:
    return _exit(ContainerCode.RETRY)(facts) and facts.report.ended in (FAILED, RUNNER_ERROR)


def _killed(facts: JobFacts) -> bool:
    return facts.job.last is not None and own_exit_code(facts) == ExitCode.SIGKILLED


def _ended(how: str) -> Callable[[JobFacts], bool]:
    return lambda facts: facts.report.ended == how


def _out_of_memory(facts: JobFacts) -> bool:
    # 137 alone is any SIGKILL: a reclaimed host, a timeout and a stopped job end with it too.
    return _container(OUT_OF_MEMORY)(facts) or facts.report.oom_kill


def _input_error(facts: JobFacts) -> bool:
    return _ended(INPUT_ERROR)(facts) or _exit(ExitCode.INPUT_ERROR)(facts)


def _exited(facts: JobFacts) -> bool:
    return facts.job.last is not None and facts.job.last.exit_code is not None


RULES = (
    Rule(
        "a job it waited for failed",
        _status(f"{DEPENDENCY_FAILED}*"),
        "A job named in depends_on failed, so this one was never started and cost nothing.",
        "See the e-mail of that job and run it again; then publish this message with the new job's id in depends_on.",
    ),
    Rule(
        "no machine available",
        _status("*INSUFFICIENT_INSTANCE_CAPACITY*"),
        "AWS had no capacity for the queue's instance types for too long, so the job was cancelled. ({status})",
        'Run it again later, allow more instance types in Terraform, or set "spot": false where there is an '
        "on-demand queue.",
    ),
    Rule(
        "the compute environment is too small",
        _status("*COMPUTE_ENVIRONMENT_MAX_RESOURCE*"),
        "The job needs more vCPUs than the compute environment may have, so it was cancelled. ({status})",
        "Ask for fewer vCPUs, or raise the maximum in Terraform.",
    ),
    Rule(
        "no machine type is large enough",
        _status("*JOB_RESOURCE_REQUIREMENT*"),
        "No instance type of the queue is large enough for this job, so it was cancelled. ({status})",
        "Ask for less memory, fewer vCPUs or GPUs, or allow a larger instance type in Terraform.",
    ),
    Rule(
        "stuck in the queue",
        _status("Canceled by JobStateTimeLimit action*", "MISCONFIGURATION:*", "CAPACITY:*"),
        "The job could not be started for too long and was cancelled: {status}",
        "Look at the compute environment in the AWS Batch console: it shows why no machines start.",
    ),
    Rule(
        "bad machine",
        had_bad_host,
        "{error_cause}. The machine was taken out of service. " + USED_UP,
        f"{MORE_ATTEMPTS} {LATER}",
    ),
    Rule(
        "spot machine reclaimed",
        _lost_spot_machine,
        f"AWS took the machine back while the job ran ({{machine_end}}). {USED_UP}",
        f'{MORE_ATTEMPTS} {LATER} Or set "spot": false where there is an on-demand queue.',
    ),
    Rule(
        "machine lost",
        lost_its_machine,
        f"The on-demand machine was stopped or failed while the job ran ({{machine_end}}). {USED_UP}",
        f"{MORE_ATTEMPTS} {LATER}",
    ),
    Rule(
        "timeout",
        _status("Job attempt duration exceeded timeout*"),
        "It was still running after {timeout} seconds, the limit of one attempt, and was stopped.",
        'Give it longer ("timeout_seconds"), a larger machine, or less to do.',
    ),
    Rule(
        "the image does not exist",
        _container(*MISSING_IMAGE),
        "The registry has no such container image: {reason}",
        "Push the image with docker/build-and-push.sh, or correct ml_container_image in Terraform; then run it again.",
    ),
    Rule(
        "image could not be pulled",
        _container("CannotPull"),
        "The machine could not pull the container image in {attempts} of {allowed} attempts: {reason}",
        "Check that the machine's subnet reaches the registry, and ml_container_image in Terraform; then run it again.",
    ),
    Rule(
        "out of memory",
        _out_of_memory,
        "The script needed more than its {memory} MiB of memory and was killed.",
        'Ask for more, such as "memory": {double_memory}, or give it less data at a time.',
    ),
    Rule(
        "parts of the array failed",
        _status("Array Child Job failed*"),
        "{failed} of {size} parts failed.",
        "Each part has its own log, and its own output folder named by its index; the failed ones have no _SUCCESS.",
    ),
    Rule(
        "stopped",
        lambda facts: not _status(*BATCH_REASONS)(facts),
        "The job was stopped, by a person or by AWS Batch, with this reason: {status}",
        "Nothing if that was intended; otherwise run it again.",
    ),
    Rule(
        "the input is at fault",
        _input_error,
        "{error_cause}",
        "{error_fix}",
    ),
    Rule(
        "cost limit",
        _ended(COST_LIMIT),
        "max_cost_usd stopped it: {error_cause}",
        "{error_fix} A message published again counts from zero; set a limit that covers the remaining work.",
    ),
    Rule(
        "temporary fault",
        _temporary_fault,
        "Attempt {attempts} of {allowed} met a fault that may pass: {error_cause}",
        "{error_fix} If it goes away, run it again; if not, look at the log of each attempt.",
    ),
    Rule(
        "interrupted",
        _exit(ContainerCode.RETRY),
        "The script stopped before it was done, with exit code {exit_code}, and {attempts} of {allowed} attempts were "
        "used.",
        MORE_ATTEMPTS,
    ),
    Rule(
        "the platform's runner failed",
        _ended(RUNNER_ERROR),
        "The script did not finish because the platform's runner failed: {error_cause}",
        "{error_fix}",
    ),
    Rule(
        "the container could not be started",
        lambda facts: _status("Task failed to start*")(facts) or not _exited(facts),
        "A machine was available, but the container did not start. {status}. {reason}",
        "If the reason names the file system, look at the EFS mount targets and access point; if it names a role or "
        "a log group, apply Terraform again.",
    ),
    Rule(
        "the script reported an error",
        lambda facts: facts.error is not None,
        "{error_cause}",
        "{error_fix}",
    ),
    Rule(
        "killed",
        _killed,
        "The script was killed (SIGKILL), and there is no sign that memory was the reason. {reason}",
        "Look at the end of the log; if the script grows while it runs, ask for more memory.",
    ),
    Rule(
        "script error",
        _exited,
        "The script ended with exit code {exit_code}. {reason}",
        "Look at the last lines of its log.",
    ),
)


def failure_cause(facts: JobFacts) -> FailureCause:
    """Return the failure of the first rule that applies."""
    # The rules cover every job: an attempt has an exit code, or it was never started.
    rule = next(rule for rule in RULES if rule.applies(facts))
    words = _words(facts)
    return FailureCause(
        code=facts.error.code if facts.error else "",
        title=rule.title,
        cause=rule.cause.format(**words).strip(),
        fix=rule.fix.format(**words).strip(),
    )


def _words(facts: JobFacts) -> dict[str, str]:
    job, last, error, code = facts.job, facts.job.last, facts.error, own_exit_code(facts)
    return {
        "status": job.status_reason.rstrip("."),
        "reason": last.reason if last else "",
        "exit_code": "unknown" if code is None else str(code),
        "attempts": str(len(job.attempts)),
        "lost": lost_attempts(facts),
        "machine_end": machine_end(facts),
        "allowed": str(job.attempts_allowed),
        "timeout": str(job.timeout_seconds or "its allowed"),
        "memory": str(job.memory or "allowed"),
        "double_memory": str((job.memory or 8192) * 2),
        "failed": str(job.array_summary.get("FAILED", "some")),
        "size": str(job.array_size or "its"),
        "error_cause": (error and error.cause) or "It gave no cause; look at the last lines of its log.",
        "error_fix": (error and error.fix) or "Look at the last lines of its log.",
    }
