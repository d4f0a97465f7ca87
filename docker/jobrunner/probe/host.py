"""Probe the host of an attempt: start with the attempt, wait for the result before the script starts."""

import json
import logging
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import urllib3

from jobrunner.failures import RunnerError
from jobrunner.probe import gpu
from splatworks.contract.documents.job import GpuFacts, ProbeFacts
from splatworks.contract.host import BAD_HOST, DRAINED

log = logging.getLogger("runner")

GPU_SECONDS = 30.0  # a driver that has not answered by then hangs; one that wakes its GPUs up takes a few
METADATA_SECONDS = 1.0
CPU_UNITS = 1024  # ECS counts a vCPU as this
MIB = 1 << 20
ARCHITECTURES = "CUDA_ARCHITECTURES"  # of the image: for which compute capabilities gsplat was compiled
# The ECS agent puts the ids of the GPUs that it reserved for the container here; images of NVIDIA set "all".
VISIBLE = "NVIDIA_VISIBLE_DEVICES"
RESERVED = re.compile(r"(GPU|MIG)-\S+")
# Errors of CUDA that are the program's own: nothing is wrong with the host.
PROGRAMS_OWN = ("out of memory", "device-side assert", "invalid argument", "invalid configuration", "no kernel image")
CUDA_ERROR = re.compile(r"CUDA error:? *(.*)")


class HostProbe:
    """Checks the GPU in a separate process while the attempt downloads its input."""

    def __init__(self, environment: Mapping[str, str], workspace: Path) -> None:
        self._environment = environment
        self._workspace = workspace
        self._begun = time.monotonic()
        self.has_gpu = RESERVED.match(environment.get(VISIBLE, "")) is not None
        self._child = self._start() if self.has_gpu else None

    def _start(self) -> "subprocess.Popen[str]":
        return subprocess.Popen(  # noqa: S603 (our own file)
            [sys.executable, gpu.__file__], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )

    def facts(self) -> ProbeFacts:
        """Return what was found; waits for the GPU, `GPU_SECONDS` from the start at the longest."""
        found = self._gpu_facts()
        vcpus, memory, image = _share(self._environment)
        gpus = [GpuFacts(**each) for each in found.get("gpus", [])]
        return ProbeFacts(
            cuda=found.get("cuda"),
            gpus=tuple(gpus),
            gpu_problem=found.get("problem") or _mismatch(gpus, self._environment.get(ARCHITECTURES, "")),
            gpu_is_bad=bool(found.get("problem")),
            shared_memory_mib=_size(Path("/dev/shm")),  # noqa: S108 (its size)
            free_disk_mib=_free(self._workspace),
            vcpus=vcpus,
            memory_mib=memory,
            image=image,
            seconds=round(time.monotonic() - self._begun, 3),
        )

    def again(self) -> ProbeFacts:
        """Probe again, for example after an error in mid-run."""
        return HostProbe(self._environment, self._workspace).facts()

    def _gpu_facts(self) -> dict[str, Any]:
        if self._child is None:
            return {}
        try:
            text, _ = self._child.communicate(timeout=max(0.1, GPU_SECONDS - (time.monotonic() - self._begun)))
            found: dict[str, Any] = json.loads(text)
            return found
        except subprocess.TimeoutExpired:
            self._child.kill()
            return {"problem": f"the NVIDIA driver did not answer within {GPU_SECONDS:.0f} s"}
        except ValueError:
            return {"problem": f"the probe of the GPU ended with code {self._child.returncode} and told nothing"}


def check(facts: ProbeFacts) -> None:
    """Raise the error of a GPU job that cannot run here. A bad host is worth another attempt, on another host."""
    if facts.gpu_is_bad:
        raise bad_host(facts.gpu_problem or "")
    if facts.gpu_problem:
        raise RunnerError(
            "gpu_not_supported",
            facts.gpu_problem,
            "Take the instance types with such GPUs off ml_gpu_instance_types, or build the image for them",
        )


def bad_host(cause: str) -> RunnerError:
    return RunnerError(
        "bad_host",
        f"the GPU of this machine does not work: {cause}",
        "Nothing to do: the machine is taken out of service, and the job runs on another while it has attempts",
        retryable=True,
    )


def mark(folder: Path, job_id: str, cause: str, patience: float) -> None:
    """Leave the note for the host's watcher, and wait `patience` seconds at most until it has drained the host."""
    beside = folder / f".{BAD_HOST}.new"
    try:
        beside.write_text(json.dumps({"job_id": job_id, "cause": cause[:500]}))
        beside.replace(folder / BAD_HOST)
        _wait_for(folder / DRAINED, patience)
    except OSError as error:
        log.warning("the host is not told that its GPU does not work: %s", error)


def _wait_for(path: Path, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.1)


def cuda_error(lines: list[str]) -> str | None:
    """Return the last error of CUDA in a script's last lines that may be the host's fault."""
    for line in reversed(lines):
        found = CUDA_ERROR.search(line)
        if found and not any(words in found[1].lower() for words in PROGRAMS_OWN):
            return found[0][:300]
    return None


def runs_on(capability: str, architectures: str) -> bool:
    """Whether code for these architectures, such as "7.5;8.6;9.0+PTX", runs on a GPU of this compute capability.

    Machine code runs on GPUs of the same major version and the same or a later minor one; PTX on all later ones.
    """
    major, minor = (int(part) for part in capability.split("."))
    for each in architectures.replace(" ", ";").split(";"):
        number, plus, _ = each.partition("+")
        built_major, built_minor = (int(part) for part in number.split("."))
        if (built_major == major and built_minor <= minor) or (plus and (built_major, built_minor) <= (major, minor)):
            return True
    return False


def _mismatch(gpus: list[GpuFacts], architectures: str) -> str | None:
    for each in gpus:
        if architectures and each.capability and not runs_on(each.capability, architectures):
            return f"{each.name} has compute capability {each.capability}; this image was built for {architectures}"
    return None


def _share(environment: Mapping[str, str]) -> tuple[float | None, int | None, str | None]:
    """Return vCPUs, memory in MiB and image of this container from ECS's metadata."""
    uri = environment.get("ECS_CONTAINER_METADATA_URI_V4")
    if not uri:
        return None, None, None
    try:
        answer = urllib3.PoolManager().request("GET", uri, timeout=METADATA_SECONDS, retries=False)
        told = json.loads(answer.data)
        limits = told.get("Limits") or {}
        vcpus, memory = limits.get("CPU"), limits.get("Memory")
        image = told.get("ImageID") or told.get("Image")
        return vcpus / CPU_UNITS if vcpus else None, int(memory) if memory else None, image
    except (urllib3.exceptions.HTTPError, ValueError, TypeError, AttributeError) as error:
        log.warning("the job's share of the machine is not known: %s", error)
        return None, None, None


def _size(path: Path) -> int | None:
    try:
        state = os.statvfs(path)
    except OSError:
        return None
    return state.f_blocks * state.f_frsize // MIB


def _free(path: Path) -> int | None:
    try:
        return shutil.disk_usage(path).free // MIB
    except OSError:
        return None
