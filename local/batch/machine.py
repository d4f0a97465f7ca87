"""Register the EC2 instance, the ECS container instance and the task of an attempt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from moto.ec2.models import EC2Backend
from moto.ecs.models import EC2ContainerServiceBackend

from local.batch.hosts import Host, stop_timeout
from local.batch.jobs import Job
from local.batch.task_metadata import serve_metadata
from local.moto.hooks import Hooks

CPU_UNITS = 1024  # ECS's count of one vCPU


@dataclass(frozen=True, kw_only=True)
class Machine:
    instance_id: str
    container_instance_arn: str
    cluster_arn: str
    task_arn: str
    zone: str
    cpu_units: int
    memory_mib: int


class MachineRegistry:
    """Records in moto's EC2 and ECS, for describe calls of the runner and of users."""

    def __init__(self, ec2_backend: Any, ecs_backend: Any) -> None:
        self._ec2 = ec2_backend
        self._ecs = ecs_backend
        self._machines: dict[str, Machine] = {}  # by task ARN; ended ones stay, as ECS shows them for a while
        self._stopped: set[str] = set()

    def install(self, hooks: Hooks) -> None:
        serve_metadata(hooks, self.task_metadata)
        hooks.wrap(EC2ContainerServiceBackend, "describe_tasks", self._describe_tasks)
        # moto makes a price up. No price is better: whoever asks gets a cost that is not known, never a wrong one.
        hooks.replace(EC2Backend, "describe_spot_price_history", lambda *_args, **_filters: [])

    def launch(self, job: Job, host: Host, task_id: str) -> Machine:
        cluster = host.environment.ecs_name
        instance = self._run_instance(host)
        container_instance = self._ecs.register_container_instance(cluster, instance.id)
        prefix = container_instance.container_instance_arn.split(":container-instance/")[0]
        machine = Machine(
            instance_id=instance.id,
            container_instance_arn=container_instance.container_instance_arn,
            cluster_arn=host.environment.ecs_arn,
            task_arn=f"{prefix}:task/{cluster}/{task_id}",
            zone=instance.placement.zone,
            cpu_units=int(job.resources["vcpus"] * CPU_UNITS),
            memory_mib=int(job.resources["memory"]),
        )
        self._machines[machine.task_arn] = machine
        return machine

    def _run_instance(self, host: Host) -> Any:
        resources = host.environment.compute_resources
        reservation = self._ec2.run_instances(
            image_id="ami-03cf127a",
            count=1,
            user_data=None,
            security_group_names=[],
            instance_type=host.instance_type,
            is_instance_type_default=False,
            region_name=self._ec2.region_name,
            subnet_id=resources["subnets"][0],
            security_group_ids=resources.get("securityGroupIds", []),
            instance_market_options={"MarketType": "spot"} if host.spot else None,
        )
        return reservation.instances[0]

    def terminate(self, machine: Machine) -> None:
        self._stopped.add(machine.task_arn)
        self._ec2.terminate_instances([machine.instance_id])

    def stop_timeout(self, host: Host) -> float:
        return stop_timeout(host, self._ec2)

    def task_metadata(self, path: str) -> dict[str, Any] | None:
        """Answer ECS's task metadata endpoint, version 4: `<task id>/task` is the task, `<task id>` its container."""
        task_id, _, document = path.partition("/")
        machine = next((each for arn, each in self._machines.items() if arn.endswith(f"/{task_id}")), None)
        if machine is None or document not in ("", "task"):
            return None
        container = {"DockerId": task_id, "Name": "default", "Limits": {"CPU": machine.cpu_units}}
        if not document:
            return container
        return {
            "Cluster": machine.cluster_arn,
            "TaskARN": machine.task_arn,
            "AvailabilityZone": machine.zone,
            "LaunchType": "EC2",
            "Containers": [container],
        }

    def _describe_tasks(self, original: Any, backend: Any, cluster: str, tasks: list[str]) -> list[Any]:
        ours = [self._machines[arn] for arn in tasks if arn in self._machines]
        others = [arn for arn in tasks if arn not in self._machines]
        found = original(backend, cluster, others) if others else []
        return [*found, *(self._task(machine) for machine in ours)]

    def _task(self, machine: Machine) -> dict[str, Any]:
        status = "STOPPED" if machine.task_arn in self._stopped else "RUNNING"
        size = {"cpu": str(machine.cpu_units), "memory": str(machine.memory_mib)}
        return {
            "taskArn": machine.task_arn,
            "clusterArn": machine.cluster_arn,
            "containerInstanceArn": machine.container_instance_arn,
            "availabilityZone": machine.zone,
            "lastStatus": status,
            "desiredStatus": status,
            "launchType": "EC2",
            "containers": [{"name": "default", "lastStatus": status, "taskArn": machine.task_arn, **size}],
            **size,
        }
