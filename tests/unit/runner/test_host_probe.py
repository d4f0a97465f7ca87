"""The probe of a host, and what a GPU that does not work means for the job.

No GPU here: where a test needs one, a library of this file stands for NVIDIA's driver and computes what it is told to.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from jobrunner.failures import Interrupted
from jobrunner.probe.cuda_errors import cuda_failure
from jobrunner.probe.gpu_probe import reserved_gpus
from jobrunner.probe.host_check import HostCheck, driver_version
from jobrunner.probe.reserved import Reserved, from_cgroup, reserved_share
from jobrunner.probe.verdict import is_covered
from splatworks.contract.documents.job import ProbeFacts
from splatworks.contract.host import BAD_HOST, HOST_DIR
from tests.optional_programs import need_program

QUICK = "drain=0.2"
RESERVED = {"NVIDIA_VISIBLE_DEVICES": "GPU-8a1b"}
# Stands for libcuda.so.1. The kernel's result is RESULT * thread + 7: right with 3.
DRIVER = """
#include <string.h>
#include <unistd.h>
static unsigned memory[1024];
static int calls;
int cuInit(unsigned f) {
  if (HANGS) sleep(60);
  if (SLOW) usleep(SLOW * 1000);
  if (CRASHES) __builtin_trap();
  return calls++ < NOT_READY ? 802 : INIT;
}
int cuGetErrorString(int code, const char **text) { *text = "unknown error"; return 0; }
int cuDriverGetVersion(int *v) { *v = VERSION; return 0; }
int cuDeviceGetCount(int *n) { *n = COUNT; return 0; }
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
    need_program("gcc")
    folder.mkdir(parents=True)
    (folder / "cuda.c").write_text(DRIVER)
    usual = {"INIT": 0, "RESULT": 3, "SYNC": 0, "HANGS": 0, "SLOW": 0, "CRASHES": 0, "NOT_READY": 0}
    given = {**usual, "VERSION": 13000, "COUNT": 1, **defines}
    command = ["gcc", "-shared", "-fPIC", "-w", "-o", folder / "libcuda.so.1", folder / "cuda.c"]
    subprocess.run([*command, *(f"-D{name}={value}" for name, value in given.items())], check=True)
    return {"LD_LIBRARY_PATH": str(folder)}


def probed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, **defines: int) -> ProbeFacts:
    monkeypatch.setenv("LD_LIBRARY_PATH", driver(tmp_path / "driver", **defines)["LD_LIBRARY_PATH"])
    check = HostCheck(RESERVED, tmp_path)
    check.begin()
    check.wait_for_gpu()
    return check.facts


def test_a_gpu_that_works_is_described(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    facts = probed(monkeypatch, tmp_path)
    assert (facts.cuda, facts.gpu_problem, facts.gpu_is_bad) == ("13.0", None, False)
    (gpu,) = facts.gpus
    assert (gpu.name, gpu.capability, gpu.free_mib) == ("Tesla T4", "7.5", 15000)
    assert facts.shared_memory_mib and facts.free_disk_mib
    assert facts.seconds and facts.seconds < 2


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


def test_a_driver_that_lacks_a_function_or_crashes_is_bad(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert "exit code -" in (probed(monkeypatch, tmp_path / "a", CRASHES=1).gpu_problem or "")
    monkeypatch.setattr(sys.modules[__name__], "DRIVER", "int nothing;")
    assert "cuInit" in (probed(monkeypatch, tmp_path / "b").gpu_problem or "")


def test_a_gpu_that_is_missing_among_several_is_bad(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(RESERVED, "NVIDIA_VISIBLE_DEVICES", "GPU-1,GPU-2")
    facts = probed(monkeypatch, tmp_path / "a", COUNT=1)
    assert facts.gpu_is_bad and "1 of the 2 GPUs" in (facts.gpu_problem or "")
    facts = probed(monkeypatch, tmp_path / "b", COUNT=2)
    assert facts.gpus_reserved == len(facts.gpus) == 2 and not facts.gpu_is_bad


def test_a_host_whose_switch_is_still_starting_is_waited_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert not probed(monkeypatch, tmp_path, NOT_READY=2).gpu_is_bad


def test_a_driver_that_hangs_is_bad_and_holds_nobody_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", driver(tmp_path / "driver", HANGS=1)["LD_LIBRARY_PATH"])
    check = HostCheck(RESERVED, tmp_path, gpu_seconds=2)
    check.begin()
    assert (check.facts.seconds or 9) < 2 and check.is_waiting and check.error() is None
    check.wait_for_gpu()
    assert check.facts.gpu_is_bad and "did not answer within 2 s" in (check.facts.gpu_problem or "")
    assert check.error()


def test_a_gpu_that_wakes_up_slowly_is_not_bad(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    facts = probed(monkeypatch, tmp_path, SLOW=2500)
    assert not facts.gpu_is_bad and facts.gpus and (facts.seconds or 9) < 2


def test_a_job_that_is_told_to_stop_waits_for_no_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", driver(tmp_path / "driver", HANGS=1)["LD_LIBRARY_PATH"])
    stop = threading.Event()
    stop.set()
    check = HostCheck(RESERVED, tmp_path, stop=stop)
    check.begin()
    with pytest.raises(Interrupted):
        check.wait_for_gpu()


def test_only_gpus_that_ecs_reserved_are_probed(tmp_path: Path) -> None:
    """Images of NVIDIA set `all`, and a job without a GPU may run on a host with one."""
    for value in ("all", "void", "none", "", "0"):
        check = HostCheck({"NVIDIA_VISIBLE_DEVICES": value}, tmp_path)
        check.begin()
        assert check.facts.gpus_reserved == 0 and not check.is_waiting and check.error() is None
    assert reserved_gpus(RESERVED) == 1
    assert reserved_gpus({"NVIDIA_VISIBLE_DEVICES": "GPU-8a1b-1,GPU-9c"}) == 2


@pytest.mark.parametrize(
    ("capability", "runs"),
    [("7.0", False), ("7.5", True), ("8.0", False), ("8.6", True), ("8.9", True), ("9.0", True), ("12.0", True)],
)
def test_which_gpus_the_image_was_built_for(capability: str, runs: bool) -> None:
    assert is_covered(capability, "7.5;8.6;8.9;9.0+PTX") is runs
    assert not is_covered("12.0", "7.5;8.6;8.9;9.0")


def test_every_form_of_torchs_list_of_architectures_is_read() -> None:
    assert is_covered("9.0", "8.6 9.0a") and not is_covered("9.1", "9.0a") and not is_covered("10.0", "9.0a")
    assert is_covered("8.6", "8.0, 9.0") and is_covered("12.0", "7.5+ptx")
    assert is_covered("8.6", "Ampere")  # a name, of which nobody here knows what it covers


def test_a_driver_that_is_too_old_for_the_image_is_no_bad_host(job: Any, tmp_path: Path) -> None:
    job.script("print('started')")
    found = driver(tmp_path / "driver", VERSION=12080)
    ended = job.run(**RESERVED, **found, CUDA_VERSION="13.0.1", **host_folder(job))
    assert ended.exit_code == 119 and "started" not in ended.stdout
    assert "supports CUDA up to 12.8, but the image has CUDA 13.0.1" in job.report["error"]["cause"]
    assert not (job.folder / "host" / BAD_HOST).exists()


def test_a_gpu_that_the_image_was_not_built_for_is_no_bad_host(job: Any, tmp_path: Path) -> None:
    job.script("print('started')")
    variables = {**RESERVED, **driver(tmp_path / "driver"), "CUDA_ARCHITECTURES": "8.6;9.0+PTX"}
    ended = job.run(**variables, **host_folder(job))
    assert ended.exit_code == 119 and "started" not in ended.stdout
    assert job.report["error"]["code"] == "gpu_not_supported"
    assert (
        "Tesla T4 has compute capability 7.5, but the image is built for 8.6, 9.0+PTX" in job.report["error"]["cause"]
    )
    assert "instance type: unknown" in job.report["error"]["cause"]  # ECS and EC2 know it; here is neither
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
    assert report["seconds"]["download"] == 0  # before any work
    assert "_SUCCESS" not in job.objects()


ECC = "RuntimeError: CUDA error: uncorrectable ECC error encountered"
LAUNCH = "torch.AcceleratorError: CUDA error: unspecified launch failure"
ILLEGAL = "RuntimeError: CUDA error: an illegal memory access was encountered"
ASSERTION = "RuntimeError: CUDA error: device-side assert triggered"
MEMORY = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB"
FRAMES = "".join(f"frame #{i}: <unknown function>\n" for i in range(40))


@pytest.mark.parametrize(
    ("line", "code"),
    [(ECC, 75), (LAUNCH, 75), (ILLEGAL, 75), (ILLEGAL + "\n" + FRAMES, 75), (ASSERTION, 119), (MEMORY, 119)],
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
    assert job.report["cuda_errors"] == (line != MEMORY)


def test_the_same_error_of_cuda_on_a_second_host_is_the_scripts(job: Any, tmp_path: Path) -> None:
    """A bug of a script costs one host, not one per attempt."""
    variables = {**RESERVED, **driver(tmp_path / "driver"), **host_folder(job)}
    job.script(f"import sys; print({ILLEGAL!r}, file=sys.stderr); sys.exit(1)")
    assert job.run(timings=QUICK, **variables).exit_code == 75
    (job.folder / "host" / BAD_HOST).unlink()
    job.script("import sys; sys.exit(75)")  # between the two, a host is taken back
    assert job.run(attempt=2, timings=QUICK, **variables).exit_code == 75
    job.script(f"import sys; print({ILLEGAL!r}, file=sys.stderr); sys.exit(1)")
    assert job.run(attempt=3, timings=QUICK, **variables).exit_code == 119
    assert job.report["error"]["code"] == "script_failed" and job.report["cuda_errors"] == 2
    assert not (job.folder / "host" / BAD_HOST).exists()


@pytest.mark.parametrize("line", [ILLEGAL, ASSERTION])
def test_a_gpu_that_fails_the_check_after_an_error_of_cuda_is_bad_in_any_case(
    job: Any, tmp_path: Path, line: str
) -> None:
    library, broken = tmp_path / "driver", tmp_path / "broken"
    variables = {**RESERVED, **driver(library), **host_folder(job)}
    driver(broken, INIT=999)
    replace = f"import os; os.replace({str(broken / 'libcuda.so.1')!r}, {str(library / 'libcuda.so.1')!r})"
    job.script(f"{replace}\nimport sys; print({line!r}, file=sys.stderr); sys.exit(1)")
    assert job.run(timings=QUICK, **variables).exit_code == 75
    note = json.loads((job.folder / "host" / BAD_HOST).read_text())
    assert line in note["cause"] and "cuInit answered 999" in note["cause"]


def test_the_cause_in_a_stages_result_counts_as_well(job: Any, tmp_path: Path) -> None:
    """A stage that finds no GPU ends with 2; on a host that should have one, its input is not at fault."""
    error = {"code": "no_gpu", "cause": "a GPU is asked for, but PyTorch 2.13 finds no GPU", "fix": "use the CPU"}
    job.script(f"""
import json, os, sys
from pathlib import Path
Path(os.environ["OUTPUT_DIR"], "result.json").write_text(json.dumps({{"version": 1, "error": {error!r}}}))
sys.exit(2)
""")
    assert job.run(timings=QUICK, **host_folder(job)).exit_code == 2
    assert job.run(timings=QUICK, **RESERVED, **driver(tmp_path / "driver"), **host_folder(job)).exit_code == 75
    assert job.report["error"]["code"] == "bad_host"


def test_a_host_without_the_folder_of_its_watcher_is_reported_all_the_same(job: Any, tmp_path: Path) -> None:
    job.script("print('started')")
    ended = job.run(timings="drain=60", **RESERVED, LD_LIBRARY_PATH=str(tmp_path), HOST_DIR=str(tmp_path / "absent"))
    assert ended.exit_code == 75 and "nobody takes this bad host out of service" in ended.stderr
    assert job.report["error"]["code"] == "bad_host"


def test_without_a_reserved_gpu_an_error_of_cuda_is_the_scripts(job: Any) -> None:
    job.script("import sys; print('RuntimeError: CUDA error: unknown error', file=sys.stderr); sys.exit(1)")
    assert job.run(**host_folder(job)).exit_code == 119
    assert not (job.folder / "host" / BAD_HOST).exists()


@pytest.mark.parametrize(
    ("lines", "suspect"),
    [
        (["done", ILLEGAL, "CUDA kernel errors might be asynchronously reported"], "either"),
        (["CUDA_ERROR_ILLEGAL_ADDRESS: an illegal memory access was encountered"], "either"),
        (["RuntimeError: No CUDA GPUs are available"], "either"),
        (["RuntimeError: CUDA unknown error - this may be due to an incorrectly set up environment"], "either"),
        ([ECC], "hardware"),
        (["CUDA_ERROR_ECC_UNCORRECTABLE", ILLEGAL], "hardware"),
        (["CUDA error: Invalid access of peer GPU memory over nvlink or a hardware stack error"], "hardware"),
        ([ASSERTION], "script"),
        (["CUDA error: no kernel image is available for execution on the device"], "script"),
        (["cudaErrorInvalidValue: invalid argument"], "script"),
        (["CUDA error: out of memory"], None),
        (["CUDA_ERROR_OUT_OF_MEMORY: out of memory"], None),
        (["RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"], None),
        (["no cuda here", "an error"], None),
    ],
)
def test_an_error_of_cuda_names_its_suspect(lines: list[str], suspect: str | None) -> None:
    found = cuda_failure(lines)
    assert (found and found.suspect) == suspect


class Metadata(BaseHTTPRequestHandler):
    answer: ClassVar[bytes] = b""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.answer)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def metadata() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Metadata)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v4/task"
    server.shutdown()


def test_the_share_of_a_job_comes_from_ecs(metadata: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    told = {"ImageID": "sha256:1", "Image": "demo:latest", "Limits": {"CPU": 2048, "Memory": 3800}}
    monkeypatch.setattr(Metadata, "answer", json.dumps(told).encode())
    assert reserved_share(metadata, tmp_path) == Reserved(vcpus=2.0, memory_mib=3800, image="sha256:1")
    for odd in (b"", b"[]", b"{}", b'{"Limits": null}', b'{"Limits": {"CPU": "many"}}', b'{"Limits": 7}', b"<html>"):
        monkeypatch.setattr(Metadata, "answer", odd)
        assert reserved_share(metadata, tmp_path) == Reserved()
    assert reserved_share("http://127.0.0.1:9/v4/task", tmp_path) == Reserved()


def test_a_job_of_two_vcpus_on_a_host_of_sixteen_starts_two_threads(
    job: Any, metadata: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Metadata, "answer", json.dumps({"Limits": {"CPU": 2048, "Memory": 3800}}).encode())
    job.script("import json, os; print('found', json.dumps(dict(os.environ)))")
    job.prelude = "import os; os.cpu_count = lambda: 16"
    ended = job.run(ECS_CONTAINER_METADATA_URI_V4=metadata, MKL_NUM_THREADS="5")
    assert ended.exit_code == 0, ended.stderr
    found = json.loads(ended.stdout.partition("found ")[2])
    assert (found["VCPUS"], found["OMP_NUM_THREADS"], found["MKL_NUM_THREADS"]) == ("2", "2", "5")
    assert (job.report["probe"]["vcpus"], job.report["probe"]["memory_mib"]) == (2.0, 3800)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cpu.max": "200000 100000", "memory.max": "1073741824"}, Reserved(vcpus=2.0, memory_mib=1024)),
        ({"cpu.max": "max 100000", "memory.max": "max"}, Reserved()),
        (
            {
                "cpu/cpu.cfs_quota_us": "50000",
                "cpu/cpu.cfs_period_us": "100000",
                "memory/memory.limit_in_bytes": "1073741824",
            },
            Reserved(vcpus=0.5, memory_mib=1024),
        ),
        ({"cpu/cpu.cfs_quota_us": "-1", "memory/memory.limit_in_bytes": "9223372036854771712"}, Reserved()),
        ({}, Reserved()),
    ],
)
def test_outside_ecs_the_limits_are_those_of_the_cgroup(
    tmp_path: Path, files: dict[str, str], expected: Reserved
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"{text}\n")
    assert from_cgroup(tmp_path) == expected


def test_the_version_of_the_driver_is_read_from_the_kernel(tmp_path: Path) -> None:
    (tmp_path / "version").write_text("580.95.05\n")
    assert driver_version(tmp_path / "version") == "580.95.05"
    assert driver_version(tmp_path / "absent") is None


@pytest.mark.parametrize(
    ("defines", "architectures", "code"),
    [({}, "7.5", 0), ({"INIT": 999}, "7.5", 75), ({"HANGS": 1}, "7.5", 75), ({}, "8.6", 119), (None, "7.5", 0)],
    ids=["good", "broken", "hangs", "not built for it", "no GPU reserved"],
)
def test_the_command_prints_what_it_finds_within_two_seconds(
    tmp_path: Path, defines: dict[str, int] | None, architectures: str, code: int
) -> None:
    runner = Path(__file__).parents[3] / "docker" / "runner.py"
    variables = {} if defines is None else {**RESERVED, **driver(tmp_path / "driver", **defines)}
    environment = {**os.environ, "CUDA_ARCHITECTURES": architectures, **variables}
    done = subprocess.run([sys.executable, runner, "probe"], capture_output=True, text=True, env=environment)
    assert done.returncode == code, done.stderr
    facts = json.loads(done.stdout)
    assert (facts["gpu_is_bad"], facts["gpu_problem"] is None) == (code == 75, code == 0)
    assert facts["seconds"] < 2
