"""Was it a CUDA error that ended the script? docs/decisions/spot-hosts.md says what follows from it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

# The words of PyTorch, CuPy and gsplat; the names in the driver's and the runtime's headers, as TensorFlow, JAX and
# numba print them; the words of PyTorch and of our own train stage if the GPU has gone before its first use.
CUDA_ERROR = re.compile(
    r"CUDA (?:runtime |driver |unknown )?error|CUDA_ERROR_\w+|cudaError[A-Z]\w+"
    r"|no CUDA-capable device|No CUDA GPUs are available|finds no GPU"
)
OUT_OF_MEMORY = re.compile(r"out of memory|out_of_memory|MemoryAllocation|OutOfMemoryError|ALLOC_FAILED", re.IGNORECASE)
# Errors that no script can make: memory, link or bus of the GPU has failed, or the driver has lost it.
OF_HARDWARE = re.compile(
    r"uncorrectable|hardware stack error|(?:ERROR_|Error)(?:ECC|NVLINK|Nvlink|HARDWARE_STACK|HardwareStack)"
    r"|fallen off the bus|GPU is lost|device is lost"
)
# Errors that only a script makes: a failed assertion, a launch that cannot be, code for another GPU.
OF_SCRIPT = re.compile(
    r"device-side assert|(?:ERROR_|Error)(?:ASSERT|Assert)"
    r"|invalid (?:argument|configuration|device ordinal|device function|resource handle)"
    r"|(?:ERROR_|Error)(?:INVALID_|Invalid)\w+|no kernel image|NO_BINARY_FOR_GPU|NoKernelImageForDevice"
    r"|too many resources|LAUNCH_OUT_OF_RESOURCES|LaunchOutOfResources"
)

Suspect = Literal["hardware", "script", "either"]


@dataclass(frozen=True)
class CudaFailure:
    line: str
    suspect: Suspect


def cuda_failure(lines: Iterable[str]) -> CudaFailure | None:
    """Return the CUDA error in the last lines of a failed script. Out of memory is the job's fault and not returned."""
    said = [line.strip() for line in lines]
    found = [line for line in said if CUDA_ERROR.search(line)]
    if not found or any(OUT_OF_MEMORY.search(line) for line in said):
        return None
    for suspect, pattern in (("hardware", OF_HARDWARE), ("script", OF_SCRIPT)):
        if named := [line for line in found if pattern.search(line)]:
            return CudaFailure(named[0], suspect)  # type: ignore[arg-type]
    return CudaFailure(found[0], "either")
