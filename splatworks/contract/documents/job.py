"""job.json: how one attempt of a job went, written by the runner at its end. _RUNNING holds the same while it runs."""

from dataclasses import dataclass, field
from typing import Any

from splatworks.contract.documents.codec import from_json, from_json_leniently, parse, to_bytes, to_json
from splatworks.contract.failures import Failure

VERSION = 1

# `ended`
DONE, FAILED, INPUT_ERROR, INTERRUPTED = "done", "failed", "input_error", "interrupted"
OUT_OF_MEMORY, COST_LIMIT, RUNNER_ERROR, STILL_RUNNING = "out_of_memory", "cost_limit", "runner_error", "running"


@dataclass(frozen=True, kw_only=True)
class ScriptFacts:
    key: str = ""
    sha256: str | None = None


@dataclass(frozen=True, kw_only=True)
class InputFacts:
    uri: str = ""
    files: int = 0
    bytes: int = 0
    sha256: str = ""  # over the sorted keys, sizes and ETags
    origin: str | None = None  # of a stage's output: its URI, or the one that it is a copy of


@dataclass(frozen=True, kw_only=True)
class MachineInfo:
    instance_type: str | None = None
    lifecycle: str | None = None  # spot or on-demand
    availability_zone: str | None = None
    vcpus: int | None = None  # the job's share
    memory_mib: int | None = None
    gpus: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class PhaseSeconds:
    download: float = 0.0
    install: float = 0.0
    script: float = 0.0
    upload: float = 0.0
    total: float | None = None


@dataclass(frozen=True, kw_only=True)
class GpuUse:
    utilization_percent: float = 0.0
    memory_peak_mib: int = 0


@dataclass(frozen=True, kw_only=True)
class OutputFacts:
    files: int | None = None
    bytes: int | None = None


@dataclass(frozen=True, kw_only=True)
class Cost:
    usd: float | None = None  # of this attempt
    usd_per_hour: float | None = None
    source: str = "source unknown"


@dataclass(frozen=True, kw_only=True)
class LostAttempt:
    """An attempt before this one; what nobody recorded is None."""

    attempt: int | None = None
    ended_at: str | None = None
    seconds: float | None = None
    usd: float | None = None


@dataclass(frozen=True, kw_only=True)
class JobReport:
    run_id: str = ""
    stage: str = ""
    job_id: str = ""
    attempt: int = 0
    ended: str = ""
    exit_code: int | None = None
    error: Failure | None = None
    script: ScriptFacts | None = None
    inputs: tuple[InputFacts, ...] = ()
    args: tuple[str, ...] = ()
    parameters: dict[str, Any] = field(default_factory=dict)
    operation: str | None = None
    content_key: str | None = None
    reused_from: str | None = None
    machine: MachineInfo | None = None
    peak_memory_mib: int | None = None
    oom_kill: bool = False
    gpu: GpuUse | None = None
    output: OutputFacts = field(default_factory=OutputFacts)
    cost: Cost | None = None
    interruptions: tuple[LostAttempt, ...] = ()
    versions: dict[str, Any] = field(default_factory=dict)
    started_at: str = ""
    ended_at: str = ""
    seconds: PhaseSeconds = field(default_factory=PhaseSeconds)

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


def read_job(text: bytes | str, where: str, if_newer: str) -> JobReport:
    """Raises DocumentError if it is not a JSON object or of a later version. Fields of a wrong type are unknown."""
    document = parse(text, where, VERSION, if_newer)
    return from_json_leniently(JobReport, document)


def read_job_strictly(text: bytes | str, where: str, if_newer: str) -> JobReport:
    """Like read_job, but a field of a wrong type raises DocumentError too: a limit on costs needs all of them."""
    document = parse(text, where, VERSION, if_newer)
    return from_json(JobReport, document, where)


def write_job(report: JobReport) -> bytes:
    return to_bytes(to_json(report, VERSION))
