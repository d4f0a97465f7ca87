"""Faults between ECS and a container, injected on request, with the texts that Batch shows."""

from __future__ import annotations

import threading
from collections import deque
from enum import Enum

from local.batch.retry_rules import EXITED, START_FAILED

REGISTRY = "123456789012.dkr.ecr.us-east-1.amazonaws.com"


class Fault(Enum):
    """Each with the container's reason. All but the last are passing."""

    # nextflow-io/nextflow#3091: the container ran, and the agent could not ask Docker how it ended.
    CANNOT_INSPECT = "CannotInspectContainerError: Could not transition to inspecting; timed out after waiting 30s"
    # nextflow-io/nextflow#4096
    DOCKER_TIMEOUT = "DockerTimeoutError: Could not transition to started; timed out after waiting 3m0s"
    # ECS developer guide, "CannotPullContainer task errors"
    PULL_TIMEOUT = (
        f'CannotPullContainerError: Error response from daemon: Get "https://{REGISTRY}/v2/": net/http: request '
        "canceled while waiting for connection (Client.Timeout exceeded while awaiting headers)"
    )
    IMAGE_MISSING = (
        f"CannotPullContainerError: Error response from daemon: manifest for {REGISTRY}/image:latest not found: "
        "manifest unknown: Requested image not found"
    )

    @property
    def status_reason(self) -> str:
        return EXITED if self is Fault.CANNOT_INSPECT else START_FAILED


class Faults:
    """Faults that the next attempts meet, in order."""

    def __init__(self) -> None:
        self._next: deque[Fault] = deque()
        self._lock = threading.Lock()

    def next(self, fault: Fault, times: int = 1) -> None:
        with self._lock:
            self._next.extend([fault] * times)

    def take(self) -> Fault | None:
        with self._lock:
            return self._next.popleft() if self._next else None
