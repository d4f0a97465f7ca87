"""The one place that knows which machine this is: gsplat where CUDA is, splatkit's own rasterizer on a CPU."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from splatkit.errors import input_error
from splatkit.train.photo_cache import free_memory
from splatkit.train.ranks import ALONE, Ranks, rasterization_of_all
from splatkit.train.strategy import use_cpu_operations, use_cuda_operations
from splatworks.contract.stages.train import Device

Rasterize = Callable[..., tuple[Tensor, Tensor, dict[str, Any]]]


@dataclass(frozen=True)
class Backend:
    name: str  # "gsplat 1.5.3 on NVIDIA A10G" or "splatkit on 2 cores"
    device: torch.device
    rasterize: Rasterize  # as gsplat.rasterization
    ssim: Callable[[Tensor, Tensor], Tensor]  # of two [H, W, 3]
    free_bytes: Callable[[], int]  # memory that Gaussians may still take
    peak_bytes: Callable[[], int]
    look_every: int  # steps between two looks at the loss, each of which waits for a GPU to finish


def choose_backend(
    wanted: Device, threads: int = 0, ranks: Ranks = ALONE, environment: Mapping[str, str] = os.environ
) -> Backend:
    """Raises StageError where a GPU is wanted and absent."""
    require_device(wanted, environment)
    return _cuda(ranks) if choose_device(wanted, environment) == "cuda" else _cpu(threads, ranks)


def choose_device(wanted: Device, environment: Mapping[str, str] = os.environ) -> Literal["cpu", "cuda"]:
    """auto: what COMPUTE_TYPE says, else CUDA where it is."""
    if wanted == "auto":
        wanted = {"gpu": "cuda", "cpu": "cpu"}.get(environment.get("COMPUTE_TYPE", ""), "auto")  # type: ignore[assignment]
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    return wanted


def require_device(wanted: Device, environment: Mapping[str, str] = os.environ) -> None:
    """Raises StageError where a GPU is wanted and absent, without touching one."""
    if choose_device(wanted, environment) == "cuda" and not torch.cuda.is_available():
        built = f"PyTorch {torch.__version__} " + ("finds no GPU" if torch.version.cuda else "is built without CUDA")
        cpu = '"train": {"compute_type": "cpu"} in a message, --cpu train on the command line, --device cpu by hand'
        fix = f"Train where a GPU is, or on the CPU, which is slow and for small scenes: {cpu}."
        raise input_error("no_gpu", f"a GPU is asked for, but {built}", fix)


def out_of_memory(problem: RuntimeError) -> bool:
    """torch's own, and what CUDA's libraries make of it."""
    said = str(problem)
    return isinstance(problem, torch.OutOfMemoryError) or "out of memory" in said or "ALLOC_FAILED" in said


def _cpu(threads: int, ranks: Ranks) -> Backend:
    from splatkit.rasterizer.rasterize import rasterization
    from splatkit.threads import cores, limit_cores
    from splatkit.train.ssim import ssim_cpu

    limit_cores(threads if ranks.count == 1 else max(1, (threads or cores()) // ranks.count))
    use_cpu_operations()
    # The work is in our own kernels. torch's threads would spin between its small operations and take the cores from
    # them, and with one thread its sums do not depend on the machine.
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    name = f"splatkit on {cores()} cores" + (f" in {ranks.count} processes" if ranks.count > 1 else "")
    rasterize = rasterization if ranks.count == 1 else rasterization_of_all(rasterization, ranks)
    return Backend(name, torch.device("cpu"), rasterize, ssim_cpu, free_memory, _peak_of_process, 1)


def _cuda(ranks: Ranks) -> Backend:
    # Imported here: on a machine with nvcc and no GPU the first call would start a compilation.
    import gsplat

    from splatkit.train.ssim import ssim_torch

    use_cuda_operations()
    torch.use_deterministic_algorithms(False)
    # TF32 has 10 bits: variances, the differences of two means of squares, then lose all theirs in smooth places.
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    device = torch.device("cuda", ranks.rank)
    torch.cuda.set_device(device)
    times = f"{ranks.count} x " if ranks.count > 1 else ""
    name = f"gsplat {gsplat.__version__} on {times}{torch.cuda.get_device_name(device)}"
    peak = torch.cuda.max_memory_allocated
    return Backend(name, device, gsplat_rasterizer(ranks), ssim_torch, lambda: _free_cuda(device), peak, 10)


def gsplat_rasterizer(ranks: Ranks) -> Rasterize:
    """Never packed: gsplat 1.5.3 then keeps image_ids of before the GPUs exchange, and reads beyond its memory."""
    import gsplat

    return partial(gsplat.rasterization, packed=False, distributed=ranks.count > 1)


def _free_cuda(device: torch.device) -> int:
    """What the driver has, and what torch holds without using it."""
    free, _ = torch.cuda.mem_get_info(device)
    return int(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))


def _peak_of_process() -> int:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
