"""Starts a step of pycolmap in a child process, watches it, and turns whatever ends it into plain words."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from splatkit.errors import StageError
from splatkit.threads import cores

STEPS = Path(__file__).with_name("colmap_steps.py")
POLL_SECONDS = 0.5
LAST_LINES = 200  # a stack trace may follow what matters
OUT_OF_MEMORY = "Give the job more memory, or lower max_image_size and max_features."


class StepError(StageError):
    """A step of pycolmap ended without its result."""


def run_step(
    step: str,
    request: dict[str, Any],
    log: Path,
    *,
    on_progress: Callable[[int, int], None] | None = None,
    on_poll: Callable[[], None] | None = None,
) -> dict[str, Any]:
    """The step's result. on_progress hears what the step itself counts; on_poll is called twice a second."""
    with tempfile.TemporaryDirectory(prefix="sfm-step-") as folder:
        result = Path(folder, "answer.json")
        # -P would hide splatkit; the child imports nothing of it, so that it works from any folder.
        child = subprocess.Popen(  # noqa: S603 our own file, no shell
            [sys.executable, str(STEPS), step],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # Ctrl-C and the runner's SIGTERM reach only us; we end the child
        )
        try:
            lines = _feed_and_watch(child, {**request, "result": str(result)}, log, on_progress, on_poll)
        except BaseException:
            _end(child)
            raise
        if child.returncode == 0 and result.exists():
            return dict(json.loads(result.read_text()))
    raise _failure(step, child.returncode, lines)


def _feed_and_watch(
    child: subprocess.Popen[str],
    request: dict[str, Any],
    log: Path,
    on_progress: Callable[[int, int], None] | None,
    on_poll: Callable[[], None] | None,
) -> deque[str]:
    assert child.stdin and child.stdout  # noqa: S101 for the type checker; both are pipes
    lines: deque[str] = deque(maxlen=LAST_LINES)
    counts: list[tuple[int, int]] = []
    reader = threading.Thread(target=_read, args=(child.stdout, log, lines, counts), daemon=True)
    reader.start()
    try:
        child.stdin.write(json.dumps(request))
        child.stdin.close()
    except BrokenPipeError:
        pass  # it died before it read; its return code tells
    while True:
        try:
            child.wait(POLL_SECONDS)
            break
        except subprocess.TimeoutExpired:
            if counts and on_progress:
                on_progress(*counts[-1])
            if on_poll:
                on_poll()
    reader.join(timeout=10)
    return lines


def _read(stream: Any, log: Path, lines: deque[str], counts: list[tuple[int, int]]) -> None:
    with log.open("a") as kept:
        for line in stream:
            if line.startswith("@ "):
                done, total = line[2:].split()
                counts[:] = [(int(done), int(total))]
            else:
                kept.write(line)
                lines.append(line.rstrip())


def _end(child: subprocess.Popen[str]) -> None:
    """SQLite's journal keeps the database whole, so that a hard end loses only the photo or pair in work."""
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)  # it leads a session of its own, its workers are in it
    child.wait()


def _failure(step: str, code: int, lines: deque[str]) -> StepError:
    said = _last_words(lines)
    what = f"the {step.replace('_', ' ')} step"
    if code == -signal.SIGKILL:
        return StepError("out_of_memory", f"{what} was killed by the system, most likely for memory", OUT_OF_MEMORY)
    if "bad_alloc" in said or "MemoryError" in said:
        return StepError("out_of_memory", f"{what} could not allocate memory ({said})", OUT_OF_MEMORY)
    if code < 0:
        cause = f"{what} ended with {signal.Signals(-code).name} inside pycolmap; its last words: {said}"
    else:
        cause = f"{what} failed inside pycolmap: {said}"
    return StepError(
        "geometry_failed", cause, "See logs/colmap.log in the output; try other photos or --help's options."
    )


def _last_words(lines: deque[str]) -> str:
    """An exception of C++ or Python, or a glog line of an error; else whatever came last before a stack trace."""
    for line in reversed(lines):
        if match := re.match(r"\s*what\(\):\s*(.+)|([A-Za-z_.]*Error: .+)|[EF]\d{8} \S+ \S+ (.+)", line):
            return str(next(group for group in match.groups() if group))
    plain = (line for line in reversed(lines) if line.strip() and not line.startswith((" ", "*", "@", "PC:")))
    return next(plain, "nothing")


def usable_threads(asked: int) -> int:
    return asked or cores()
