"""The probe of the host when an attempt starts, and what follows if its GPU does not work."""

import json
import logging
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from jobrunner.failures import Interrupted, RunnerError
from jobrunner.probe.cuda_errors import cuda_failure
from jobrunner.probe.gpu_probe import GpuAnswer, GpuProbe, reserved_gpus
from jobrunner.probe.reserved import reserved_share
from jobrunner.probe.verdict import ARCHITECTURES, BadHostError, broken_gpu, error_of, judged
from jobrunner.run.meters import MIB
from splatworks.contract.documents.job import ProbeFacts
from splatworks.contract.host import BAD_HOST, DRAINED

log = logging.getLogger("runner")

# A GPU that nobody has used since its host booted may take seconds to wake up, so that no answer within the first limit
# means nothing yet: the attempt continues, and the answer is read again before the script starts.
FIRST_SECONDS, GPU_SECONDS = 1.2, 30.0  # from the probe's start
METADATA = "ECS_CONTAINER_METADATA_URI_V4"
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 (its size is read)
DRIVER_VERSION = Path("/sys/module/nvidia/version")
DRAINED_POLL = 0.1  # seconds
LONGEST_CAUSE = 500  # characters in the note for the host's watcher


@dataclass(frozen=True)
class CudaVerdict:
    fault_of_host: RunnerError | None  # None: the script is at fault


class HostCheck:
    """`facts` is what is known so far. `instance_type` finds out the machine's type, if it can, for an error."""

    def __init__(
        self,
        environment: Mapping[str, str],
        workspace: Path,
        *,
        gpu_seconds: float = GPU_SECONDS,
        stop: threading.Event | None = None,
        instance_type: Callable[[], str | None] = lambda: None,
    ) -> None:
        self._environment = environment
        self._workspace = workspace
        self._gpu_seconds = gpu_seconds
        self._stop = stop or threading.Event()
        self._instance_type = instance_type
        self._gpu: GpuProbe | None = None
        self.facts = ProbeFacts(
            gpus_reserved=reserved_gpus(environment), architectures=environment.get(ARCHITECTURES) or None
        )

    @property
    def is_waiting(self) -> bool:
        """Whether the GPUs have not answered yet."""
        return self._gpu is not None

    def begin(self) -> None:
        """Start the check of the GPUs, and look at everything else meanwhile. Takes less than 2 seconds."""
        begun = time.monotonic()
        if self.facts.gpus_reserved:
            self._gpu = GpuProbe()
        share = reserved_share(self._environment.get(METADATA))
        self.facts = replace(
            self.facts,
            driver=driver_version() if self._gpu else None,
            shared_memory_mib=_total_mib(SHARED_MEMORY),
            free_disk_mib=_free_mib(self._workspace),
            vcpus=share.vcpus,
            memory_mib=share.memory_mib,
            image=share.image,
        )
        if self._gpu and (answer := self._gpu.answer(FIRST_SECONDS, self._stop)):
            self._note(answer)
        elif self._gpu:
            log.info("the GPU has not answered yet: it is asked again before the script starts")
        self.facts = replace(self.facts, seconds=round(time.monotonic() - begun, 3))

    def wait_for_gpu(self) -> None:
        """Wait for the GPUs' answer if it has not come yet. Raises Interrupted if the job has to stop meanwhile."""
        if self._gpu:
            self._note(self._answer_of(self._gpu))

    def give_up(self) -> None:
        """End the check of the GPUs, whose answer nobody waits for."""
        if self._gpu:
            self._gpu.give_up()

    def error(self) -> RunnerError | None:
        """The error that the attempt ends with; None if the GPUs work, or have not answered yet."""
        name_it = self.facts.gpu_problem and not self.facts.gpu_is_bad
        return error_of(self.facts, self._instance_type() if name_it else None)

    def error_of_script(self, lines: Iterable[str], earlier_cuda_errors: int) -> CudaVerdict | None:
        """Judge the CUDA error in a failed script's last `lines`. None: no such error, or no GPU is reserved.

        `earlier_cuda_errors` is the number of attempts of this job that a CUDA error has ended before. The reasons:
        docs/decisions/spot-hosts.md.
        """
        failure = cuda_failure(lines) if self.facts.gpus_reserved else None
        if failure is None:
            return None
        said = f"the script ended with: {failure.line[:LONGEST_CAUSE]}"
        if failure.suspect == "hardware":
            return CudaVerdict(BadHostError(f"{said}. A script cannot cause this"))
        if problem := broken_gpu(self._answer_of(GpuProbe()), self._environment):
            return CudaVerdict(BadHostError(f"{said}. The GPU does not work now, either: {problem}"))
        if failure.suspect == "either" and not earlier_cuda_errors:
            return CudaVerdict(BadHostError(f"{said}. A kernel of the runner works, so the script may be the cause"))
        log.info("%s. The GPU works: the script is at fault", said)
        return CudaVerdict(None)

    def _answer_of(self, probe: GpuProbe) -> GpuAnswer:
        answer = probe.answer(self._gpu_seconds, self._stop)
        if answer is None:
            probe.give_up()
            if self._stop.is_set():
                raise Interrupted
            return GpuAnswer(problem=f"the NVIDIA driver did not answer within {self._gpu_seconds:g} s")
        return answer

    def _note(self, answer: GpuAnswer) -> None:
        self._gpu = None
        self.facts = judged(self.facts, answer, self._environment)


def mark_bad_host(folder: Path, job_id: str, cause: str, patience: float) -> None:
    """Leave the note for the host's watcher, and wait `patience` seconds at most until it has drained the host."""
    beside = folder / f".{BAD_HOST}.{os.getpid()}"
    try:
        beside.write_text(json.dumps({"job_id": job_id, "cause": cause[:LONGEST_CAUSE]}))
        beside.replace(folder / BAD_HOST)
    except OSError as error:
        log.warning("nobody takes this bad host out of service, as the note for its watcher failed: %s", error)
        return
    log.info("the host's watcher is asked to take the host out of service")
    deadline = time.monotonic() + patience
    while not (folder / DRAINED).exists() and time.monotonic() < deadline:
        time.sleep(DRAINED_POLL)


def driver_version(path: Path = DRIVER_VERSION) -> str | None:
    """The version of the kernel's NVIDIA module, such as 580.95.05."""
    try:
        found = re.search(r"\d+(\.\d+)+", path.read_text())
    except OSError:
        return None
    return found[0] if found else None


def _free_mib(folder: Path) -> int | None:
    """Return the free space of the folder's disk; the folder need not exist yet."""
    for each in (folder, *folder.parents):
        try:
            return shutil.disk_usage(each).free // MIB
        except OSError:
            continue
    return None


def _total_mib(mount: Path) -> int | None:
    try:
        return shutil.disk_usage(mount).total // MIB
    except OSError:
        return None
