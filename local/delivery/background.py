"""Run work that AWS does after it has answered a call. Nobody waits for it, so its exceptions are logged."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any


class Background:
    def __init__(self, name: str, workers: int, log: Callable[[str], None]) -> None:
        self._name = name
        self._log = log
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix=name)
        self._closed = False

    def submit(self, function: Callable[..., Any], *args: Any) -> None:
        if not self._closed:
            self._pool.submit(function, *args).add_done_callback(self._report)

    def _report(self, future: Future[Any]) -> None:
        error = None if future.cancelled() else future.exception()
        if error is not None and not self._closed:
            self._log(f"{self._name}: {''.join(traceback.format_exception(error))}")

    def close(self) -> None:
        self._closed = True
        self._pool.shutdown(wait=True, cancel_futures=True)
