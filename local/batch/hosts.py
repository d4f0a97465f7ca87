"""Choose an instance type of a queue's compute environments that can hold a job."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from moto.ec2.models.instance_types import INSTANCE_TYPES

ECS_STOP_TIMEOUT = 30.0  # seconds between SIGTERM and SIGKILL unless the host's user data says otherwise
# The kernel and the ECS agent keep some of what a type is sold with.
USABLE_MEMORY = 0.96


@dataclass(frozen=True, kw_only=True)
class Host:
    environment: Any  # moto's ComputeEnvironment
    instance_type: str
    spot: bool


def choose_host(queue: Any, needs: dict[str, float]) -> Host | None:
    """Return the smallest type that fits, from the first environment in the queue's order that has one."""
    for environment in queue.environments:
        resources = environment.compute_resources or {}
        if environment.state != "ENABLED" or needs["vcpus"] > float(resources.get("maxvCpus", 0)):
            continue
        fitting = [name for name in _instance_types(resources) if _fits(name, needs)]
        if fitting:
            smallest = min(fitting, key=lambda name: (_gpus(name), _vcpus(name), _memory(name)))
            return Host(environment=environment, instance_type=smallest, spot=resources.get("type") == "SPOT")
    return None


def stop_timeout(host: Host, ec2_backend: Any) -> float:
    """Read ECS_CONTAINER_STOP_TIMEOUT from the launch template's user data, like the ECS agent."""
    template = (host.environment.compute_resources or {}).get("launchTemplate") or {}
    name_or_id = template.get("launchTemplateId") or template.get("launchTemplateName")
    if not name_or_id:
        return ECS_STOP_TIMEOUT
    found = [item for item in ec2_backend.launch_templates.values() if name_or_id in (item.id, item.name)]
    user_data = found[0].latest_version().data.get("UserData") if found else None
    text = user_data.decode() if user_data else ""
    seconds = re.search(r"ECS_CONTAINER_STOP_TIMEOUT=[\"']?(\d+)s", text)
    return float(seconds[1]) if seconds else ECS_STOP_TIMEOUT


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
