"""The frame around a stage: progress.json while it runs, result.json when it ends, the exit code, SIGTERM."""

import json
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

from splatkit.errors import DONE, FAILED, INPUT_ERROR, INTERRUPTED, Interrupted, StageError
from splatkit.whole_files import whole_file

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
        state = {"stage": self._stage, "step": self._step, "done": done, "total": total, "fraction": round(fraction, 3)}
        write_json(self._folder / "progress.json", {**state, "message": message, "updated_at": _now()})


def run_stage(stage: str, output_dir: Path, work: Callable[[], dict[str, Any]]) -> int:
    """Runs `work`, which returns the metrics; writes result.json for better or worse; returns the exit code."""
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        print(f"{stage}: --output-dir {output_dir} cannot be a folder to write to: {problem.strerror}", file=sys.stderr)
        print(f"{' ' * len(stage)}  Name another, or take away what is in the way.", file=sys.stderr)
        return INPUT_ERROR
    status, metrics, error, code = "done", {}, None, DONE
    previous = _interrupt_on_sigterm()
    try:
        (output_dir / "result.json").unlink(missing_ok=True)  # an earlier run's verdict must not outlive its work
        metrics = work()
    except StageError as problem:
        code, error, metrics = problem.exit_code, problem.as_json(), problem.metrics
        status = "input_error" if code == INPUT_ERROR else "failed"
    except (Interrupted, KeyboardInterrupt):
        status, code, error = "interrupted", INTERRUPTED, _interruption()
    except OSError as problem:
        status, code = "failed", FAILED
        fix = "Look at the path and at the free disk space, then run again."
        error = StageError("file_error", f"{problem.__class__.__name__}: {problem}", fix, retryable=True).as_json()
    except Exception as problem:
        if _is_interruption(problem):
            status, code, error = "interrupted", INTERRUPTED, _interruption()
        else:
            traceback.print_exc()
            status, code = "failed", FAILED
            cause, fix = (
                f"{problem.__class__.__name__}: {problem}",
                "This is a bug of the stage: report it with the log above.",
            )
            error = StageError("bug", cause, fix).as_json()
    finally:
        signal.signal(signal.SIGTERM, previous)
    result = {"stage": stage, "status": status, "metrics": metrics, "error": error}
    try:
        write_json(output_dir / "result.json", result)
    except OSError as problem:
        print(f"result.json cannot be written into {output_dir}: {problem}", file=sys.stderr)
        code = code or FAILED
    if error:
        print(f"\n{stage}: {error['cause']}\n{' ' * len(stage)}  {error['fix']}", file=sys.stderr)
    return code


def checkpoint_folder(output_dir: Path, checkpoint_dir: Path | None) -> Path:
    """Where a run leaves what the next one goes on from: beside the output, unless told otherwise."""
    out = output_dir.resolve()  # --output-dir . has no name
    return checkpoint_dir or out.parent / f"{out.name}.checkpoint"


def write_json(path: Path, content: Any) -> None:
    with whole_file(path) as beside:
        beside.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")


def _interruption() -> dict[str, str | bool]:
    fix = "Run the same command again: it goes on from the checkpoint."
    return StageError("interrupted", "the machine or the user asked to stop", fix, retryable=True).as_json()


def _is_interruption(problem: BaseException | None) -> bool:
    """SIGTERM within compiled code comes out as a SystemError that was caused by Interrupted."""
    while problem is not None and not isinstance(problem, Interrupted):
        problem = problem.__cause__ or problem.__context__
    return problem is not None


def _interrupt_on_sigterm() -> Any:
    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise Interrupted

    return signal.signal(signal.SIGTERM, interrupt)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
