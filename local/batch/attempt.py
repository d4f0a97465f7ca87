"""Run one attempt of a job: its machine, its environment, and its end in AWS's words."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from local.batch.faults import Fault, Faults
from local.batch.fleet import Host
from local.batch.gpus import gpu_variables
from local.batch.hosts import HostOffer
from local.batch.jobs import Job
from local.batch.reclaim import Interruption
from local.batch.retry_rules import START_FAILED, AttemptEnd
from local.batch.tasks import Task, TaskRegistry
from local.delivery.log_streams import LogStream, LogStreams
from local.iam.credentials import Credentials
from splatworks.sandbox.process import JobProcess

MAX_OVERRIDES = 8192  # characters; ECS refuses the task, long after Batch accepted the job


class StartError(Exception):
    """The task never ran; the text is the container's reason."""

    def __init__(self, reason: str, status_reason: str = START_FAILED) -> None:
        super().__init__(reason)
        self.status_reason = status_reason


@dataclass
class Attempt:
    process: JobProcess
    task: Task
    log: LogStream
    stop_timeout: float
    release: Callable[[], None]
    finished: threading.Event = field(default_factory=threading.Event)
    interruption: Interruption | None = None
    fault: Fault | None = None  # that hides how the container ended

    @property
    def host(self) -> Host:
        return self.task.host

    def interrupt(self, interruption: Interruption, *, grace: float | None = None) -> None:
        """Stop the attempt: SIGTERM, and SIGKILL after `grace` seconds. The first interruption is reported."""
        self.interruption = self.interruption or interruption
        seconds = self.stop_timeout if grace is None else grace
        if seconds:
            self.process.stop(seconds)
        else:
            self.process.kill()

    def kill(self) -> None:
        self.process.kill()

    def run(self) -> AttemptEnd:
        code = self.process.wait(self.log.write)
        self.log.flush()
        self.release()
        self.process.remove_workspace()
        if self.fault:
            return AttemptEnd(exit_code=None, reason=self.fault.value, status_reason=self.fault.status_reason)
        if self.interruption is None or (code == 0 and not self.interruption.final):
            return AttemptEnd(exit_code=code, reason=self.process.killed_because)
        told = self.interruption
        reported = code if told.exit_code is None else told.exit_code
        return AttemptEnd(exit_code=reported, status_reason=told.status_reason, final=told.final)

    def container(self) -> dict[str, Any]:
        return {
            "containerInstanceArn": self.task.container_instance_arn,
            "taskArn": self.task.task_arn,
            "logStreamName": self.log.stream,
        }

    def record(self, end: AttemptEnd) -> dict[str, Any]:
        container: dict[str, Any] = {**self.container(), "exitCode": end.exit_code, "networkInterfaces": []}
        if end.reason:
            container["reason"] = end.reason
        return {"container": container}


class AttemptStarter:
    """Starts the image's entrypoint, `python runner.py`, with the environment that ECS would set."""

    def __init__(
        self,
        *,
        runner: Path,
        folder: Path,
        environment: dict[str, str],
        tasks: TaskRegistry,
        faults: Faults,
        logs: LogStreams,
        credentials: Credentials,
    ) -> None:
        self._runner = runner
        self._folder = folder
        self._environment = environment  # endpoint, region and credentials
        self._tasks = tasks
        self._faults = faults
        self._logs = logs
        self._credentials = credentials

    def start(self, job: Job, offer: HostOffer, number: int) -> Attempt:
        check_overrides(job)
        fault = self._faults.take()
        if fault and fault is not Fault.CANNOT_INSPECT:
            raise StartError(fault.value, fault.status_reason)
        task_id = uuid.uuid4().hex
        log = self._open_log(job, task_id)
        task = self._tasks.start(job, offer, task_id)
        environment = {
            **self._environment,
            **self._role_credentials(job, task_id),
            **job.environment,
            **gpu_variables(job, task.host),
            **batch_environment(job, offer, number),
            "ECS_CONTAINER_METADATA_URI_V4": f"{self._environment['AWS_ENDPOINT_URL']}/v4/{task_id}",
        }
        try:
            process = JobProcess(
                self._runner,
                job.command,
                environment,
                self._folder / "jobs" / task_id,
                self._folder / "models",
                host=task.host.folder,
                memory_mib=job.resources["memory"],
            )
        except (OSError, RuntimeError) as error:
            self._tasks.stop(task)
            raise StartError(f"CannotStartContainerError: {error}") from error
        timeout = task.host.settings.stop_timeout
        return Attempt(process, task, log, timeout, release=lambda: self._tasks.stop(task), fault=fault)

    def _role_credentials(self, job: Job, task_id: str) -> dict[str, str]:
        role = job.definition.container_properties.get("jobRoleArn")
        return self._credentials(role, task_id) if role else {}

    def _open_log(self, job: Job, task_id: str) -> LogStream:
        group, stream = job.log_target(task_id)
        if group == "/aws/batch/job":
            self._logs.ensure_group(group)
        if not self._logs.has_group(group):
            raise StartError(
                "CannotStartContainerError: Error response from daemon: failed to initialize logging driver: "
                f"failed to create Cloudwatch log stream: The specified log group does not exist: {group}"
            )
        return self._logs.open(group, stream)


def check_overrides(job: Job) -> None:
    size = len(json.dumps(job.overrides))
    if size > MAX_OVERRIDES:
        raise StartError(
            f"InvalidParameterException: Container Overrides length must be at most {MAX_OVERRIDES}",
            f"Container Overrides length must be at most {MAX_OVERRIDES}",
        )


def batch_environment(job: Job, offer: HostOffer, number: int) -> dict[str, str]:
    variables = {
        "AWS_BATCH_JOB_ID": job.job_id,
        "AWS_BATCH_JOB_ATTEMPT": str(number),
        "AWS_BATCH_JQ_NAME": job.queue.name,
        "AWS_BATCH_CE_NAME": offer.environment.name,
    }
    if job.parent:
        variables["AWS_BATCH_JOB_ARRAY_INDEX"] = str(job.index)
        variables["AWS_BATCH_JOB_ARRAY_SIZE"] = str(len(job.parent.children))
    return variables
