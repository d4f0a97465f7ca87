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
V1 = "memory"
KIB_PER_MIB = 1024
MIB = 1024 * 1024


@dataclass
class MemoryMeter:
    """Reads the cgroup that a container has to itself; without one, the kernel's count of children.

    Version 2 has its files in the root; version 1, which older hosts have, in a folder of each controller.
    """

    cgroup: Path = CGROUP_ROOT
    _kills_before: int = field(init=False)
    _own: bool = field(init=False)

    def __post_init__(self) -> None:
        self._kills_before = self._kills()
        # Outside a container the cgroup is shared, and its peak is anybody's.
        self._own = (_processes(self.cgroup) or _processes(self.cgroup / V1)) in (
            {os.getpid()},
            {os.getpid(), os.getppid()},
        )

    def peak_mib(self) -> int | None:
        peak = _read(self.cgroup / "memory.peak") or _read(self.cgroup / V1 / "memory.max_usage_in_bytes")
        if self._own and peak is not None:
            return round(int(peak) / MIB)
        largest = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        return round(largest / KIB_PER_MIB) or None

    def killed(self, exit_code: int) -> bool:
        """Whether the kernel killed for lack of memory; in a shared cgroup only a SIGKILL of ours makes a kill ours."""
        return self._kills() > self._kills_before and (self._own or exit_code == 128 + signal.SIGKILL)

    def _kills(self) -> int:
        events = _read(self.cgroup / "memory.events") or _read(self.cgroup / V1 / "memory.oom_control") or ""
        counts = dict(line.split(maxsplit=1) for line in events.splitlines())
        return int(counts.get("oom_kill", 0))


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


def _processes(cgroup: Path) -> set[int]:
    return {int(line) for line in (_read(cgroup / "cgroup.procs") or "").split()}


def _read(path: Path) -> str | None:
    try:
        return path.read_text()
    except OSError:
        return None
