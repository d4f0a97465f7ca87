"""Exit codes, and the failures that the runner can put into plain words."""

from dataclasses import asdict, dataclass
from enum import IntEnum
from typing import Any

from botocore.exceptions import ClientError


class ExitCode(IntEnum):
    DONE = 0
    FAILED = 1
    INPUT_ERROR = 2  # the input or the options are at fault: not retried
    INTERRUPTED = 75  # nothing is lost: AWS Batch starts the job again


@dataclass(frozen=True, kw_only=True)
class Failure:
    """What went wrong, in the shape that result.json, job.json and the e-mail share."""

    code: str
    cause: str
    fix: str
    retryable: bool = False

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class RunnerError(Exception):
    """Stops the attempt: the platform could not do its part."""

    exit_code = ExitCode.FAILED
    ended = "runner_error"

    def __init__(self, code: str, cause: str, fix: str, *, retryable: bool = False) -> None:
        super().__init__(f"{cause}. {fix}")
        self.failure = Failure(code=code, cause=cause, fix=fix, retryable=retryable)


class InputError(RunnerError):
    """Stops the attempt: what the message asks for cannot be used, today or tomorrow."""

    exit_code = ExitCode.INPUT_ERROR
    ended = "input_error"


class CostLimitError(RunnerError):
    """Stops the attempt: it would cost more than the message allows, or nobody knows what it costs."""

    ended = "cost_limit"


class Interrupted(Exception):  # noqa: N818 (asked for, no error)
    """SIGTERM came before the script was started."""


def reason(error: BaseException) -> str:
    """One line about a fault of AWS, the network or the disk, without the SDK's wrapping."""
    if isinstance(error, ClientError):
        details = error.response.get("Error", {})
        return f"{details.get('Code', 'Unknown')}: {details.get('Message', 'no message')} ({error.operation_name})"
    return " ".join(str(error).split()) or type(error).__name__


def error_code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
