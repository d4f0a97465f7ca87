"""Peak memory, out-of-memory kills and GPU use of one attempt."""

import logging
import os
import resource
import shutil
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from splatworks.contract.documents.job import GpuUse

log = logging.getLogger("runner")

CGROUP_ROOT = Path("/sys/fs/cgroup")
KIB_PER_MIB = 1024
MIB = 1024 * 1024


@dataclass(frozen=True)
class CgroupFiles:
    processes: str
    peak: str
    kills: str  # lines of a name and a number, one of them oom_kill
    limit_reached: str = ""


VERSION_1 = CgroupFiles(
    "memory/cgroup.procs", "memory/memory.max_usage_in_bytes", "memory/memory.oom_control", "memory/memory.failcnt"
)
VERSION_2 = CgroupFiles("cgroup.procs", "memory.peak", "memory.events")


@dataclass
class MemoryMeter:
    """Reads the cgroup, of version 2 or 1, that a container has to itself; without one, the kernel counts children."""

    cgroup: Path = CGROUP_ROOT  # where cgroups are mounted; version 1 has the memory's in a folder of it
    _files: CgroupFiles = field(init=False)
    _kills_before: int | None = field(init=False)
    _refused_before: int = field(init=False)
    _own: bool = field(init=False)

    def __post_init__(self) -> None:
        self._files = VERSION_1 if (self.cgroup / VERSION_1.processes).exists() else VERSION_2
        self._kills_before = self._kills()
        self._refused_before = self._refused()
        # Outside a container the cgroup is shared, and its peak is anybody's.
        self._own = _processes(self.cgroup / self._files.processes) in ({os.getpid()}, {os.getpid(), os.getppid()})

    def peak_mib(self) -> int | None:
        if self._own and (peak := _read(self.cgroup / self._files.peak)) is not None:
            return round(int(peak) / MIB)
        largest = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        return round(largest / KIB_PER_MIB) or None

    def killed(self, exit_code: int) -> bool:
        """Whether the kernel killed for lack of memory; in a shared cgroup only a SIGKILL of ours makes a kill ours."""
        was_killed = exit_code == 128 + signal.SIGKILL
        kills = self._kills()
        if kills is None or self._kills_before is None:  # the limit is reached without a kill, too: its count is a hint
            return was_killed and self._refused() > self._refused_before
        return kills > self._kills_before and (self._own or was_killed)

    def _kills(self) -> int | None:
        """Number of out-of-memory kills so far; None if this kernel does not count them (version 1, before 4.13)."""
        events = _read(self.cgroup / self._files.kills) or ""
        counts = dict(line.split(maxsplit=1) for line in events.splitlines())
        return int(counts["oom_kill"]) if "oom_kill" in counts else None

    def _refused(self) -> int:
        """How often the limit was reached."""
        count = (_read(self.cgroup / VERSION_1.limit_reached) or "").strip()
        return int(count) if count.isdigit() else 0


class GpuMeter:
    """Samples nvidia-smi, if it is installed."""

    def __init__(self) -> None:
        self._command = shutil.which("nvidia-smi")
        self._utilizations: list[float] = []
        self._memory_peak = 0.0

    def sample(self) -> None:
        for line in self._query("utilization.gpu,memory.used"):
            utilization, _, memory = line.partition(",")
            try:
                self._utilizations.append(float(utilization))
                self._memory_peak = max(self._memory_peak, float(memory))
            except ValueError:  # "[N/A]", as on a GPU that is shared by MIG
                continue

    def names(self) -> list[str]:
        return self._query("name")

    def use(self) -> GpuUse | None:
        if not self._utilizations:
            return None
        mean = sum(self._utilizations) / len(self._utilizations)
        return GpuUse(utilization_percent=round(mean, 1), memory_peak_mib=round(self._memory_peak))

    def _query(self, what: str) -> list[str]:
        if not self._command:
            return []
        command = [self._command, f"--query-gpu={what}", "--format=csv,noheader,nounits"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)  # noqa: S603 (fixed)
        except (OSError, subprocess.SubprocessError) as error:
            log.warning("GPU use is not known: %s", error)
            self._command = None
            return []
        return [line.strip() for line in done.stdout.splitlines() if line.strip()]


def _processes(path: Path) -> set[int]:
    return {int(line) for line in (_read(path) or "").split()}


def _read(path: Path) -> str | None:
    try:
        return path.read_text()
    except OSError:
        return None
