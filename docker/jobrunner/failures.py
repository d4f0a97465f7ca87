"""The failures that the runner can put into plain words."""

from botocore.exceptions import ClientError

from splatworks.contract.documents.job import COST_LIMIT, INPUT_ERROR, RUNNER_ERROR
from splatworks.contract.failures import FailureError, UnusableInputError


class RunnerError(FailureError):
    """Stops the attempt: the platform could not do its part."""

    ended = RUNNER_ERROR


class InputError(RunnerError, UnusableInputError):
    """Stops the attempt: what the message asks for cannot be used, today or tomorrow."""

    ended = INPUT_ERROR


class CostLimitError(RunnerError):
    """Stops the attempt: it would cost more than the message allows, or nobody knows what it costs."""

    ended = COST_LIMIT


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
