"""The ECS tasks of attempts: what describe calls and the metadata of their hosts tell about them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from moto.ec2.models import EC2Backend
from moto.ecs.models import EC2ContainerServiceBackend

from local.batch.fleet import Fleet, Host
from local.batch.host_metadata import HostMetadata
from local.batch.hosts import HostOffer
from local.batch.instance_metadata import InstanceMetadata
from local.batch.jobs import Job
from local.moto.hooks import Hooks

CPU_UNITS = 1024  # ECS's count of one vCPU


@dataclass(frozen=True, kw_only=True)
class Task:
    task_id: str
    host: Host
    task_arn: str
    cluster_arn: str
    cpu_units: int
    memory_mib: int
    image: str

    @property
    def container_instance_arn(self) -> str:
        return str(self.host.container_instance.container_instance_arn)

    @property
    def zone(self) -> str:
        return str(self.host.instance.placement.zone)


class TaskRegistry:
    """Records of tasks, for describe calls of the runner and of users, and for what a host can ask on itself."""

    def __init__(self, fleet: Fleet, instance_metadata: InstanceMetadata) -> None:
        self._fleet = fleet
        self._instances = instance_metadata
        self._tasks: dict[str, Task] = {}  # by task ARN; ended ones stay, as ECS shows them for a while
        self._stopped: set[str] = set()

    def install(self, hooks: Hooks) -> None:
        HostMetadata(self.task_metadata, self._instances.read, self.agent_metadata).install(hooks)
        hooks.wrap(EC2ContainerServiceBackend, "describe_tasks", self._describe_tasks)
        # moto makes a price up. No price is better: whoever asks gets a cost that is not known, never a wrong one.
        hooks.replace(EC2Backend, "describe_spot_price_history", lambda *_args, **_filters: [])

    def start(self, job: Job, offer: HostOffer, task_id: str) -> Task:
        host = self._fleet.place(offer, task_id, job.resources, job.last_instance)
        job.last_instance = host.instance_id
        cluster = offer.environment.ecs_name
        prefix = host.container_instance.container_instance_arn.split(":container-instance/")[0]
        task = Task(
            task_id=task_id,
            host=host,
            task_arn=f"{prefix}:task/{cluster}/{task_id}",
            cluster_arn=offer.environment.ecs_arn,
            cpu_units=int(job.resources["vcpus"] * CPU_UNITS),
            memory_mib=int(job.resources["memory"]),
            image=str(job.definition.container_properties.get("image", "")),
        )
        self._tasks[task.task_arn] = task
        return task

    def stop(self, task: Task) -> None:
        self._stopped.add(task.task_arn)
        self._fleet.release(task.host, task.task_id)

    def task_metadata(self, task_id: str, document: str) -> dict[str, Any] | None:
        """Answer ECS's task metadata endpoint, version 4: "task" is the task, "" its container."""
        task = next((each for each in self._tasks.values() if each.task_id == task_id), None)
        if task is None or document not in ("", "task"):
            return None
        limits = {"CPU": task.cpu_units, "Memory": task.memory_mib}
        container = {"DockerId": task_id, "Name": "default", "Image": task.image, "Limits": limits}
        if not document:
            return container
        return {
            "Cluster": task.cluster_arn,
            "TaskARN": task.task_arn,
            "AvailabilityZone": task.zone,
            "LaunchType": "EC2",
            "Containers": [container],
        }

    def agent_metadata(self, instance_id: str, document: str) -> dict[str, Any] | None:
        """Answer the introspection of the host's ECS agent: v1/metadata and v1/tasks."""
        host = self._fleet.by_id.get(instance_id)
        if host is None or not host.alive:
            return None
        if document == "v1/metadata":
            arn = host.container_instance.container_instance_arn
            return {"Cluster": host.offer.environment.ecs_name, "ContainerInstanceArn": arn, "Version": "stand-in"}
        if document != "v1/tasks":
            return None
        running = [task for task in self._tasks.values() if task.host is host and task.task_arn not in self._stopped]
        return {
            "Tasks": [{"Arn": each.task_arn, "KnownStatus": "RUNNING", "DesiredStatus": "RUNNING"} for each in running]
        }

    def _describe_tasks(self, original: Any, backend: Any, cluster: str, tasks: list[str]) -> list[Any]:
        ours = [self._tasks[arn] for arn in tasks if arn in self._tasks]
        others = [arn for arn in tasks if arn not in self._tasks]
        found = original(backend, cluster, others) if others else []
        return [*found, *(self._described(task) for task in ours)]

    def _described(self, task: Task) -> dict[str, Any]:
        status = "STOPPED" if task.task_arn in self._stopped else "RUNNING"
        size = {"cpu": str(task.cpu_units), "memory": str(task.memory_mib)}
        return {
            "taskArn": task.task_arn,
            "clusterArn": task.cluster_arn,
            "containerInstanceArn": task.container_instance_arn,
            "availabilityZone": task.zone,
            "lastStatus": status,
            "desiredStatus": status,
            "launchType": "EC2",
            "containers": [{"name": "default", "lastStatus": status, "taskArn": task.task_arn, **size}],
            **size,
        }
