"""Jobs that no machine of their queue can hold."""

from __future__ import annotations

import time
from typing import Any

from local.batch.hosts import choose_host
from local.batch.jobs import Job

TOO_LARGE = (
    "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT - The job resource requirement (vCPU/memory/GPU) is higher than "
    "that can be met by the compute environment(s) attached to the job queue."
)


class StuckJobs:
    """They wait until a compute environment changes, or until their queue's time limit ends the wait."""

    def __init__(self, hurry: float) -> None:
        self._hurry = hurry
        self._jobs: dict[str, Job] = {}  # by id

    def add(self, job: Job) -> None:
        job.status_reason = TOO_LARGE
        self._jobs[job.job_id] = job

    def take_fitting(self) -> list[Job]:
        """Remove and return the jobs that a changed compute environment can hold now; forget those that ended."""
        fits: dict[tuple[Any, ...], bool] = {}  # the children of an array all need the same
        fitting = []
        for job in list(self._jobs.values()):
            needs = (job.queue.arn, *job.resources.values())
            if needs not in fits:
                fits[needs] = choose_host(job.queue, job.resources) is not None
            if job.status != "RUNNABLE":
                del self._jobs[job.job_id]
            elif fits[needs]:
                del self._jobs[job.job_id]
                fitting.append(job)
        return fitting

    def overdue(self) -> list[tuple[Job, str]]:
        """Return the jobs that jobStateTimeLimitActions of their queue cancel now, each with its reason."""
        found = [(job, self._limit(job)) for job in self._jobs.values()]
        return [(job, reason) for job, reason in found if reason is not None]

    def _limit(self, job: Job) -> str | None:
        waited = (time.monotonic() - job.runnable_at) * self._hurry
        for action in getattr(job.queue, "job_state_time_limit_actions", None) or []:
            if job.status_reason.startswith(action["reason"]) and waited > action["maxTimeSeconds"]:
                return f"Canceled by JobStateTimeLimit action due to reason: {action['reason']}"
        return None
