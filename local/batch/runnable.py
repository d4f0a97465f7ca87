"""Jobs that wait for a machine: by priority, then first come, first served."""

from __future__ import annotations

import heapq
import itertools

from local.batch.jobs import Job


class RunnableJobs:
    def __init__(self) -> None:
        self._heaps: dict[str, list[tuple[int, int, Job]]] = {}  # by the queue's ARN
        self._order = itertools.count()

    def add(self, job: Job) -> None:
        entry = (-job.priority, next(self._order), job)
        heapq.heappush(self._heaps.setdefault(job.queue.arn, []), entry)

    def take(self) -> Job | None:
        """Remove and return the next job of the enabled queues; forget jobs that have ended meanwhile."""
        heads = [heap for heap in self._heaps.values() if self._head_is_startable(heap)]
        if not heads:
            return None
        return heapq.heappop(min(heads, key=lambda heap: heap[0][:2]))[2]

    @staticmethod
    def _head_is_startable(heap: list[tuple[int, int, Job]]) -> bool:
        while heap and heap[0][2].status != "RUNNABLE":
            heapq.heappop(heap)
        return bool(heap) and heap[0][2].queue.state == "ENABLED"
