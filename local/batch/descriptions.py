"""Describe a job as DescribeJobs, ListJobs and the events show it."""

from __future__ import annotations

from collections import Counter
from typing import Any

from local.batch.jobs import STATES, Job


def summary(job: Job) -> dict[str, Any]:
    """Describe the job as ListJobs does."""
    shown: dict[str, Any] = {
        "jobArn": job.arn,
        "jobId": job.job_id,
        "jobName": job.name,
        "jobDefinition": job.definition.arn,
        "createdAt": job.created_at,
        "status": job.status,
    }
    if job.request.get("shareIdentifier"):
        shown["shareIdentifier"] = job.request["shareIdentifier"]
    shown.update(_outcome(job))
    ended_container = {key: job.container[key] for key in ("exitCode", "reason") if key in job.container}
    if ended_container:
        shown["container"] = ended_container
    if job.children:
        shown["arrayProperties"] = {"size": len(job.children)}
    elif job.index is not None:
        shown["arrayProperties"] = {"index": job.index}
    return shown


def detail(job: Job, tags: dict[str, str]) -> dict[str, Any]:
    """Describe the job as DescribeJobs and the events do."""
    shown: dict[str, Any] = {
        "jobArn": job.arn,
        "jobName": job.name,
        "jobId": job.job_id,
        "jobQueue": job.queue.arn,
        "status": job.status,
        "attempts": job.attempts,
        "createdAt": job.created_at,
        "retryStrategy": {"evaluateOnExit": [], **job.retry_strategy},
        "dependsOn": job.depends_on,
        "jobDefinition": job.definition.arn,
        "parameters": {**(job.definition.parameters or {}), **(job.request.get("parameters") or {})},
        "container": _container(job),
        "tags": tags,
        "propagateTags": bool(job.request.get("propagateTags", job.definition.propagate_tags)),
        "platformCapabilities": job.definition.platform_capabilities or ["EC2"],
        "isCancelled": job.cancelled,
        "isTerminated": job.terminated,
        **_outcome(job),
        **_optional(job),
    }
    if job.children:
        shown["arrayProperties"] = {"size": len(job.children), "statusSummary": status_summary(job)}
    elif job.index is not None:
        shown["arrayProperties"] = {"index": job.index, "statusSummary": {}}
    return shown


def status_summary(parent: Job) -> dict[str, int]:
    count = Counter(child.status for child in parent.children)
    return {state: count[state] for state in STATES}


def _outcome(job: Job) -> dict[str, Any]:
    known = {"statusReason": job.status_reason or None, "startedAt": job.started_at, "stoppedAt": job.stopped_at}
    return {name: value for name, value in known.items() if value is not None}


def _optional(job: Job) -> dict[str, Any]:
    """Return the details that DescribeJobs shows only if they were given."""
    shown: dict[str, Any] = {}
    if job.attempt_seconds:
        shown["timeout"] = {"attemptDurationSeconds": job.attempt_seconds}
    if job.request.get("shareIdentifier"):
        shown["shareIdentifier"] = job.request["shareIdentifier"]
    if job.request.get("schedulingPriorityOverride") is not None:
        shown["schedulingPriority"] = job.request["schedulingPriorityOverride"]
    return shown


def _container(job: Job) -> dict[str, Any]:
    defined = job.definition.container_properties
    needs = job.resources
    requirements = [("GPU", needs["gpus"]), ("VCPU", needs["vcpus"]), ("MEMORY", needs["memory"])]
    copied = ("jobRoleArn", "executionRoleArn", "linuxParameters", "logConfiguration", "readonlyRootFilesystem")
    return {
        "image": defined["image"],
        "vcpus": int(needs["vcpus"]) or 1,
        "memory": int(needs["memory"]),
        "command": job.command,
        "volumes": defined.get("volumes", []),
        "environment": [{"name": name, "value": value} for name, value in job.environment.items()],
        "mountPoints": defined.get("mountPoints", []),
        "ulimits": defined.get("ulimits", []),
        "networkInterfaces": [],
        "resourceRequirements": [{"type": kind, "value": f"{value:g}"} for kind, value in requirements if value],
        "secrets": defined.get("secrets", []),
        **{name: defined[name] for name in copied if defined.get(name)},
        **job.container,
    }
