"""Why a job failed, in plain words, and what to do about it: the first rule that applies decides."""

from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from splatworks.report.job_facts import JobFacts

INPUT_ERROR, INTERRUPTED, SIGKILLED = 2, 75, 137  # exit codes, docs/contracts.md

# What Batch itself gives as a status reason. Anything else was given by the person or the policy that stopped the job.
BATCH_REASONS = (
    "",
    "Essential container in task exited*",
    "Task failed to start*",
    "Array Child Job failed*",
    "Job attempt failed*",
)


@dataclass(frozen=True)
class Cause:
    title: str  # a few words, for the subject
    text: str
    fix: str


@dataclass(frozen=True)
class Rule:
    title: str
    applies: Callable[[JobFacts], bool]
    text: str  # may name any word of _words()
    fix: str


def _status(*patterns: str) -> Callable[[JobFacts], bool]:
    return lambda facts: any(fnmatchcase(facts.job.status_reason, pattern) for pattern in patterns)


def _container(pattern: str) -> Callable[[JobFacts], bool]:
    return lambda facts: facts.job.last is not None and fnmatchcase(facts.job.last.reason, pattern)


def _exit(code: int) -> Callable[[JobFacts], bool]:
    return lambda facts: facts.job.last is not None and facts.job.last.exit_code == code


def _ended(how: str) -> Callable[[JobFacts], bool]:
    return lambda facts: facts.ended == how


def _out_of_memory(facts: JobFacts) -> bool:
    # 137 alone is any SIGKILL: a reclaimed host, a timeout and a stopped job end with it too.
    return _container("OutOfMemoryError*")(facts) or facts.report.get("oom_kill") is True


def _input_error(facts: JobFacts) -> bool:
    return _ended("input_error")(facts) or _exit(INPUT_ERROR)(facts)


def _exited(facts: JobFacts) -> bool:
    return facts.job.last is not None and facts.job.last.exit_code is not None


RULES = (
    Rule(
        "a job it waited for failed",
        _status("Dependent Job failed*"),
        "A job named in depends_on failed, so this one was never started and cost nothing.",
        "See the e-mail of that job and run it again; then publish this message with the new job's id in depends_on.",
    ),
    Rule(
        "no machine to be had",
        _status("*INSUFFICIENT_INSTANCE_CAPACITY*"),
        "AWS had no machine of the queue's types free for too long, so the job was taken out of the queue. ({status})",
        'Run it again later, allow more instance types in Terraform, or set "spot": false where there is an '
        "on-demand queue.",
    ),
    Rule(
        "the compute environment is too small",
        _status("*COMPUTE_ENVIRONMENT_MAX_RESOURCE*"),
        "The job needs more vCPUs than the compute environment may have: it was taken out of the queue. ({status})",
        "Ask for fewer vCPUs, or raise the maximum in Terraform.",
    ),
    Rule(
        "no machine type is large enough",
        _status("*JOB_RESOURCE_REQUIREMENT*"),
        "No machine type of the queue can hold this job, so it was taken out of the queue. ({status})",
        "Ask for less memory, fewer vCPUs or GPUs, or allow a larger instance type in Terraform.",
    ),
    Rule(
        "stuck in the queue",
        _status("Canceled by JobStateTimeLimit action*", "MISCONFIGURATION:*", "CAPACITY:*"),
        "The job could not be started for too long and was taken out of the queue: {status}",
        "Look at the compute environment in the AWS Batch console: it says what keeps it from starting machines.",
    ),
    Rule(
        "spot machine reclaimed",
        _status("Host EC2*"),
        "AWS took the machine back while the job ran ({status}), {attempts} of {allowed} attempts were used.",
        'Run it again with more "attempts": it begins anew, and each goes on from where the last one was. '
        'Or set "spot": false where there is an on-demand queue.',
    ),
    Rule(
        "timeout",
        _status("Job attempt duration exceeded timeout*"),
        "It was still running after {timeout} seconds, the limit of one attempt, and was stopped.",
        'Give it longer ("timeout_seconds"), a larger machine, or less to do.',
    ),
    Rule(
        "image could not be pulled",
        _container("CannotPull*"),
        "The machine could not fetch the container image: {reason}",
        "Push the image with docker/build-and-push.sh and check ml_container_image in Terraform; check that the "
        "machine's subnet reaches ECR.",
    ),
    Rule(
        "out of memory",
        _out_of_memory,
        "The script needed more than its {memory} MiB of memory and was killed.",
        'Ask for more, such as "memory": {double_memory}, or give it less at a time.',
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
        "Nothing, if that was intended; otherwise run it again.",
    ),
    Rule(
        "the input is at fault",
        _input_error,
        "{error_cause}",
        "{error_fix}",
    ),
    Rule(
        "cost limit",
        _ended("cost_limit"),
        "max_cost_usd stopped it: {error_cause}",
        "{error_fix} What is published again counts from zero, and needs a limit that is high enough for what is left.",
    ),
    Rule(
        "interrupted",
        _exit(INTERRUPTED),
        "It was interrupted after a checkpoint, and {attempts} of {allowed} attempts were used.",
        'Run it again with more "attempts": it begins anew, and each goes on from where the last one was.',
    ),
    Rule(
        "told to stop",
        _ended("interrupted"),
        "It was told to stop, ended with exit code {exit_code}, and {attempts} of {allowed} attempts were used.",
        "Run it again. A script that saves its state in CHECKPOINT_DIR and ends with exit code 75 goes on from there.",
    ),
    Rule(
        "the platform's runner failed",
        _ended("runner_error"),
        "The script did not run to its end because the runner failed: {error_cause}",
        "{error_fix}",
    ),
    Rule(
        "the container could not be started",
        lambda facts: _status("Task failed to start*")(facts) or not _exited(facts),
        "The machine was there, but the container did not start. {status}. {reason}",
        "If the reason names the file system, look at the EFS mount targets and access point; if it names a role or "
        "a log group, apply Terraform again.",
    ),
    Rule(
        "the script reported an error",
        lambda facts: bool(facts.error),
        "{error_cause}",
        "{error_fix}",
    ),
    Rule(
        "killed",
        _exit(SIGKILLED),
        "Something killed the script (SIGKILL), and nothing says that memory was the reason. {reason}",
        "Look at the end of the log; if the script grows while it runs, ask for more memory.",
    ),
    Rule(
        "script error",
        _exited,
        "The script ended with exit code {exit_code}. {reason}",
        "Look at the last lines of its log.",
    ),
)


def failure_cause(facts: JobFacts) -> Cause:
    """The last two rules leave nothing over: an attempt has an exit code, or it was never started."""
    rule = next(rule for rule in RULES if rule.applies(facts))
    words = _words(facts)
    return Cause(rule.title, rule.text.format(**words).strip(), rule.fix.format(**words).strip())


def _words(facts: JobFacts) -> dict[str, str]:
    job, last = facts.job, facts.job.last
    return {
        "status": job.status_reason.rstrip("."),
        "reason": last.reason if last else "",
        "exit_code": str(last.exit_code) if last else "unknown",
        "attempts": str(len(job.attempts)),
        "allowed": str(job.attempts_allowed),
        "timeout": str(job.timeout_seconds or "its allowed"),
        "memory": str(job.memory or "allowed"),
        "double_memory": str((job.memory or 8192) * 2),
        "failed": str(job.array_summary.get("FAILED", "some")),
        "size": str(job.array_size or "its"),
        "error_cause": str(facts.error.get("cause") or "It gave no cause; look at the last lines of its log."),
        "error_fix": str(facts.error.get("fix") or "Look at the last lines of its log."),
    }
