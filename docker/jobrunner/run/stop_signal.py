"""The request to stop, from AWS, the user or the budget."""

import signal
import threading
from types import FrameType

from jobrunner.run.process import Child


class StopSignal:
    """SIGTERM, Ctrl-C or the end of the budget: remembered, and forwarded to the child that is running."""

    def __init__(self, grace: float) -> None:
        self.asked = threading.Event()
        self._grace = grace
        self._child: Child | None = None

    def listen(self) -> None:
        signal.signal(signal.SIGTERM, self._handle)
        signal.signal(signal.SIGINT, self._handle)

    def run(self, child: Child) -> int:
        self._child = child
        if self.asked.is_set():  # it came while the child was being started
            child.stop(self._grace)
        try:
            return child.wait()
        finally:
            self._child = None

    def ask(self) -> None:
        self.asked.set()
        if child := self._child:
            child.stop(self._grace)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.ask()
