"""A child process whose lines become log lines, and which can be stopped politely."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, BinaryIO

LONGEST_LINE = 64 * 1024  # CloudWatch takes 256 KiB; docker splits at 16
REDRAW_SECONDS = 10  # a progress bar that redraws itself with \r becomes a log line this often
TAIL_LINES = 100  # a stack trace of C++ may follow the line that says the cause


class Child:
    """Runs a command in its own process group and session, passing its output on line by line."""

    def __init__(self, command: Sequence[str], *, cwd: Path, environment: Mapping[str, str]) -> None:
        self._popen = subprocess.Popen(  # noqa: S603 (running the user's script is the purpose)
            command,
            cwd=cwd,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._pumps = [
            _start_pump(self._popen.stdout, sys.stdout.buffer, self.tail),
            _start_pump(self._popen.stderr, sys.stderr.buffer, self.tail),
        ]
        self._killer: threading.Timer | None = None

    def wait(self) -> int:
        """The exit code as a shell would give it: 128 + n after signal n. Nothing of the group is left behind."""
        code = self._popen.wait()
        if self._killer:
            self._killer.cancel()
        self._kill_group()
        for pump in self._pumps:
            pump.join(timeout=5)  # a process that left the group may hold the pipe for ever
        return code if code >= 0 else 128 - code

    def stop(self, grace: float) -> None:
        """SIGTERM now, SIGKILL to all after `grace` seconds."""
        # To the script alone: if its data loaders died of the signal too, it could not write a checkpoint.
        self._popen.send_signal(signal.SIGTERM)
        if self._killer is None:
            self._killer = threading.Timer(grace, self._kill_group)
            self._killer.daemon = True
            self._killer.start()

    def _kill_group(self) -> None:
        try:
            os.killpg(self._popen.pid, signal.SIGKILL)
        except ProcessLookupError:
            return


class LinePump:
    """Whole lines only, so that two streams never mix within one."""

    def __init__(self, sink: BinaryIO, tail: deque[str]) -> None:
        self._sink = sink
        self._tail = tail
        self._pending = b""
        self._redrawn = -float("inf")

    def feed(self, chunk: bytes) -> None:
        lines = (self._pending + chunk).splitlines(keepends=True)
        # A \r at the very end may be the first half of \r\n.
        complete = lines[-1].endswith(b"\n") or len(lines[-1]) > LONGEST_LINE
        self._pending = b"" if complete else lines.pop()
        for line in lines:
            self._emit(line)

    def finish(self) -> None:
        if self._pending:
            self._emit(self._pending + b"\n")

    def _emit(self, line: bytes) -> None:
        if line.endswith(b"\r"):
            now = time.monotonic()
            if not line.strip() or now - self._redrawn < REDRAW_SECONDS:
                return
            self._redrawn = now
        text = line.rstrip(b"\r\n")
        try:
            self._sink.write(text + b"\n")
            self._sink.flush()
        except BrokenPipeError:
            # Nobody reads our log any more. Reading on, for a full pipe would stop the script.
            pass
        if text.strip():
            self._tail.append(text.decode("utf-8", "replace"))


def _start_pump(source: IO[bytes] | None, sink: BinaryIO, tail: deque[str]) -> threading.Thread:
    assert source is not None  # noqa: S101 (PIPE was asked for)
    thread = threading.Thread(target=_pump, args=(source, LinePump(sink, tail)), daemon=True)
    thread.start()
    return thread


def _pump(source: IO[bytes], lines: LinePump) -> None:
    while chunk := os.read(source.fileno(), 64 * 1024):
        lines.feed(chunk)
    lines.finish()
