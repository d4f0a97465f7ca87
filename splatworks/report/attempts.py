"""How a job's attempts ended: by their script, or because their machine was lost."""

from fnmatch import fnmatchcase

from splatworks.contract.documents.job import INTERRUPTED, JobReport
from splatworks.contract.exit_codes import ContainerCode, ExitCode
from splatworks.contract.host import BAD_HOST_ERROR
from splatworks.contract.retries import OUT_OF_MEMORY
from splatworks.report.email_text import duration
from splatworks.report.job_facts import BatchAttempt, JobFacts

# What Batch itself gives as a status reason. Anything else was given by the person or the policy that stopped the job.
BATCH_REASONS = (
    "",
    "Essential container in task exited*",
    "Task failed to start*",
    "Array Child Job failed*",
    "Job attempt failed*",
    "Host EC2*",
)
HOST_GONE = "Host EC2"
KILLED = (int(ExitCode.SIGKILLED), 143)  # exit codes of a container that was ended together with its machine
MEANINGS = {
    ContainerCode.INPUT_ERROR: "input at fault",
    ContainerCode.RETRY: "told to stop, or a temporary fault",
    ContainerCode.FAILED: "failed for good",
}


def lost_its_machine(facts: JobFacts) -> bool:
    """Whether the last attempt ended because its machine was taken back or failed, and nobody stopped the job."""
    last, report = facts.job.last, facts.report
    if last is None or not any(fnmatchcase(facts.job.status_reason, pattern) for pattern in BATCH_REASONS):
        return False
    if facts.job.status_reason.startswith(HOST_GONE) or last.status_reason.startswith(HOST_GONE):
        return True
    if last.reason.startswith(OUT_OF_MEMORY) or report.oom_kill:
        return False
    if had_bad_host(facts):
        return True
    if report.stop_requested:
        return last.exit_code in (ContainerCode.RETRY, *KILLED)
    if report.is_known and report.container_exit_code is None:  # an image of an earlier version
        return report.ended == INTERRUPTED and report.exit_code not in (None, int(ExitCode.INTERRUPTED))
    # A runner that lives to the end of its attempt never ends with one of these.
    return last.exit_code in KILLED


def had_bad_host(facts: JobFacts) -> bool:
    """Whether the last attempt ended because the GPU of its machine did not work."""
    last, error = facts.job.last, facts.report.error
    is_bad = error is not None and error.code == BAD_HOST_ERROR
    return is_bad and last is not None and last.exit_code == ContainerCode.RETRY


def machine_end(facts: JobFacts) -> str:
    """Return how the machine of the last attempt ended, in words."""
    last = facts.job.last
    reasons = (facts.job.status_reason, last.status_reason if last else "")
    if gone := next((reason for reason in reasons if reason.startswith(HOST_GONE)), ""):
        return gone.rstrip(".")
    if facts.report.stop_requested:
        return "the job was told to stop"
    return f"the container was killed, exit code {last.exit_code}" if last else "the container was killed"


def own_exit_code(facts: JobFacts) -> int | None:
    """The script's own exit code; the container's if the script did not run to an end, or if nobody knows."""
    if facts.report.exit_code is not None:
        return facts.report.exit_code
    return facts.job.last.exit_code if facts.job.last else None


def exit_code_in_words(facts: JobFacts) -> str:
    """Such as "7 of the script; the container's is 119 (failed for good)"; empty if no container has ended."""
    last, report = facts.job.last, facts.report
    if last is None or last.exit_code is None:
        return ""
    container_code = f"{last.exit_code}{_meaning(last.exit_code, report)}"
    own = own_exit_code(facts)
    return container_code if own == last.exit_code else f"{own} of the script; the container's is {container_code}"


def attempt_in_words(attempt: BatchAttempt) -> str:
    words = [duration(attempt.seconds) if attempt.seconds is not None else "not started"]
    if attempt.exit_code is not None:
        words.append(f"exit code {attempt.exit_code}")
    return ", ".join([*words, attempt.reason or attempt.status_reason]).rstrip(", ")


def lost_attempts(facts: JobFacts) -> str:
    """How many attempts ended because of their machine, such as "2", or "at least 2" if nobody knows of all."""
    earlier = {
        each.attempt: each.bad_host or each.stop_requested for each in facts.report.interruptions if not each.job_id
    }
    before = [_lost(attempt, earlier.get(number)) for number, attempt in enumerate(facts.job.attempts[:-1], start=1)]
    count = lost_its_machine(facts) + before.count(True)
    return f"at least {count}" if None in before else str(count)


def _lost(attempt: BatchAttempt, by_its_report: bool | None) -> bool | None:
    """Whether an attempt before the last lost its machine; None if nobody knows."""
    if attempt.status_reason.startswith(HOST_GONE) or attempt.exit_code is None:
        return True
    if attempt.exit_code in KILLED:
        return not attempt.reason.startswith(OUT_OF_MEMORY)
    return by_its_report if attempt.exit_code == ContainerCode.RETRY else False


def _meaning(code: int, report: JobReport) -> str:
    """An image of an earlier version ended its container with the script's own code, which has no further meaning."""
    is_old = report.is_known and report.container_exit_code is None
    known = None if is_old or code not in set(MEANINGS) else MEANINGS[ContainerCode(code)]
    return f" ({known})" if known else ""
