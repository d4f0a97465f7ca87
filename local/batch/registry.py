"""Find jobs by id, by queue and by name."""

from __future__ import annotations

from collections import defaultdict

from local.batch.jobs import Job


class JobRegistry:
    """All jobs since the start, including the children of arrays."""

    def __init__(self) -> None:
        self.by_id: dict[str, Job] = {}
        self._by_queue: dict[str, list[Job]] = defaultdict(list)  # without the children of arrays
        self._by_name: dict[tuple[str, str], list[Job]] = defaultdict(list)  # by queue and name in lower case

    def add(self, job: Job) -> None:
        self._by_queue[job.queue.arn].append(job)
        self._by_name[job.queue.arn, job.name.lower()].append(job)
        for each in (job, *job.children):
            self.by_id[each.job_id] = each

    def of_queue(self, queue_arn: str) -> list[Job]:
        """Return the jobs of a queue, newest first, without the children of arrays."""
        return list(reversed(self._by_queue.get(queue_arn, [])))

    def named(self, queue_arn: str, name: str) -> list[Job]:
        return list(reversed(self._by_name.get((queue_arn, name.lower()), [])))

    def status_of(self, job_id: str) -> str | None:
        job = self.by_id.get(job_id)
        return job.status if job else None
