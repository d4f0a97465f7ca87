"""job.json: how one attempt of a job went, written by the runner at its end. _RUNNING holds the same while it runs."""

from dataclasses import dataclass, field
from functools import partial
from typing import Any

from splatworks.contract.documents.codec import read, to_bytes, to_json
from splatworks.contract.failures import Failure

VERSION = 1

# `ended`
DONE, FAILED, INPUT_ERROR, INTERRUPTED = "done", "failed", "input_error", "interrupted"
OUT_OF_MEMORY, COST_LIMIT, RUNNER_ERROR, STILL_RUNNING = "out_of_memory", "cost_limit", "runner_error", "running"
ENDED = {
    DONE: "the script's exit code was 0, or an earlier result was copied",
    FAILED: "the script failed: any exit code that is not in the table of exit codes; retried if error.retryable is "
    "true",
    INPUT_ERROR: "the input or the options are at fault: exit code 2; never retried",
    INTERRUPTED: "stopped on request, or after a checkpoint with exit code 75; AWS Batch starts the job again",
    OUT_OF_MEMORY: "the kernel killed a process of the job because its memory limit was reached",
    COST_LIMIT: "max_cost_usd was reached, or the price is unknown; error.code says which: cost_limit, price_unknown "
    "or cost_unknown",
    RUNNER_ERROR: "the runner failed, not the script: the script was not found, a download failed; retried if "
    "error.retryable is true",
    STILL_RUNNING: "in _RUNNING only: the attempt has not ended",
}


@dataclass(frozen=True, kw_only=True)
class ScriptFacts:
    key: str = ""  # in the input bucket
    sha256: str | None = None  # of the script's file


@dataclass(frozen=True, kw_only=True)
class InputFacts:
    uri: str = ""  # the location that was downloaded
    files: int = 0  # number of objects
    bytes: int = 0  # size of all objects
    sha256: str = ""  # over the sorted keys, sizes and ETags
    origin: str | None = None  # if it is a stage's output: its URI, or the URI of the result that it was copied from


@dataclass(frozen=True, kw_only=True)
class MachineInfo:
    instance_type: str | None = None  # EC2 instance type
    lifecycle: str | None = None  # spot or on-demand
    availability_zone: str | None = None  # such as us-east-1a
    vcpus: int | None = None  # the job's share of the machine
    memory_mib: int | None = None  # the job's memory limit
    gpus: tuple[str, ...] = ()  # names of the GPUs that the job sees


@dataclass(frozen=True, kw_only=True)
class PhaseSeconds:
    download: float = 0.0  # script, input and checkpoints
    install: float = 0.0  # the script's packages
    script: float = 0.0  # the script itself
    upload: float = 0.0  # the output
    total: float | None = None  # from the attempt's start to its end


@dataclass(frozen=True, kw_only=True)
class GpuUse:
    utilization_percent: float = 0.0  # mean over the script's time
    memory_peak_mib: int = 0  # highest use of GPU memory


@dataclass(frozen=True, kw_only=True)
class OutputFacts:
    files: int | None = None  # number of files that were uploaded
    bytes: int | None = None  # size of these files


@dataclass(frozen=True, kw_only=True)
class Cost:
    usd: float | None = None  # cost of this attempt, for the complete machine
    usd_per_hour: float | None = None  # spot price of the machine
    source: str = "source unknown"  # source of the price


@dataclass(frozen=True, kw_only=True)
class LostAttempt:
    """An attempt before this one; what nobody recorded is None."""

    attempt: int | None = None  # number of the attempt, from 1
    ended_at: str | None = None  # time of its end, or of its last sign of life
    seconds: float | None = None  # duration until then
    usd: float | None = None  # cost until then
    stop_requested: bool | None = None  # whether a stop was requested, for example because the host was reclaimed
    bad_host: bool = False  # whether it ended because the GPU of its host did not work
    job_id: str | None = None  # the job that was resumed, if the attempt was not one of this job's


@dataclass(frozen=True, kw_only=True)
class GpuFacts:
    name: str | None = None  # as the driver gives it
    capability: str | None = None  # compute capability, such as 8.6
    free_mib: int | None = None  # free GPU memory


@dataclass(frozen=True, kw_only=True)
class ProbeFacts:
    """Facts about the host, found before the script starts; null if unknown."""

    driver: str | None = None  # version of the NVIDIA driver
    cuda: str | None = None  # the latest version of CUDA that the driver supports
    gpus_reserved: int = 0  # number of GPUs that are reserved for the job; without one, none is checked
    gpus: tuple[GpuFacts, ...] = ()  # the GPUs that the driver shows
    architectures: str | None = None  # compute capabilities that the image is built for
    gpu_problem: str | None = None  # why the job cannot use them
    gpu_is_bad: bool = False  # whether that is the host's fault
    shared_memory_mib: int | None = None  # size of /dev/shm
    free_disk_mib: int | None = None  # free space of the workspace
    vcpus: float | None = None  # reserved for the job; thread counts follow it
    memory_mib: int | None = None  # the job's memory limit
    image: str | None = None  # the image's digest; its id or its name if ECS does not give the digest
    seconds: float | None = None  # how long the probe took, without waiting for a GPU that had not answered at first


@dataclass(frozen=True, kw_only=True)
class JobReport:
    run_id: str = ""  # the run; for a batch_job the job's name
    stage: str = ""  # the stage; for a batch_job the script's name without .py
    job_id: str = ""  # the Batch job
    attempt: int = 0  # number of this attempt, from 1
    ended: str = ""  # how the attempt ended
    # the script's own exit code, or the container's if the script did not run to an end; null while the attempt runs
    exit_code: int | None = None
    container_exit_code: int | None = None  # the container's exit code; null while the attempt runs
    stop_requested: bool = False  # whether a stop was requested: by AWS, which reclaims the host, or by a user
    error: Failure | None = None  # the error of result.json, or the runner's own; null if done
    script: ScriptFacts | None = None  # the script that ran; null if it was not fetched
    inputs: tuple[InputFacts, ...] = ()  # per location of `input`
    args: tuple[str, ...] = ()  # as in the request
    parameters: dict[str, Any] = field(default_factory=dict)  # as in the request, with the variant's
    operation: str | None = None  # as in the request
    content_key: str | None = None  # of the result; null if it is not recorded for reuse
    reused_from: str | None = None  # output prefix of the earlier result that was copied instead of running the script
    machine: MachineInfo | None = None  # null if unknown
    probe: ProbeFacts | None = None  # facts about the host; null in reports of earlier versions
    cuda_errors: int = 0  # attempts of this job that a CUDA error has ended, this one included
    peak_memory_mib: int | None = None  # highest memory use of the job
    oom_kill: bool = False  # whether the kernel killed a process for lack of memory
    gpu: GpuUse | None = None  # null without a GPU
    output: OutputFacts = field(default_factory=OutputFacts)  # the files that were uploaded
    cost: Cost | None = None  # null if the price is unknown; a cost is never guessed
    interruptions: tuple[LostAttempt, ...] = ()  # the attempts before this one
    versions: dict[str, Any] = field(default_factory=dict)  # of the runner, Python and boto3
    started_at: str = ""  # UTC
    ended_at: str = ""  # UTC
    seconds: PhaseSeconds = field(default_factory=PhaseSeconds)  # duration of each phase of this attempt

    @property
    def is_known(self) -> bool:
        """Whether a runner wrote it; an empty report stands for an attempt that left none."""
        return bool(self.ended)

    @property
    def is_done(self) -> bool:
        return self.ended == DONE

    def is_of(self, job_id: str, attempts: int) -> bool:
        """Whether the last of a job's attempts wrote it; `attempts` is their number."""
        return self.job_id == job_id and self.attempt == attempts


# Fields of a wrong type are unknown.
read_job = partial(read, JobReport, VERSION, lenient=True)
# A field of a wrong type raises DocumentError too: a limit on costs needs all of them.
read_job_strictly = partial(read, JobReport, VERSION)


def write_job(report: JobReport) -> bytes:
    return to_bytes(to_json(report, VERSION))
