"""Look at things again and again in a thread, as AWS does with alarms and schedules."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Poller(Generic[Item]):
    """Calls `look` for each of `items()` every `seconds`, until `close`."""

    def __init__(
        self,
        name: str,
        seconds: float,
        items: Callable[[], Iterable[Item]],
        look: Callable[[Item], None],
        log: Callable[[str], None],
    ) -> None:
        self._name = name
        self._seconds = seconds
        self._items = items
        self._look = look
        self._log = log
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closed.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        while not self._closed.wait(self._seconds):
            for item in list(self._items()):
                try:
                    self._look(item)
                except Exception:
                    # One that fails must not end the watch over the others.
                    self._log(f"{self._name}, {getattr(item, 'name', item)}: {traceback.format_exc()}")
