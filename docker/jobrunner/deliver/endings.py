"""How a script ended, and why, in its own words or in the runner's."""

import logging
from pathlib import Path

from jobrunner.store import open_regular
from splatworks.contract.documents.codec import PUSH_THE_IMAGE, DocumentError
from splatworks.contract.documents.job import DONE, FAILED, INPUT_ERROR, INTERRUPTED, OUT_OF_MEMORY
from splatworks.contract.documents.result import read_result
from splatworks.contract.exit_codes import ExitCode
from splatworks.contract.failures import MAX_TEXT, Failure

log = logging.getLogger("runner")

LONGEST_RESULT = 1024 * 1024  # bytes of result.json that are read


def ending(exit_code: int, *, stopped: bool, oom_kill: bool) -> str:
    """`ended` of job.json."""
    if exit_code == ExitCode.DONE:
        return DONE
    if exit_code == ExitCode.INPUT_ERROR:
        return INPUT_ERROR
    if oom_kill:
        return OUT_OF_MEMORY
    return INTERRUPTED if stopped or exit_code == ExitCode.INTERRUPTED else FAILED


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


def plain_error(ended: str, exit_code: int, last_lines: list[str]) -> Failure:
    """The error of a script that wrote none."""
    last = f"; its last line: {last_lines[-1][:MAX_TEXT]}" if last_lines else ""
    if ended == OUT_OF_MEMORY:
        cause = "the script used more memory than the job has and the kernel killed it"
        return Failure(code=ended, cause=cause, fix='Ask for more in the message, e.g. "memory": 16000')
    if ended == INTERRUPTED:
        cause = f"the job was told to stop (SIGTERM) or stopped after a checkpoint, exit code {exit_code}"
        return Failure(code=ended, cause=cause, fix="A retry continues from the last checkpoint", retryable=True)
    if ended == INPUT_ERROR:
        return Failure(code=ended, cause=f"the script refused its input{last}", fix="Correct the input or the options")
    return Failure(
        code="script_failed", cause=f"the script ended with exit code {exit_code}{last}", fix="Look at the script's log"
    )
