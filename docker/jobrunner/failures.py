"""The failures that the runner can put into plain words."""

from botocore.exceptions import ClientError, DataNotFoundError, NoRegionError, ParamValidationError

from splatworks.contract.documents.job import COST_LIMIT, INPUT_ERROR, RUNNER_ERROR
from splatworks.contract.failures import FailureError, UnusableInputError
from splatworks.contract.failures import is_temporary as is_temporary_on_disk

# Error codes of AWS with a status of 4xx that pass: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
# and the codes that botocore's standard mode retries.
TEMPORARY_CODES = (
    "ExpiredToken",
    "ExpiredTokenException",
    "OperationAborted",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "RequestTimeTooSkewed",
    "RequestTimeout",
    "RequestTimeoutException",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "TooManyRequestsException",
    "TransactionInProgressException",
)
LASTING_FAULTS = (DataNotFoundError, NoRegionError, ParamValidationError)


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


def is_temporary(error: BaseException) -> bool:
    """Whether a fault of AWS, the network or the disk may be gone at the next attempt."""
    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500)
        return status >= 500 or status == 429 or error_code(error) in TEMPORARY_CODES
    if isinstance(error, OSError):
        return is_temporary_on_disk(error)
    return not isinstance(error, LASTING_FAULTS)


def aws_fault(error: BaseException) -> RunnerError:
    """The failure of an attempt that a fault of AWS, the network or the disk has ended."""
    lasting = "Check that the bucket is there and that the job role may use it, then publish the message again"
    temporary = is_temporary(error)
    fix = "Publish the message again" if temporary else lasting
    return RunnerError("aws_fault", reason(error), fix, retryable=temporary)
