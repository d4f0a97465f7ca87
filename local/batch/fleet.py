"""The hosts of all compute environments: launched for a job, shared, kept for a while, terminated."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from local.batch.host_watcher import HostWatcher
from local.batch.hosts import AgentSettings, HostOffer, agent_settings

IDLE_SECONDS = 300.0  # that a host without a job is kept


@dataclass(eq=False, kw_only=True)
class Host:
    """An EC2 instance that is a container instance of an ECS cluster."""

    offer: HostOffer
    instance: Any  # moto's
    container_instance: Any  # moto's
    settings: AgentSettings
    folder: Path  # what its containers find at /run/splatworks
    gpu_is_broken: bool = False
    tasks: dict[str, dict[str, float]] = field(default_factory=dict)  # what each takes, by task id
    alive: bool = True
    idle_since: float = 0.0
    instance_action: dict[str, str] | None = None  # the notice, as instance metadata gives it
    rebalance: dict[str, str] | None = None
    watcher: HostWatcher | None = None

    @property
    def instance_id(self) -> str:
        return str(self.instance.id)

    @property
    def takes_tasks(self) -> bool:
        return self.alive and self.container_instance.status == "ACTIVE"

    def has_room(self, needs: dict[str, float]) -> bool:
        taken = list(self.tasks.values())
        return all(
            sum(each[name] for each in taken) + needs[name] <= room for name, room in self.offer.capacity.items()
        )


class Fleet:
    """Starts, fills and ends hosts. `watcher` starts the process that a host runs in addition to its containers."""

    def __init__(
        self,
        ec2_backend: Any,
        ecs_backend: Any,
        folder: Path,
        watcher: Callable[[Host], HostWatcher | None],
        *,
        hurry: float = 1.0,
    ) -> None:
        self._ec2, self._ecs = ec2_backend, ecs_backend
        self._folder = folder
        self._watcher = watcher
        self._hurry = hurry
        self._lock = threading.RLock()
        self._timers: set[threading.Timer] = set()
        self._hosts: list[Host] = []
        self.by_id: dict[str, Host] = {}  # also those that are gone, as EC2 shows them for a while
        self.broken_gpus = 0  # number of hosts, launched next for GPU jobs, that get a broken GPU

    def place(self, offer: HostOffer, task_id: str, needs: dict[str, float], preferred: str | None) -> Host:
        """Return the host for a task: the preferred one if it can, else one with room, else a new one.

        Batch packs jobs onto hosts that run, and a retry often comes back to the host that it came from.
        """
        with self._lock:
            fitting = [
                host
                for host in self._hosts
                if host.takes_tasks and host.offer.environment is offer.environment and host.has_room(needs)
            ]
            fitting.sort(key=lambda host: host.instance_id != preferred)
            host = fitting[0] if fitting else self._launch(offer)
            host.tasks[task_id] = needs
            return host

    def release(self, host: Host, task_id: str) -> None:
        with self._lock:
            host.tasks.pop(task_id, None)
            if not host.tasks and host.alive:
                host.idle_since = time.monotonic()
                self.later(IDLE_SECONDS, lambda: self._end_if_idle(host))

    def terminate(self, host: Host) -> None:
        with self._lock:
            if not host.alive:
                return
            host.alive = False
            host.container_instance.status = "INACTIVE"
            self._hosts.remove(host)
        self._ec2.terminate_instances([host.instance_id])
        if host.watcher:
            host.watcher.stop()

    def later(self, seconds: float, act: Callable[[], None]) -> None:
        """Call `act` after this many seconds of AWS's clock."""

        def run() -> None:
            self._timers.discard(timer)
            act()

        timer = threading.Timer(seconds / self._hurry, run)
        timer.daemon = True
        self._timers.add(timer)
        timer.start()

    def close(self) -> None:
        for timer in list(self._timers):
            timer.cancel()
        for host in list(self._hosts):
            self.terminate(host)

    def _launch(self, offer: HostOffer) -> Host:
        instance = self._run_instance(offer)
        container_instance = self._ecs.register_container_instance(offer.environment.ecs_name, instance.id)
        container_instance.status = "ACTIVE"
        folder = self._folder / instance.id / "run"
        folder.mkdir(parents=True)
        host = Host(
            offer=offer,
            instance=instance,
            container_instance=container_instance,
            settings=agent_settings(offer, self._ec2),
            folder=folder,
            gpu_is_broken=self.broken_gpus > 0 and offer.capacity["gpus"] > 0,
        )
        self.broken_gpus -= host.gpu_is_broken
        self._hosts.append(host)
        self.by_id[host.instance_id] = host
        host.watcher = self._watcher(host)
        return host

    def _run_instance(self, offer: HostOffer) -> Any:
        resources = offer.environment.compute_resources
        reservation = self._ec2.run_instances(
            image_id="ami-03cf127a",
            count=1,
            user_data=None,
            security_group_names=[],
            instance_type=offer.instance_type,
            is_instance_type_default=False,
            region_name=self._ec2.region_name,
            subnet_id=resources["subnets"][0],
            security_group_ids=resources.get("securityGroupIds", []),
            instance_market_options={"MarketType": "spot"} if offer.spot else None,
        )
        return reservation.instances[0]

    def _end_if_idle(self, host: Host) -> None:
        with self._lock:
            idle = (time.monotonic() - host.idle_since) * self._hurry
            # A task that started and ended meanwhile has set another timer.
            if host.alive and not host.tasks and idle >= IDLE_SECONDS - 1:
                self.terminate(host)
