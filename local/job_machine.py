"""The EC2 instance, the ECS container instance and the task that AWS would have for an attempt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from local.batch_hosts import Host, stop_timeout
from local.batch_jobs import Job


@dataclass(frozen=True, kw_only=True)
class Machine:
    instance_id: str
    container_instance_arn: str
    task_arn: str


class MachineRegistry:
    """Records in moto's EC2 and ECS, for describe calls of the runner and of people."""

    def __init__(self, ec2_backend: Any, ecs_backend: Any) -> None:
        self._ec2 = ec2_backend
        self._ecs = ecs_backend

    def launch(self, job: Job, host: Host, task_id: str) -> Machine:
        cluster = host.environment.ecs_name
        instance = self._run_instance(host)
        container_instance = self._ecs.register_container_instance(cluster, instance.id)
        prefix = container_instance.container_instance_arn.split(":container-instance/")[0]
        return Machine(
            instance_id=instance.id,
            container_instance_arn=container_instance.container_instance_arn,
            task_arn=f"{prefix}:task/{cluster}/{task_id}",
        )

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
        self._ec2.terminate_instances([machine.instance_id])

    def stop_timeout(self, host: Host) -> float:
        return stop_timeout(host, self._ec2)
