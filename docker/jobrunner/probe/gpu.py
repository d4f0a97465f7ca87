"""Try the GPU through the CUDA driver: one kernel, its result checked. Needs no package, and prints one JSON object.

This is a separate program because a driver that hangs can only be stopped from another process. torch would take
seconds to import.
The calls: https://docs.nvidia.com/cuda/cuda-driver-api/. The kernel's PTX is for sm_75, which every later GPU compiles.
"""

import ctypes
import json
import sys
import time
from typing import Any

LIBRARY = "libcuda.so.1"
CAPABILITY_MAJOR, CAPABILITY_MINOR = 75, 76  # CUdevice_attribute
THREADS = 32
NOT_READY = 802  # CUDA_ERROR_SYSTEM_NOT_READY: hosts with NVSwitch, until their fabric manager has started
READY_SECONDS, READY_POLL = 20.0, 0.5
PTX = b"""
.version 6.3
.target sm_75
.address_size 64
.visible .entry fill(.param .u64 out) {
  .reg .b32 %r<3>;
  .reg .b64 %rd<4>;
  ld.param.u64 %rd1, [out];
  cvta.to.global.u64 %rd1, %rd1;
  mov.u32 %r1, %tid.x;
  mul.wide.u32 %rd2, %r1, 4;
  add.s64 %rd3, %rd1, %rd2;
  mad.lo.u32 %r2, %r1, 3, 7;
  st.global.u32 [%rd3], %r2;
  ret;
}
\0"""


class CudaError(Exception):
    def __init__(self, text: str, code: int = 0) -> None:
        super().__init__(text)
        self.code = code


class Driver:
    """The CUDA driver API; each call that does not answer 0 raises CudaError."""

    def __init__(self, library: Any) -> None:
        self._library = library

    def call(self, name: str, *arguments: Any) -> None:
        code = getattr(self._library, name)(*arguments)
        if code:
            text = ctypes.c_char_p()
            self._library.cuGetErrorString(code, ctypes.byref(text))
            said = (text.value or b"unknown error").decode(errors="replace")
            raise CudaError(f"{name} answered {code} ({said})", code)

    def number(self, name: str, *arguments: Any) -> int:
        found = ctypes.c_int()
        self.call(name, ctypes.byref(found), *arguments)
        return found.value


def probe(library: Any) -> dict[str, Any]:
    """Return the facts as far as they were found out; "problem" says at what the GPU failed, if it did."""
    facts: dict[str, Any] = {"gpus": [], "problem": None}
    driver = Driver(library)
    try:
        _initialize(driver)
        version = driver.number("cuDriverGetVersion")
        facts["cuda"] = f"{version // 1000}.{version % 1000 // 10}"
        count = driver.number("cuDeviceGetCount")
        if not count:
            raise CudaError("cuDeviceGetCount found no GPU")
        for ordinal in range(count):
            facts["gpus"].append(_describe(driver, ordinal))
            _run_kernel(driver, ordinal, facts["gpus"][-1])
    except (CudaError, AttributeError) as error:  # AttributeError: the library lacks a function
        facts["problem"] = str(error)
    return facts


def _initialize(driver: Driver) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while True:
        try:
            driver.call("cuInit", 0)
            return
        except CudaError as error:
            if error.code != NOT_READY or time.monotonic() > deadline:
                raise
        time.sleep(READY_POLL)


def _describe(driver: Driver, ordinal: int) -> dict[str, Any]:
    device = driver.number("cuDeviceGet", ordinal)
    name = ctypes.create_string_buffer(100)
    driver.call("cuDeviceGetName", name, 100, device)
    major, minor = (
        driver.number("cuDeviceGetAttribute", attribute, device) for attribute in (CAPABILITY_MAJOR, CAPABILITY_MINOR)
    )
    return {"name": name.value.decode(errors="replace"), "capability": f"{major}.{minor}", "free_mib": None}


def _run_kernel(driver: Driver, ordinal: int, facts: dict[str, Any]) -> None:
    """Run the kernel in a new context. A GPU older than the PTX is skipped: the image is too new for it."""
    if float(facts["capability"]) < 7.5:
        return
    device, context = driver.number("cuDeviceGet", ordinal), ctypes.c_void_p()
    driver.call("cuCtxCreate_v2", ctypes.byref(context), 0, device)
    try:
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        driver.call("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
        facts["free_mib"] = free.value >> 20
        module, function, memory = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_uint64()
        driver.call("cuModuleLoadData", ctypes.byref(module), PTX)
        driver.call("cuModuleGetFunction", ctypes.byref(function), module, b"fill")
        driver.call("cuMemAlloc_v2", ctypes.byref(memory), ctypes.c_size_t(4 * THREADS))
        arguments = (ctypes.c_void_p * 1)(ctypes.cast(ctypes.byref(memory), ctypes.c_void_p))
        driver.call("cuLaunchKernel", function, 1, 1, 1, THREADS, 1, 1, 0, None, arguments, None)
        driver.call("cuCtxSynchronize")
        result = (ctypes.c_uint32 * THREADS)()
        driver.call("cuMemcpyDtoH_v2", result, memory, ctypes.c_size_t(4 * THREADS))
        if list(result) != [3 * thread + 7 for thread in range(THREADS)]:
            raise CudaError(f"a kernel on GPU {ordinal} wrote {list(result)[:4]} where 7, 10, 13, 16 was expected")
    finally:
        driver._library.cuCtxDestroy_v2(context)


def main() -> int:
    try:
        facts = probe(ctypes.CDLL(LIBRARY))
    except OSError as error:
        facts = {"gpus": [], "problem": f"the NVIDIA driver is not there: {error}"}
    print(json.dumps(facts))
    return 0


if __name__ == "__main__":
    sys.exit(main())
