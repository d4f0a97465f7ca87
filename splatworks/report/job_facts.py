"""Facts about a job that has ended: its event, its files in S3 and its log."""

from dataclasses import dataclass, field
from typing import Any

from splatworks.contract.documents.job import JobReport
from splatworks.contract.documents.result import ResultDocument
from splatworks.contract.environment import OUTPUT_PREFIX
from splatworks.contract.failures import Failure

# Bytes that are read of a JSON file. job.json holds the parameters of a message, which SNS limits to 256 KiB, in ASCII:
# at most three times as long. A script may have written anything.
FILE_LIMIT = 1_000_000
# Of request.json and run.json, which the dispatcher writes: the message, what each job takes from it and the parameters
# of up to 50 variants.
REQUEST_LIMIT = 16_000_000
DEPENDENCY_FAILED = "Dependent Job failed"  # status reason of a job that waited for one that failed


@dataclass(frozen=True, kw_only=True)
class BatchAttempt:
    seconds: float | None  # None if it never started
    exit_code: int | None
    reason: str  # what ECS reports about the container, often empty
    status_reason: str
    log_stream: str | None


@dataclass(frozen=True, kw_only=True)
class BatchJob:
    """The event, typed. A job that was not submitted by the dispatcher has no REQUEST_KEY in its environment."""

    id: str
    name: str
    queue_arn: str
    region: str
    status: str
    status_reason: str
    created_at: float | None  # seconds since 1970, as are the next two
    started_at: float | None  # of the first attempt
    stopped_at: float | None
    waited_seconds: float | None
    ran_seconds: float | None  # of the last attempt
    attempts: tuple[BatchAttempt, ...]
    attempts_allowed: int
    timeout_seconds: int | None
    memory: int | None  # MiB
    array_size: int | None
    array_index: int | None
    array_summary: dict[str, int]
    stop_requested: bool  # by a user; it may still be running
    environment: dict[str, str]

    @property
    def succeeded(self) -> bool:
        return self.status == "SUCCEEDED"

    @property
    def has_ended(self) -> bool:
        return self.status in ("SUCCEEDED", "FAILED")

    @property
    def was_left_out(self) -> bool:
        """Never started, because a job that it waited for failed."""
        return self.status == "FAILED" and self.status_reason.startswith(DEPENDENCY_FAILED)

    @property
    def last(self) -> BatchAttempt | None:
        return self.attempts[-1] if self.attempts else None

    @property
    def output_prefix(self) -> str | None:
        prefix = self.environment.get(OUTPUT_PREFIX)
        return f"{prefix}{self.array_index}/" if prefix and self.array_index is not None else prefix


@dataclass(frozen=True, kw_only=True)
class StageFiles:
    """job.json and result.json of a stage; empty if they do not exist or cannot be read, with the reason."""

    report: JobReport = field(default_factory=JobReport)
    result: ResultDocument = field(default_factory=ResultDocument)
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class JobFacts:
    job: BatchJob
    message: dict[str, Any] | None = None  # as it was published
    report: JobReport = field(default_factory=JobReport)  # of the last attempt
    result: ResultDocument = field(default_factory=ResultDocument)  # of the last attempt
    has_output: bool | None = None  # None if unknown
    log_tail: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()  # why a file could not be read

    @property
    def error(self) -> Failure | None:
        """The error that the script or the runner reported."""
        for error in (self.report.error, self.result.error):
            if error and (error.code or error.cause or error.fix):
                return error
        return None


def read_detail(detail: dict[str, Any], region: str) -> BatchJob:
    """Type the detail of an event, which has the same shape as an answer of DescribeJobs."""
    container = detail.get("container") or {}
    array = detail.get("arrayProperties") or {}
    attempts = detail.get("attempts") or []
    created, started, stopped = (detail.get(name) for name in ("createdAt", "startedAt", "stoppedAt"))
    first_started = next((attempt["startedAt"] for attempt in attempts if attempt.get("startedAt")), started)
    sizes = {need["type"]: need["value"] for need in container.get("resourceRequirements") or []}
    return BatchJob(
        id=detail["jobId"],
        name=detail["jobName"],
        queue_arn=detail["jobQueue"],
        region=region,
        status=detail["status"],
        status_reason=detail.get("statusReason") or "",
        created_at=created / 1000 if created else None,
        started_at=first_started / 1000 if first_started else None,
        stopped_at=stopped / 1000 if stopped else None,
        waited_seconds=max(0, started - created) / 1000 if created and started else None,
        ran_seconds=max(0, stopped - started) / 1000 if started and stopped else None,
        attempts=tuple(map(_read_attempt, attempts)),
        attempts_allowed=(detail.get("retryStrategy") or {}).get("attempts", 1),
        timeout_seconds=(detail.get("timeout") or {}).get("attemptDurationSeconds"),
        memory=int(float(sizes["MEMORY"])) if "MEMORY" in sizes else None,
        array_size=array.get("size"),
        array_index=array.get("index"),
        array_summary=array.get("statusSummary") or {},
        stop_requested=bool(detail.get("isTerminated")),
        environment={pair["name"]: pair.get("value") or "" for pair in container.get("environment") or []},
    )


def _read_attempt(attempt: dict[str, Any]) -> BatchAttempt:
    container = attempt.get("container") or {}
    started, stopped = attempt.get("startedAt"), attempt.get("stoppedAt")
    return BatchAttempt(
        seconds=max(0, stopped - started) / 1000 if started and stopped else None,
        exit_code=container.get("exitCode"),
        reason=container.get("reason") or "",
        status_reason=attempt.get("statusReason") or "",
        log_stream=container.get("logStreamName"),
    )


def is_report_of(report: dict[str, Any], job_id: str, attempts: int) -> bool:
    """Whether the last of a job's attempts wrote it; `attempts` is their number."""
    return report.get("job_id") == job_id and report.get("attempt", 0) == attempts


def as_object(value: Any) -> dict[str, Any]:
    """Users' scripts write result.json as well, in whatever shape."""
    return value if isinstance(value, dict) else {}
