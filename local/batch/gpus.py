"""What an attempt finds of its host's GPUs.

The ECS agent names the GPUs that are reserved for a container in NVIDIA_VISIBLE_DEVICES. Where this machine has none, a
job that asked for one runs without, and is not told otherwise; a host whose GPU is broken says what such a host says.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import uuid

from local.batch.fleet import Host
from local.batch.jobs import Job
from splatworks.sandbox.process import inherited_environment

VISIBLE = "NVIDIA_VISIBLE_DEVICES"
# What nvidia-smi of a real host says whose driver lost the GPU.
BROKEN_NVIDIA_SMI = """#!/bin/sh
echo "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the latest NVIDIA \
driver is installed and running."
exit 9
"""


def gpu_variables(job: Job, host: Host) -> dict[str, str]:
    count = int(job.resources["gpus"])
    if not count:
        return {}
    if host.gpu_is_broken:
        return {VISIBLE: f"GPU-{uuid.uuid4()}", "CUDA_VISIBLE_DEVICES": "-1", "PATH": _path_to_broken_driver(host)}
    mine = gpus_of_this_machine()[:count]
    return {VISIBLE: ",".join(mine)} if mine else {}


@functools.cache
def gpus_of_this_machine() -> tuple[str, ...]:
    """Return the ids of this machine's GPUs; none without nvidia-smi."""
    if shutil.which("nvidia-smi") is None:
        return ()
    command = ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return tuple(done.stdout.split()) if done.returncode == 0 else ()


def _path_to_broken_driver(host: Host) -> str:
    programs = host.folder.parent / "driver"
    programs.mkdir(exist_ok=True)
    (programs / "nvidia-smi").write_text(BROKEN_NVIDIA_SMI)
    (programs / "nvidia-smi").chmod(0o755)
    return f"{programs}{os.pathsep}{inherited_environment()['PATH']}"
