"""Choose the instance type for a job, and read the settings of the ECS agent from the host's user data."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from moto.ec2.models.instance_types import INSTANCE_TYPES

ECS_STOP_TIMEOUT = 30.0  # seconds between SIGTERM and SIGKILL unless the host's user data says otherwise
# The kernel and the ECS agent keep some of what a type is sold with.
USABLE_MEMORY = 0.96


@dataclass(frozen=True, kw_only=True)
class HostOffer:
    environment: Any  # moto's ComputeEnvironment
    instance_type: str
    spot: bool

    @property
    def capacity(self) -> dict[str, float]:
        name = self.instance_type
        return {"vcpus": _vcpus(name), "memory": _memory(name) * USABLE_MEMORY, "gpus": _gpus(name)}


@dataclass(frozen=True, kw_only=True)
class AgentSettings:
    """The settings in /etc/ecs/ecs.config that affect jobs."""

    stop_timeout: float = ECS_STOP_TIMEOUT
    drains_on_notice: bool = False  # ECS_ENABLE_SPOT_INSTANCE_DRAINING: no new tasks; those that run are left alone


def choose_host(queue: Any, needs: dict[str, float]) -> HostOffer | None:
    """Return the smallest type that fits, from the first environment in the queue's order that has one."""
    for environment in queue.environments:
        resources = environment.compute_resources or {}
        if environment.state != "ENABLED" or needs["vcpus"] > float(resources.get("maxvCpus", 0)):
            continue
        fitting = [name for name in _instance_types(resources) if _fits(name, needs)]
        if fitting:
            smallest = min(fitting, key=lambda name: (_gpus(name), _vcpus(name), _memory(name)))
            return HostOffer(environment=environment, instance_type=smallest, spot=resources.get("type") == "SPOT")
    return None


def agent_settings(offer: HostOffer, ec2_backend: Any) -> AgentSettings:
    """Read the launch template's user data, like the ECS agent."""
    text = _user_data(offer, ec2_backend)
    seconds = re.search(r"ECS_CONTAINER_STOP_TIMEOUT=[\"']?(\d+)s", text)
    return AgentSettings(
        stop_timeout=float(seconds[1]) if seconds else ECS_STOP_TIMEOUT,
        drains_on_notice=re.search(r"ECS_ENABLE_SPOT_INSTANCE_DRAINING=[\"']?true", text) is not None,
    )


def _user_data(offer: HostOffer, ec2_backend: Any) -> str:
    template = (offer.environment.compute_resources or {}).get("launchTemplate") or {}
    name_or_id = template.get("launchTemplateId") or template.get("launchTemplateName")
    found = [item for item in ec2_backend.launch_templates.values() if name_or_id in (item.id, item.name)]
    data = found[0].latest_version().data.get("UserData") if found else None
    return data.decode() if data else ""


def _instance_types(resources: dict[str, Any]) -> list[str]:
    """Expand families, and `optimal`, which means a few of them."""
    names: list[str] = []
    for wanted in resources.get("instanceTypes") or []:
        families = ("m4", "r4", "c4") if wanted == "optimal" else (wanted,)
        names += [wanted] if wanted in INSTANCE_TYPES else _of_families(families)
    return names


def _of_families(families: tuple[str, ...]) -> list[str]:
    return [name for name in INSTANCE_TYPES if name.split(".")[0] in families]


def _fits(name: str, needs: dict[str, float]) -> bool:
    return (
        _vcpus(name) >= needs["vcpus"]
        and _memory(name) * USABLE_MEMORY >= needs["memory"]
        and _gpus(name) >= needs["gpus"]
    )


def _vcpus(name: str) -> int:
    return int(INSTANCE_TYPES[name]["VCpuInfo"]["DefaultVCpus"])


def _memory(name: str) -> int:
    return int(INSTANCE_TYPES[name]["MemoryInfo"]["SizeInMiB"])


def _gpus(name: str) -> int:
    return sum(int(gpu["Count"]) for gpu in INSTANCE_TYPES[name].get("GpuInfo", {}).get("Gpus", []))
