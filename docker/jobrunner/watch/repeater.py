"""A function that is called at intervals while the script runs."""

import threading
import time
from collections.abc import Callable


class Repeater:
    """Calls `act` at intervals in a thread, until it is stopped."""

    def __init__(self, act: Callable[[], None], interval: Callable[[], float]) -> None:
        self._act = act
        self._interval = interval
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Repeater":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        last = time.monotonic()
        while not self._stopped.wait(min(0.5, self._interval())):
            now = time.monotonic()
            if now - last >= self._interval():
                last = now  # from begin to begin: a long upload does not make the next round later
                self._act()
