"""The share of the host that is reserved for this job: vCPUs and memory."""

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3

from jobrunner.run.machine import CPU_UNITS
from jobrunner.run.meters import CGROUP_ROOT, MIB

log = logging.getLogger("runner")

SECONDS = 0.5  # for each answer of the metadata endpoint, which is on this host
NO_LIMIT = 2**60  # version 1 of cgroups writes a number above this for "unlimited"


@dataclass(frozen=True, kw_only=True)
class Reserved:
    vcpus: float | None = None
    memory_mib: int | None = None
    image: str | None = None  # its id, else its name


def reserved_share(metadata_uri: str | None, cgroup: Path = CGROUP_ROOT) -> Reserved:
    """From the container's limits in the task metadata of ECS, version 4, else from the cgroup."""
    told, limit = from_metadata(metadata_uri), from_cgroup(cgroup)
    return Reserved(vcpus=told.vcpus or limit.vcpus, memory_mib=told.memory_mib or limit.memory_mib, image=told.image)


def from_metadata(uri: str | None) -> Reserved:
    if not uri:
        return Reserved()
    try:
        told = json.loads(urllib3.PoolManager().request("GET", uri, timeout=SECONDS, retries=False).data)
        limits = told.get("Limits") or {}
        return Reserved(
            vcpus=_vcpus(limits.get("CPU"), CPU_UNITS),
            memory_mib=_whole(limits.get("Memory")),
            image=told.get("ImageID") or told.get("Image"),
        )
    except (urllib3.exceptions.HTTPError, ValueError, TypeError, AttributeError) as error:
        log.warning("the job's share of the machine is not known: %r", error)
        return Reserved()


def from_cgroup(root: Path) -> Reserved:
    """The hard limits, of version 2 or 1 of cgroups.

    Not the weight or the shares: their default is a number as well, and runc has changed how it makes one of the other.
    """
    quota, _, period = _read(root / "cpu.max").partition(" ")
    if not quota:
        quota, period = _read(root / "cpu/cpu.cfs_quota_us"), _read(root / "cpu/cpu.cfs_period_us")
    memory = _number(_read(root / "memory.max") or _read(root / "memory/memory.limit_in_bytes"))
    return Reserved(
        vcpus=_vcpus(_number(quota), _number(period)),
        memory_mib=memory // MIB or None if memory and memory < NO_LIMIT else None,
    )


def _vcpus(share: Any, unit: int | None) -> float | None:
    is_share = isinstance(share, int | float) and share > 0
    return share / unit if is_share and unit else None


def _whole(value: Any) -> int | None:
    return int(value) if isinstance(value, int | float) and value > 0 else None


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() else None  # not "max" or -1


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
