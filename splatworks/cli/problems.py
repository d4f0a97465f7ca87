"""Problems that end a command: a mistake that its user can fix, or a fault of AWS, in one line and with the fix."""

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
    TokenRetrievalError,
)

from splatworks.contract.exit_codes import ExitCode
from splatworks.contract.failures import FailureError

REFUSED = ExitCode.INPUT_ERROR  # nothing was done: the command or its input is at fault
FAULT = ExitCode.FAILED  # AWS or the network is at fault, or the run failed
CTRL_C = 130

EXPIRED = ("ExpiredToken", "ExpiredTokenException", "RequestExpired")
UNKNOWN_KEYS = ("UnrecognizedClientException", "InvalidClientTokenId", "InvalidAccessKeyId", "SignatureDoesNotMatch")
DENIED = ("AccessDenied", "AccessDeniedException", "AuthorizationError", "UnauthorizedOperation", "403")
THROTTLED = ("Throttling", "ThrottlingException", "TooManyRequestsException", "SlowDown", "RequestLimitExceeded")


class Problem(FailureError):  # noqa: N818 (the user's, not the program's)
    def __init__(self, cause: str, fix: str = "", *, exit_code: int = REFUSED) -> None:
        super().__init__("refused" if exit_code == REFUSED else "fault", cause, fix)
        self.exit_code = exit_code


class TransferStopped(Exception):  # noqa: N818
    """Ends the transfers of other threads after one has failed or Ctrl-C."""


def explained(error: BotoCoreError | ClientError) -> Problem:
    """Turn an error of AWS into a Problem that says what to do."""
    if isinstance(error, ClientError):
        return _refused_call(error)
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return Problem(
            "No AWS credentials were found.",
            "Run `aws configure` or `aws sso login`, or set AWS_PROFILE; for `make local`, source its env.",
        )
    if isinstance(error, NoRegionError):
        return Problem("No AWS region is set.", "Set AWS_REGION to that of the platform, e.g. AWS_REGION=us-east-1.")
    if isinstance(error, ProfileNotFound):
        return Problem(f"{error}.", "Set AWS_PROFILE to one that `aws configure list-profiles` names.")
    if isinstance(error, TokenRetrievalError):
        return Problem(f"{error}.", "Run `aws sso login`.")
    if isinstance(error, EndpointConnectionError | ConnectTimeoutError):
        return Problem(
            f"{error}",
            "Check the network, AWS_REGION and AWS_ENDPOINT_URL; an embedded AWS (`make local`) must be running.",
            exit_code=FAULT,
        )
    return Problem(f"{error}", exit_code=FAULT)


def _refused_call(error: ClientError) -> Problem:
    code = error_code(error)
    said = f"AWS refused {error.operation_name}: {code}: {error.response.get('Error', {}).get('Message', '')}"
    if code in EXPIRED:
        return Problem("The AWS credentials have expired.", "Run `aws sso login`, or renew them as you got them.")
    if code in UNKNOWN_KEYS:
        return Problem(f"{said}.", "The credentials are not valid for this account: see `aws sts get-caller-identity`.")
    if code in DENIED:
        return Problem(f"{said}.", f"Your user or role needs the permission for {error.operation_name}.")
    if code in THROTTLED:
        return Problem(f"{said}.", "Try again in a minute.", exit_code=FAULT)
    return Problem(f"{said}.", exit_code=FAULT)


def error_code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
