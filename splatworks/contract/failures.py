"""The one shape of an error: a code for programs, the cause and the fix for people."""

import errno
from dataclasses import dataclass
from typing import Any, ClassVar

from splatworks.contract.exit_codes import ExitCode

# Errors of files that are the same at the next attempt. Others (a full disk, a network, a device) may pass.
LASTING_ERRORS = (
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EEXIST,
    errno.ENOTEMPTY,
    errno.EACCES,
    errno.EPERM,
    errno.EINVAL,
    errno.ELOOP,
    errno.ENAMETOOLONG,
    errno.ENOEXEC,
)
MAX_TEXT = 2000  # characters of a cause or a fix that are kept of what a script wrote


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why something failed and what to do: the `error` of result.json and job.json, and what e-mails show."""

    code: str  # a word for programs, such as too_few_photos
    cause: str  # what went wrong, for people
    fix: str  # what to do
    retryable: bool = False  # whether the same job may succeed later

    @classmethod
    def from_json(cls, value: Any) -> "Failure | None":
        """Read what a script or the runner wrote, in whatever shape; None if it is no error."""
        if not isinstance(value, dict):
            return None
        texts = {name: str(value.get(name) or "")[:MAX_TEXT] for name in ("code", "cause", "fix")}
        return cls(**texts, retryable=value.get("retryable") is True)


class FailureError(Exception):
    """An error that knows its Failure. Each program has its own subclasses."""

    exit_code: int = ExitCode.FAILED
    ended: ClassVar[str] = "failed"  # `ended` of job.json, if it ends an attempt

    def __init__(self, code: str, cause: str, fix: str, *, retryable: bool = False) -> None:
        end = "" if cause.endswith((".", "?", "!")) else "."
        super().__init__(f"{cause}{end} {fix}" if fix else cause)
        self.failure = Failure(code=code, cause=cause, fix=fix, retryable=retryable)

    @property
    def cause(self) -> str:
        return self.failure.cause

    @property
    def fix(self) -> str:
        return self.failure.fix


class UnusableInputError(FailureError):
    """The input cannot be used, today or tomorrow: exit code 2, no retry."""

    exit_code = ExitCode.INPUT_ERROR
    ended = "input_error"


def is_temporary(error: OSError) -> bool:
    """Whether the same work may succeed later."""
    return error.errno not in LASTING_ERRORS
