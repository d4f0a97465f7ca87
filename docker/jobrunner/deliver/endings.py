"""How a script ended, and why, in its own words or in the runner's."""

import logging
from pathlib import Path

from jobrunner.store import open_regular
from splatworks.contract.documents.codec import PUSH_THE_IMAGE, DocumentError
from splatworks.contract.documents.job import DONE, FAILED, INPUT_ERROR, INTERRUPTED, OUT_OF_MEMORY, RUNNER_ERROR
from splatworks.contract.documents.result import read_result
from splatworks.contract.exit_codes import ASKED_TO_END, ContainerCode, ExitCode
from splatworks.contract.failures import MAX_TEXT, Failure

log = logging.getLogger("runner")

LONGEST_RESULT = 1024 * 1024  # bytes of result.json that are read


def ending(exit_code: int, *, stopped: bool, oom_kill: bool, error: Failure | None) -> str:
    """`ended` of job.json; `stopped` says if a stop was requested, `error` is the script's own.

    After a request to stop, a script may end with any code. Its 2 counts only if it says what is wrong with its input:
    GNU make, for example, ends with 2 if it is interrupted.
    """
    if exit_code == ExitCode.DONE:
        return DONE
    if exit_code == ExitCode.INPUT_ERROR and (error or not stopped):
        return INPUT_ERROR
    if stopped:
        return INTERRUPTED
    if oom_kill:
        return OUT_OF_MEMORY
    return INTERRUPTED if exit_code in (ExitCode.INTERRUPTED, *ASKED_TO_END) else FAILED


def container_code(ended: str, error: Failure | None) -> ContainerCode:
    """The container's exit code, which decides by the retry rules if the job is tried again."""
    if ended == DONE:
        return ContainerCode.DONE
    if ended == INPUT_ERROR:
        return ContainerCode.INPUT_ERROR
    is_temporary = ended in (FAILED, RUNNER_ERROR) and error is not None and error.retryable
    return ContainerCode.RETRY if ended == INTERRUPTED or is_temporary else ContainerCode.FAILED


def error_of_script(path: Path) -> Failure | None:
    """The error in the result.json that a script wrote, if there is one."""
    try:
        with open_regular(path) as file:
            text = file.read(LONGEST_RESULT)
        return read_result(text, path.name, PUSH_THE_IMAGE).error
    except OSError:
        return None
    except DocumentError as error:
        log.warning("left aside: %s", error)
        return None


def plain_error(ended: str, exit_code: int | None, last_lines: list[str], *, stopped: bool) -> Failure:
    """The error of a script that wrote none; without an exit code it was not started or did not end."""
    last = f"; its last line: {last_lines[-1][:MAX_TEXT]}" if last_lines else ""
    if ended == OUT_OF_MEMORY:
        cause = "the script used more memory than the job has and the kernel killed it"
        return Failure(code=ended, cause=cause, fix='Ask for more in the message, e.g. "memory": 16000')
    if ended == INTERRUPTED:
        return Failure(
            code=ended,
            cause=_interruption(exit_code, stopped=stopped),
            fix="A retry continues from the last checkpoint",
            retryable=True,
        )
    if ended == INPUT_ERROR:
        return Failure(code=ended, cause=f"the script refused its input{last}", fix="Correct the input or the options")
    return Failure(
        code="script_failed", cause=f"the script ended with exit code {exit_code}{last}", fix="Look at the script's log"
    )


def _interruption(exit_code: int | None, *, stopped: bool) -> str:
    if exit_code is None:
        return "the job was told to stop before its script had started"
    if stopped:
        return f"the job was told to stop, and the script ended with exit code {exit_code}"
    if exit_code == ExitCode.INTERRUPTED:
        return f"the script stopped after a checkpoint, with exit code {exit_code}"
    return f"the script was ended by a signal that asks it to stop (exit code {exit_code})"
