"""Write CloudWatch log events while the process that prints them still runs."""

from __future__ import annotations

import threading
import time
from typing import Any

FLUSH_SECONDS = 0.3  # a line is visible at most this late


class LogStreams:
    def __init__(self, logs_backend: Any) -> None:
        self._backend = logs_backend

    def has_group(self, group: str) -> bool:
        return group in self._backend.groups

    def ensure_group(self, group: str) -> None:
        self._backend.ensure_log_group(group)

    def open(self, group: str, stream: str) -> LogStream:
        if stream not in self._backend.groups[group].streams:
            self._backend.create_log_stream(group, stream)
        return LogStream(self._backend, group, stream)


class LogStream:
    """Buffers lines briefly, so that a job that prints thousands per second does not cost a call for each."""

    def __init__(self, backend: Any, group: str, stream: str) -> None:
        self._backend = backend
        self.group = group
        self.stream = stream
        self._lines: list[dict[str, Any]] = []
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None

    def write(self, line: str) -> None:
        if not line:
            return  # CloudWatch does not take empty events
        with self._lock:
            self._lines.append({"timestamp": int(time.time() * 1000), "message": line})
            if self._timer is None:
                self._timer = threading.Timer(FLUSH_SECONDS, self.flush)
                self._timer.daemon = True
                self._timer.start()

    def flush(self) -> None:
        with self._lock:
            lines, self._lines, self._timer = self._lines, [], None
            # A log group that was deleted meanwhile takes no more lines; the job is not to blame.
            if lines and self.stream in getattr(self._backend.groups.get(self.group), "streams", {}):
                self._backend.put_log_events(self.group, self.stream, lines)
