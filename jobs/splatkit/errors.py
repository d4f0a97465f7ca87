"""How a stage ends before it is done: errors that say the cause and the fix, and a stop on request."""

from dataclasses import asdict
from typing import Any

from splatworks.contract.exit_codes import ExitCode
from splatworks.contract.failures import FailureError


class StageError(FailureError):
    """A failure of the stage with its exit code, and the metrics that are known all the same."""

    def __init__(
        self,
        code: str,
        cause: str,
        fix: str,
        *,
        exit_code: int = ExitCode.FAILED,
        retryable: bool = False,
        metrics: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(code, cause, fix, retryable=retryable)
        self.exit_code = exit_code
        self.metrics = metrics or {}

    @property
    def code(self) -> str:
        return self.failure.code

    @property
    def retryable(self) -> bool:
        return self.failure.retryable

    @property
    def arguments(self) -> dict[str, Any]:
        """Keyword arguments that make an equal error, in another process."""
        return {**asdict(self.failure), "exit_code": self.exit_code, "metrics": self.metrics}


class StopRequested(BaseException):
    """SIGTERM arrived. Not an Exception, so that no `except Exception` handles it by mistake."""


def input_error(code: str, cause: str, fix: str) -> StageError:
    return StageError(code, cause, fix, exit_code=ExitCode.INPUT_ERROR)
