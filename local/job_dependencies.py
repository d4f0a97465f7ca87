"""dependsOn: what a job waits for."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum


class Readiness(Enum):
    READY = "ready"
    WAITING = "waiting"
    FAILED = "failed"


def prerequisites(depends_on: list[dict[str, str]], parent_id: str | None, index: int | None) -> list[str]:
    """The ids that a job, or the child `index` of the array `parent_id`, waits for.

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
    """A job that is not known (any more) counts as failed: waiting for it would never end."""
    statuses = [status_of(job_id) for job_id in ids]
    if any(status in ("FAILED", None) for status in statuses):
        return Readiness.FAILED
    if all(status == "SUCCEEDED" for status in statuses):
        return Readiness.READY
    return Readiness.WAITING
