"""An AWS Batch job as the service remembers it."""

from __future__ import annotations

import time
import uuid
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
    last_instance: str | None = None  # the id of the host that the attempt before ran on
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
        """Return the submission's strategy, which replaces the definition's completely."""
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
        """Return vcpus, memory (MiB) and gpus after overrides, in either form that Batch accepts."""
        found = {"VCPU": 1.0, "MEMORY": 512.0, "GPU": 0.0}
        for properties in (self.definition.container_properties, self.overrides):
            for name, key in (("vcpus", "VCPU"), ("memory", "MEMORY")):
                if properties.get(name):
                    found[key] = float(properties[name])
            for item in properties.get("resourceRequirements", []):
                found[item["type"]] = float(item["value"])
        return {"vcpus": found["VCPU"], "memory": found["MEMORY"], "gpus": found["GPU"]}

    def log_target(self, task_id: str) -> tuple[str, str]:
        """Return (group, stream); one stream per attempt, since each is a separate task."""
        options = (self.definition.container_properties.get("logConfiguration") or {}).get("options") or {}
        prefix = options.get("awslogs-stream-prefix", self.definition.name)
        return options.get("awslogs-group", "/aws/batch/job"), f"{prefix}/default/{task_id}"


def job_from(queue: Any, definition: Any, request: dict[str, Any]) -> Job:
    """Return the job of a SubmitJob request, with its children if it is an array."""
    job = Job(queue=queue, definition=definition, request=request)
    size = (request.get("arrayProperties") or {}).get("size", 0)
    job.children = [
        Job(queue, definition, request, job_id=f"{job.job_id}:{index}", parent=job, index=index)
        for index in range(size)
    ]
    job.open_children = size
    return job


def substitute(part: str, parameters: dict[str, str]) -> str:
    for name, value in parameters.items():
        part = part.replace(f"Ref::{name}", value)
    return part
