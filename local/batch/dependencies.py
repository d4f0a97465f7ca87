"""Resolve dependsOn: which jobs a job waits for, and which jobs its end releases."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from enum import Enum

from local.batch.jobs import Job


class Readiness(Enum):
    READY = "ready"
    WAITING = "waiting"
    FAILED = "failed"


def prerequisites(depends_on: list[dict[str, str]], parent_id: str | None, index: int | None) -> list[str]:
    """Return the ids that a job, or the child `index` of the array `parent_id`, waits for.

    SEQUENTIAL orders the children of one array; N_TO_N binds each child to its counterpart in another array.
    """
    ids = []
    for dependency in depends_on:
        kind = dependency.get("type")
        if kind == "SEQUENTIAL" and not dependency.get("jobId"):
            if index:
                ids.append(f"{parent_id}:{index - 1}")
        elif kind == "N_TO_N" and index is not None:
            ids.append(f"{dependency['jobId']}:{index}")
        else:
            ids.append(dependency["jobId"])
    return ids


def readiness(ids: list[str], status_of: Callable[[str], str | None]) -> Readiness:
    """Treat an unknown job as failed: waiting for it would never end."""
    statuses = [status_of(job_id) for job_id in ids]
    if any(status in ("FAILED", None) for status in statuses):
        return Readiness.FAILED
    if all(status == "SUCCEEDED" for status in statuses):
        return Readiness.READY
    return Readiness.WAITING


class Dependencies:
    """Records who waits for whom, so that the end of a job costs time only for the jobs that wait for it."""

    def __init__(self, status_of: Callable[[str], str | None]) -> None:
        self._status_of = status_of
        self._waiting: dict[str, list[Job]] = defaultdict(list)  # by the id of what they wait for

    def enter(self, job: Job) -> Readiness:
        ids = ids_of(job)
        state = readiness(ids, self._status_of)
        if state is Readiness.WAITING:
            for job_id in ids:
                self._waiting[job_id].append(job)
        return state

    def released_by(self, ended: Job) -> list[tuple[Job, Readiness]]:
        """Return the pending jobs that can now start, or that have now failed."""
        pending = [job for job in self._waiting.pop(ended.job_id, ()) if job.status == "PENDING"]
        states = [(job, readiness(ids_of(job), self._status_of)) for job in pending]
        return [(job, state) for job, state in states if state is not Readiness.WAITING]


def ids_of(job: Job) -> list[str]:
    return prerequisites(job.depends_on, job.parent.job_id if job.parent else None, job.index)
