"""The probe of a host, and what a GPU that does not work means for the job.

No GPU here: where a test needs one, a library of this file stands for NVIDIA's driver and computes what it is told to.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from jobrunner.probe.host import HostProbe, cuda_error, runs_on
from jobrunner.run.environment import with_thread_counts
from jobrunner.run.meters import MemoryMeter
from splatkit import threads
from splatworks.contract.host import BAD_HOST, HOST_DIR

QUICK = "drain=0.2"
RESERVED = {"NVIDIA_VISIBLE_DEVICES": "GPU-8a1b"}
# Stands for libcuda.so.1. The kernel's result is RESULT * thread + 7: right with 3.
DRIVER = """
#include <string.h>
#include <unistd.h>
static unsigned memory[1024];
int cuInit(unsigned f) { if (HANGS) sleep(60); return INIT; }
int cuGetErrorString(int code, const char **text) { *text = "unknown error"; return 0; }
int cuDriverGetVersion(int *v) { *v = 13000; return 0; }
int cuDeviceGetCount(int *n) { *n = 1; return 0; }
int cuDeviceGet(int *d, int n) { *d = n; return 0; }
int cuDeviceGetName(char *name, int length, int d) { strcpy(name, "Tesla T4"); return 0; }
int cuDeviceGetAttribute(int *v, int a, int d) { *v = a == 75 ? 7 : 5; return 0; }
int cuCtxCreate_v2(void **c, unsigned f, int d) { return 0; }
int cuCtxDestroy_v2(void *c) { return 0; }
int cuMemGetInfo_v2(unsigned long *free, unsigned long *total) { *free = 15000ul << 20; *total = 0; return 0; }
int cuModuleLoadData(void **m, const void *image) { return strstr(image, "entry fill") ? 0 : 218; }
int cuModuleGetFunction(void **f, void *m, const char *name) { return strcmp(name, "fill") ? 500 : 0; }
int cuMemAlloc_v2(unsigned long *p, unsigned long size) { *p = (unsigned long)memory; return 0; }
int cuLaunchKernel(void *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                   unsigned shared, void *stream, void **arguments, void **extra) {
  unsigned *out = *(unsigned **)arguments[0];
  for (unsigned thread = 0; thread < bx; thread++) out[thread] = RESULT * thread + 7;
  return 0;
}
int cuCtxSynchronize(void) { return SYNC; }
int cuMemcpyDtoH_v2(void *to, unsigned long from, unsigned long size) { memcpy(to, (void *)from, size); return 0; }
"""


def driver(folder: Path, **defines: int) -> dict[str, str]:
    """Variables by which a process finds the stand-in."""
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc, which makes the stand-in for NVIDIA's driver: apt-get install gcc")
    folder.mkdir()
    (folder / "cuda.c").write_text(DRIVER)
    given = {"INIT": 0, "RESULT": 3, "SYNC": 0, "HANGS": 0, **defines}
    command = ["gcc", "-shared", "-fPIC", "-w", "-o", folder / "libcuda.so.1", folder / "cuda.c"]
    subprocess.run([*command, *(f"-D{name}={value}" for name, value in given.items())], check=True)
    return {"LD_LIBRARY_PATH": str(folder)}


def probed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, **defines: int) -> Any:
    monkeypatch.setenv("LD_LIBRARY_PATH", driver(tmp_path / "driver", **defines)["LD_LIBRARY_PATH"])
    return HostProbe(RESERVED, tmp_path).facts()


def test_a_gpu_that_works_is_described(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    facts = probed(monkeypatch, tmp_path)
    assert (facts.cuda, facts.gpu_problem, facts.gpu_is_bad) == ("13.0", None, False)
    (gpu,) = facts.gpus
    assert (gpu.name, gpu.capability, gpu.free_mib) == ("Tesla T4", "7.5", 15000)
    assert facts.shared_memory_mib and facts.free_disk_mib
    assert facts.seconds < 2


@pytest.mark.parametrize(
    ("defines", "problem"),
    [
        ({"INIT": 999}, "cuInit answered 999 (unknown error)"),
        ({"RESULT": 4}, "wrote [7, 11, 15, 19] where 7, 10, 13, 16 was expected"),
        ({"SYNC": 719}, "cuCtxSynchronize answered 719"),
    ],
)
def test_a_gpu_that_does_not_work_is_bad(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, defines: dict[str, int], problem: str
) -> None:
    facts = probed(monkeypatch, tmp_path, **defines)
    assert facts.gpu_is_bad and problem in facts.gpu_problem


def test_a_driver_that_hangs_is_bad_and_holds_nobody_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("jobrunner.probe.host.GPU_SECONDS", 1.0)
    facts = probed(monkeypatch, tmp_path, HANGS=1)
    assert facts.gpu_is_bad and "did not answer within 1 s" in facts.gpu_problem
    assert facts.seconds < 3


def test_only_gpus_that_ecs_reserved_are_probed(tmp_path: Path) -> None:
    """Images of NVIDIA set `all`, and a job without a GPU may run on a host with one."""
    for value in ("all", "void", "none", "", "0"):
        probe = HostProbe({"NVIDIA_VISIBLE_DEVICES": value}, tmp_path)
        assert not probe.has_gpu and not probe.facts().gpu_is_bad
    assert HostProbe(RESERVED, tmp_path).has_gpu


@pytest.mark.parametrize(
    ("capability", "runs"),
    [("7.0", False), ("7.5", True), ("8.0", False), ("8.6", True), ("8.9", True), ("9.0", True), ("12.0", True)],
)
def test_which_gpus_the_image_was_built_for(capability: str, runs: bool) -> None:
    assert runs_on(capability, "7.5;8.6;8.9;9.0+PTX") is runs
    assert not runs_on("12.0", "7.5;8.6;8.9;9.0")


def test_a_gpu_that_the_image_was_not_built_for_is_no_bad_host(job: Any, tmp_path: Path) -> None:
    job.script("print('started')")
    variables = {**RESERVED, **driver(tmp_path / "driver"), "CUDA_ARCHITECTURES": "8.6;9.0+PTX"}
    ended = job.run(**variables, **host_folder(job))
    assert ended.exit_code == 119 and "started" not in ended.stdout
    assert job.report["error"]["code"] == "gpu_not_supported"
    assert "Tesla T4 has compute capability 7.5" in job.report["error"]["cause"]
    assert not (job.folder / "host" / BAD_HOST).exists()


def host_folder(job: Any) -> dict[str, str]:
    (job.folder / "host").mkdir(exist_ok=True)
    return {HOST_DIR: str(job.folder / "host")}


def test_a_gpu_job_on_a_host_without_a_driver_runs_elsewhere(job: Any, tmp_path: Path) -> None:
    job.script("print('started')")
    ended = job.run(timings=QUICK, **RESERVED, **host_folder(job), LD_LIBRARY_PATH=str(tmp_path))
    assert ended.exit_code == 75 and "started" not in ended.stdout
    report = job.report
    assert report["error"]["code"] == "bad_host" and report["error"]["retryable"]
    assert report["probe"]["gpu_is_bad"]
    note = json.loads((job.folder / "host" / BAD_HOST).read_text())
    assert note["job_id"] == "the-job-id" and "driver is not there" in note["cause"]
    assert "_SUCCESS" not in job.objects()


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("RuntimeError: CUDA error: uncorrectable ECC error encountered", 75),
        ("torch.AcceleratorError: CUDA error: unspecified launch failure", 75),
        ("RuntimeError: CUDA error: device-side assert triggered", 119),
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB", 119),
    ],
)
def test_an_error_of_cuda_in_mid_run_is_the_hosts_fault_unless_it_is_the_programs(
    job: Any, tmp_path: Path, line: str, code: int
) -> None:
    job.script(f"import sys; print({line!r}, file=sys.stderr); sys.exit(1)")
    ended = job.run(timings=QUICK, **RESERVED, **driver(tmp_path / "driver"), **host_folder(job))
    assert ended.exit_code == code
    assert (job.folder / "host" / BAD_HOST).exists() is (code == 75)
    assert job.report["exit_code"] == 1
    assert (job.report["error"]["code"] == "bad_host") is (code == 75)


def test_without_a_reserved_gpu_an_error_of_cuda_is_the_scripts(job: Any) -> None:
    job.script("import sys; print('RuntimeError: CUDA error: unknown error', file=sys.stderr); sys.exit(1)")
    assert job.run(**host_folder(job)).exit_code == 119
    assert not (job.folder / "host" / BAD_HOST).exists()


def test_the_last_error_of_cuda_counts() -> None:
    assert cuda_error(["CUDA error: unknown error", "done"]) == "CUDA error: unknown error"
    assert cuda_error(["CUDA error: out of memory"]) is None
    assert cuda_error(["no cuda here"]) is None


def test_thread_counts_follow_the_reserved_vcpus_unless_they_are_set() -> None:
    assert with_thread_counts({"A": "b"}, None, 16) == {"A": "b"}
    found = with_thread_counts({"OMP_NUM_THREADS": "5"}, 2.0, 16)
    assert (found["OMP_NUM_THREADS"], found["NUMBA_NUM_THREADS"], found["VCPUS"]) == ("5", "2", "2")
    assert with_thread_counts({}, 0.5, 16)["VCPUS"] == "1"
    assert with_thread_counts({}, 64.0, 16)["NUMBA_NUM_THREADS"] == "16"  # numba refuses more than there are


def test_the_stages_use_the_reserved_vcpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: set(range(16)))
    monkeypatch.setattr(threads, "_limit", [0])
    monkeypatch.setenv("VCPUS", "2")
    assert threads.cores() == 2
    for odd in ("0", "", "-3", "many"):
        monkeypatch.setenv("VCPUS", odd)
        assert threads.cores() == 16


def test_the_command_prints_what_it_finds() -> None:
    runner = Path(__file__).parents[3] / "docker" / "runner.py"
    done = subprocess.run([sys.executable, runner, "probe"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["gpu_is_bad"] is False


@pytest.mark.parametrize("version", [1, 2])
def test_kills_for_lack_of_memory_are_counted_by_both_versions_of_cgroups(tmp_path: Path, version: int) -> None:
    folder = tmp_path / ("memory" if version == 1 else "")
    folder.mkdir(exist_ok=True)
    (folder / "cgroup.procs").write_text(f"{os.getpid()}\n")
    events = folder / ("memory.oom_control" if version == 1 else "memory.events")
    before = "oom_kill_disable 0\nunder_oom 0\n" if version == 1 else "low 0\nhigh 0\nmax 9\noom 1\n"
    events.write_text(f"{before}oom_kill 0\n")
    meter = MemoryMeter(tmp_path)
    assert not meter.killed(137)
    events.write_text(f"{before}oom_kill 1\n")
    assert meter.killed(137)


@pytest.mark.parametrize("refused", [0, 3])
def test_a_kernel_that_does_not_count_kills_says_how_often_the_limit_was_reached(tmp_path: Path, refused: int) -> None:
    folder = tmp_path / "memory"
    folder.mkdir()
    (folder / "cgroup.procs").write_text(f"{os.getpid()}\n")
    (folder / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\n")
    (folder / "memory.max_usage_in_bytes").write_text(f"{812 * 2**20}\n")
    (folder / "memory.failcnt").write_text("7\n")
    meter = MemoryMeter(tmp_path)
    assert meter.peak_mib() == 812
    (folder / "memory.failcnt").write_text(f"{7 + refused}\n")
    # The limit is reached without a kill, too, when the kernel drops cached files.
    assert not meter.killed(1) and meter.killed(137) is bool(refused)
