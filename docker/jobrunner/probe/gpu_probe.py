"""Start gpu.py in another process, wait for it for a limited time, and read its answer."""

import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from jobrunner.probe import gpu
from splatworks.contract.documents.codec import DocumentError, from_json
from splatworks.contract.documents.job import GpuFacts

CHECK = Path(gpu.__file__)
# The ECS agent sets it to the ids of the GPUs that are reserved for the container, joined by commas
# (populateGPUEnvironmentVariables in amazon-ecs-agent/agent/api/task/task.go). Images have "all", "void" or "none" in
# it, as nvidia/cuda's do: that reserves nothing.
# The forms of an id: https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/docker-specialized.html
VISIBLE_DEVICES = "NVIDIA_VISIBLE_DEVICES"
GPU_ID = re.compile(r"(GPU|MIG)-\S+")
WAIT_SLICE = 0.1  # seconds
LONGEST_PROBLEM = 500  # characters of what a check that crashed had said


@dataclass(frozen=True, kw_only=True)
class GpuAnswer:
    cuda: str | None = None
    gpus: tuple[GpuFacts, ...] = ()
    problem: str | None = None  # of all GPUs: no driver, no answer


def reserved_gpus(environment: Mapping[str, str]) -> int:
    """How many GPUs are reserved for this container."""
    named = environment.get(VISIBLE_DEVICES, "").split(",")
    return sum(GPU_ID.fullmatch(each.strip()) is not None for each in named)


def expected_gpus(environment: Mapping[str, str]) -> int:
    """How many GPUs the driver should show: one slice of several (MIG), and fewer if a variable hides some."""
    reserved = reserved_gpus(environment)
    narrowed = "CUDA_VISIBLE_DEVICES" in environment or "MIG-" in environment.get(VISIBLE_DEVICES, "")
    return min(1, reserved) if narrowed else reserved


class GpuProbe:
    """One check of the GPUs, started at once in another process."""

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._popen = subprocess.Popen(  # noqa: S603 (our own file)
            [sys.executable, "-I", "-S", str(CHECK)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self._output = b""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def answer(self, within: float, unless: threading.Event | None = None) -> GpuAnswer | None:
        """Return the answer, or None `within` seconds after the start or when `unless` is set."""
        while self._reader.is_alive():
            left = self._begun + within - time.monotonic()
            if left <= 0 or (unless and unless.is_set()):
                return None
            self._reader.join(min(WAIT_SLICE, left))
        return read_answer(self._output, self._popen.returncode)

    def give_up(self) -> None:
        """Kill the check. It is not waited for: a process that hangs inside the driver does not even die."""
        if self._reader.is_alive():
            self._popen.kill()

    def _read(self) -> None:
        self._output, _ = self._popen.communicate()


def read_answer(output: bytes, exit_code: int) -> GpuAnswer:
    try:
        return from_json(GpuAnswer, json.loads(output), "the GPU check's answer")
    except (ValueError, DocumentError):  # it crashed inside the driver
        said = " ".join(output.decode(errors="replace").split())[-LONGEST_PROBLEM:]
        return GpuAnswer(problem=f"the check of the GPU ended with exit code {exit_code}: {said or 'no output'}")
