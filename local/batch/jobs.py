"""An AWS Batch job as the service remembers it, and as DescribeJobs, ListJobs and the events show it."""

from __future__ import annotations

import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

STATES = ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED", "FAILED")
ENDED = ("SUCCEEDED", "FAILED")
NOT_STARTED = ("SUBMITTED", "PENDING", "RUNNABLE")


def now_ms() -> int:
    return int(time.time() * 1000)


@dataclass(eq=False)
class Job:
    """`queue` and `definition` are moto's; `request` is the body of SubmitJob."""

    queue: Any
    definition: Any
    request: dict[str, Any]
    job_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    parent: Job | None = None
    index: int | None = None  # in the parent's array
    children: list[Job] = field(default_factory=list)
    open_children: int = 0  # that have not ended
    status: str = "SUBMITTED"
    status_reason: str = ""
    created_at: int = field(default_factory=now_ms)
    runnable_at: float = 0.0
    started_at: int | None = None
    stopped_at: int | None = None
    attempts: list[dict[str, Any]] = field(default_factory=list)
    container: dict[str, Any] = field(default_factory=dict)  # what the current attempt adds to the container's details
    cancelled: bool = False
    terminated: bool = False

    @property
    def name(self) -> str:
        return str(self.request["jobName"])

    @property
    def arn(self) -> str:
        return f"{self.queue.arn.split(':job-queue/')[0]}:job/{self.job_id}"

    @property
    def ended(self) -> bool:
        return self.status in ENDED

    @property
    def depends_on(self) -> list[dict[str, str]]:
        return self.request.get("dependsOn") or []

    @property
    def priority(self) -> int:
        return int(self.request.get("schedulingPriorityOverride") or 0)

    @property
    def retry_strategy(self) -> dict[str, Any]:
        """The submission's replaces the definition's as a whole."""
        return self.request.get("retryStrategy") or self.definition.retry_strategy or {"attempts": 1}

    @property
    def attempt_seconds(self) -> int | None:
        timeout = self.request.get("timeout") or self.definition.timeout or {}
        return timeout.get("attemptDurationSeconds")

    @property
    def overrides(self) -> dict[str, Any]:
        return self.request.get("containerOverrides") or {}

    @property
    def environment(self) -> dict[str, str]:
        defined = self.definition.container_properties.get("environment", [])
        return {item["name"]: item["value"] for item in [*defined, *self.overrides.get("environment", [])]}

    @property
    def command(self) -> list[str]:
        command = self.overrides.get("command") or self.definition.container_properties.get("command") or []
        parameters = {**(self.definition.parameters or {}), **(self.request.get("parameters") or {})}
        return [substitute(part, parameters) for part in command]

    @property
    def resources(self) -> dict[str, float]:
        """vcpus, memory (MiB) and gpus, after overrides in either of the two ways Batch accepts them."""
        found = {"VCPU": 1.0, "MEMORY": 512.0, "GPU": 0.0}
        for properties in (self.definition.container_properties, self.overrides):
            for name, key in (("vcpus", "VCPU"), ("memory", "MEMORY")):
                if properties.get(name):
                    found[key] = float(properties[name])
            for item in properties.get("resourceRequirements", []):
                found[item["type"]] = float(item["value"])
        return {"vcpus": found["VCPU"], "memory": found["MEMORY"], "gpus": found["GPU"]}

    def log_target(self, task_id: str) -> tuple[str, str]:
        """(group, stream); one stream per attempt, since each is a task of its own."""
        options = (self.definition.container_properties.get("logConfiguration") or {}).get("options") or {}
        prefix = options.get("awslogs-stream-prefix", self.definition.name)
        return options.get("awslogs-group", "/aws/batch/job"), f"{prefix}/default/{task_id}"


def substitute(part: str, parameters: dict[str, str]) -> str:
    for name, value in parameters.items():
        part = part.replace(f"Ref::{name}", value)
    return part


def summary(job: Job) -> dict[str, Any]:
    """As in ListJobs."""
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
    """As in DescribeJobs."""
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
    }
    if job.attempt_seconds:
        shown["timeout"] = {"attemptDurationSeconds": job.attempt_seconds}
    if job.request.get("shareIdentifier"):
        shown["shareIdentifier"] = job.request["shareIdentifier"]
    if job.request.get("schedulingPriorityOverride") is not None:
        shown["schedulingPriority"] = job.request["schedulingPriorityOverride"]
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
