"""How a stage ends: exit codes, and errors that say the cause and the fix."""

from typing import Any

DONE = 0
FAILED = 1
INPUT_ERROR = 2  # the input or the options are at fault: a retry cannot help
INTERRUPTED = 75  # stopped after a checkpoint: a retry goes on from it


class StageError(Exception):
    def __init__(
        self,
        code: str,
        cause: str,
        fix: str,
        *,
        exit_code: int = FAILED,
        retryable: bool = False,
        metrics: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(cause)
        self.code, self.cause, self.fix, self.exit_code, self.retryable = code, cause, fix, exit_code, retryable
        self.metrics = metrics or {}

    def as_json(self) -> dict[str, str | bool]:
        return {"code": self.code, "cause": self.cause, "fix": self.fix, "retryable": self.retryable}


class Interrupted(BaseException):
    """SIGTERM arrived. Not an Exception, so that nothing on the way answers it by mistake."""


def input_error(code: str, cause: str, fix: str) -> StageError:
    return StageError(code, cause, fix, exit_code=INPUT_ERROR)
