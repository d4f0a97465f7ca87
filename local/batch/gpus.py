"""GPUs of a host: reserve them for a container as the ECS agent does, or imitate a broken one.

The ECS agent lists the reserved GPUs in NVIDIA_VISIBLE_DEVICES. If this machine has no GPU, the variable is not set and
the job runs without one. On a host with a broken GPU it is set, and the driver fails as a real one does.
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
# The text of a real nvidia-smi whose driver has lost the GPU.
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
