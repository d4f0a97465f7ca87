"""The request to stop, from AWS, the host, the user or the budget."""

import signal
import threading
import time
from types import FrameType

from jobrunner.run.process import Child


class StopSignal:
    """SIGTERM, Ctrl-C, a notice or the end of the budget: remembered, and forwarded to the child that is running."""

    def __init__(self, grace: float) -> None:
        self.asked = threading.Event()
        self._grace = grace
        self._until = 0.0  # by time.monotonic; set once, since a second request gives no more time
        self._child: Child | None = None

    def listen(self) -> None:
        signal.signal(signal.SIGTERM, self._handle)
        signal.signal(signal.SIGINT, self._handle)

    def run(self, child: Child) -> int:
        self._child = child
        if self.asked.is_set():  # it came while the child was being started
            child.stop(self._left())
        try:
            return child.wait()
        finally:
            self._child = None

    def ask(self, grace: float | None = None) -> None:
        """Ask the child to stop within `grace` seconds, by default those of a SIGTERM."""
        if not self.asked.is_set():
            self._until = time.monotonic() + (self._grace if grace is None else grace)
            self.asked.set()
        if child := self._child:
            child.stop(self._left())

    def _left(self) -> float:
        return max(0.0, self._until - time.monotonic())

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.ask()
