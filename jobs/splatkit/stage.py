"""The frame around a stage: its options, progress.json while it runs, result.json when it ends, exit code, SIGTERM."""

import json
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

from splatkit.errors import StageError, StopRequested, input_error
from splatkit.options import read_options
from splatkit.whole_files import whole_file
from splatworks.contract.documents.job import DONE, FAILED, INPUT_ERROR, INTERRUPTED
from splatworks.contract.documents.progress import ProgressDocument, progress_json
from splatworks.contract.documents.result import ResultDocument, result_json
from splatworks.contract.exit_codes import ExitCode
from splatworks.contract.failures import Failure, is_temporary
from splatworks.contract.keys import PROGRESS, RESULT
from splatworks.contract.parameters import Folders
from splatworks.contract.stage import Stage

Options = TypeVar("Options", bound=Folders)
PROGRESS_EVERY = 0.5  # seconds between two writes of progress.json within a step
LOG_EVERY = 10.0  # seconds between two log lines of a step where there is no terminal


class Progress:
    """Says how far the stage is: progress.json for machines, a bar on a terminal, now and then a line in a log.

    `steps` gives each step's share of the whole; shares need not sum to one.
    """

    def __init__(self, stage: str, folder: Path, steps: Mapping[str, float]) -> None:
        self._stage, self._folder, self._steps = stage, folder, steps
        self._step, self._written, self._logged = "", 0.0, 0.0
        self._started = time.monotonic()
        self._terminal = sys.stderr.isatty()
        self.seconds: dict[str, float] = {}  # wall time of each step
        self._step_started = self._started

    def begin(self, step: str, message: str, total: int = 0) -> None:
        self._close_step()
        self._step, self._step_started, self._written, self._logged = step, time.monotonic(), 0.0, 0.0
        self.update(0, total, message)

    def update(self, done: int, total: int, message: str) -> None:
        now = time.monotonic()
        if now - self._written < PROGRESS_EVERY and done < total:
            return
        self._written = now
        fraction = self._fraction(done / total if total else 0.0)
        self._write(done, total, fraction, message)
        counted = f"{message} {done}/{total}" if total else message
        if self._terminal:
            bar = "█" * round(fraction * 24)
            print(f"\r\x1b[K{bar:░<24} {fraction:4.0%}  {counted}", end="", file=sys.stderr, flush=True)
        elif now - self._logged >= LOG_EVERY:
            self._logged = now
            print(f"[{now - self._started:6.1f} s] {counted}", flush=True)

    def say(self, text: str) -> None:
        """A line that stays, for decisions and warnings."""
        if self._terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
        print(f"[{time.monotonic() - self._started:6.1f} s] {text}", flush=True)

    def finish(self) -> None:
        self._close_step()
        self._write(1, 1, 1.0, "done")
        if self._terminal:
            print(file=sys.stderr)

    def _close_step(self) -> None:
        if self._step:
            spent = time.monotonic() - self._step_started
            self.seconds[self._step] = round(self.seconds.get(self._step, 0.0) + spent, 2)

    def _fraction(self, within: float) -> float:
        before = 0.0
        for name, share in self._steps.items():
            if name == self._step:
                return (before + share * within) / sum(self._steps.values())
            before += share
        return before / sum(self._steps.values())

    def _write(self, done: int, total: int, fraction: float, message: str) -> None:
        document = ProgressDocument(
            stage=self._stage,
            step=self._step,
            done=done,
            total=total,
            fraction=round(fraction, 3),
            message=message,
            updated_at=_now(),
        )
        write_json(self._folder / PROGRESS, progress_json(document))


def stage_command(
    stage: Stage,
    options: type[Options],
    work: Callable[[Options], dict[str, Any]],
    description: str,
    arguments: Sequence[str],
) -> int:
    """Run a stage's script: read its options, do its work, return the exit code."""
    try:
        given = read_options(options, description, arguments)
    except StageError as problem:
        _print_failure(stage.name, problem.failure)
        return problem.exit_code
    return run_stage(stage.name, given.output_dir, lambda: work(given))


def run_stage(stage: str, output_dir: Path, work: Callable[[], dict[str, Any]]) -> int:
    """Run `work`, which returns the metrics; write result.json however it ends; return the exit code."""
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        cause = f"--output-dir {output_dir} cannot be a folder to write to: {problem.strerror}"
        _print_failure(stage, input_error("bad_option", cause, "Give another, or move away what is there.").failure)
        return ExitCode.INPUT_ERROR
    previous = _interrupt_on_sigterm()
    try:
        end = _run(output_dir, work)
    finally:
        signal.signal(signal.SIGTERM, previous)
    code = end.exit_code
    document = ResultDocument(stage=stage, status=end.status, metrics=end.metrics, error=end.error)
    try:
        write_json(output_dir / RESULT, result_json(document))
    except OSError as problem:
        print(f"{RESULT} cannot be written into {output_dir}: {problem}", file=sys.stderr)
        code = code or ExitCode.FAILED
    if end.error:
        print(file=sys.stderr)
        _print_failure(stage, end.error)
    return code


@dataclass(frozen=True)
class _End:
    status: str
    exit_code: int
    metrics: dict[str, Any] = field(default_factory=dict)
    error: Failure | None = None


def _run(output_dir: Path, work: Callable[[], dict[str, Any]]) -> _End:
    try:
        (output_dir / RESULT).unlink(missing_ok=True)  # an earlier run's verdict must not outlive its work
        return _End(DONE, ExitCode.DONE, work())
    except StageError as problem:
        status = INPUT_ERROR if problem.exit_code == ExitCode.INPUT_ERROR else FAILED
        return _End(status, problem.exit_code, problem.metrics, problem.failure)
    except (StopRequested, KeyboardInterrupt):
        return _interrupted()
    except OSError as problem:
        fix = "Check the path and the free disk space, then run again."
        return _failed("file_error", problem, fix, retryable=is_temporary(problem))
    except Exception as problem:
        if _was_stop_requested(problem):
            return _interrupted()
        traceback.print_exc()
        return _failed("bug", problem, "This is a bug of the stage: report it with the log above.")


def _interrupted() -> _End:
    fix = "Run the same command again: it continues from the checkpoint."
    failure = Failure(code=INTERRUPTED, cause="the machine or the user asked to stop", fix=fix, retryable=True)
    return _End(INTERRUPTED, ExitCode.INTERRUPTED, error=failure)


def _failed(code: str, problem: Exception, fix: str, *, retryable: bool = False) -> _End:
    cause = f"{problem.__class__.__name__}: {problem}"
    return _End(FAILED, ExitCode.FAILED, error=Failure(code=code, cause=cause, fix=fix, retryable=retryable))


def _print_failure(stage: str, failure: Failure) -> None:
    print(f"{stage}: {failure.cause}\n{' ' * len(stage)}  {failure.fix}", file=sys.stderr)


def checkpoint_folder(output_dir: Path, checkpoint_dir: Path | None) -> Path:
    """Where a run leaves what the next one goes on from: beside the output, unless told otherwise."""
    out = output_dir.resolve()  # --output-dir . has no name
    return checkpoint_dir or out.parent / f"{out.name}.checkpoint"


def write_json(path: Path, content: Any) -> None:
    with whole_file(path) as beside:
        beside.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")


def _was_stop_requested(problem: BaseException | None) -> bool:
    """SIGTERM within compiled code comes out as a SystemError that was caused by StopRequested."""
    while problem is not None and not isinstance(problem, StopRequested):
        problem = problem.__cause__ or problem.__context__
    return problem is not None


def _interrupt_on_sigterm() -> Any:
    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise StopRequested

    return signal.signal(signal.SIGTERM, interrupt)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
