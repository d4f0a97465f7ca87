"""Facts about a job that has ended: what its event, its files in S3 and its log say."""

from dataclasses import dataclass
from typing import Any

# Bytes that are read of a JSON file. job.json holds the parameters of a message, which SNS bounds to 256 KiB, in ASCII:
# at most thrice as long. A script may have written anything.
FILE_LIMIT = 1_000_000
# Of request.json and run.json, which the dispatcher writes: the message, what each job takes from it and the parameters
# of up to 50 variants.
REQUEST_LIMIT = 16_000_000
PLATFORM_FILES = ("request.json", "job.json", "progress.json", "_RUNNING", "_SUCCESS")
DEPENDENCY_FAILED = "Dependent Job failed"  # what Batch says of a job that waited for one that failed


@dataclass(frozen=True, kw_only=True)
class Attempt:
    seconds: float | None  # None where it never started
    exit_code: int | None
    reason: str  # what ECS says about the container, often empty
    status_reason: str
    log_stream: str | None


@dataclass(frozen=True, kw_only=True)
class Job:
    """The event, typed. A job that somebody submitted past the dispatcher has no request_key."""

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
    attempts: tuple[Attempt, ...]
    attempts_allowed: int
    timeout_seconds: int | None
    memory: int | None  # MiB
    array_size: int | None
    array_index: int | None
    array_summary: dict[str, int]
    told_to_stop: bool  # by a person; it may take its time to end
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
    def last(self) -> Attempt | None:
        return self.attempts[-1] if self.attempts else None

    @property
    def output_prefix(self) -> str | None:
        prefix = self.environment.get("OUTPUT_PREFIX")
        return f"{prefix}{self.array_index}/" if prefix and self.array_index is not None else prefix


@dataclass(frozen=True, kw_only=True)
class JobFacts:
    job: Job
    message: dict[str, Any] | None  # as it was published
    report: dict[str, Any]  # job.json of the last attempt, or empty
    result: dict[str, Any]  # result.json of the last attempt, or empty
    has_output: bool | None  # None where nobody knows
    log_tail: tuple[str, ...]

    @property
    def error(self) -> dict[str, Any]:
        """`code`, `cause` and `fix` as the script or the runner gave them."""
        return as_object(self.report.get("error")) or as_object(self.result.get("error"))

    @property
    def ended(self) -> str:
        return str(self.report.get("ended", ""))


def read_detail(detail: dict[str, Any], region: str) -> Job:
    """The detail of an event, which is what DescribeJobs answers."""
    container = detail.get("container") or {}
    array = detail.get("arrayProperties") or {}
    started = detail.get("startedAt")
    attempts = detail.get("attempts") or []
    first_started = next((attempt["startedAt"] for attempt in attempts if attempt.get("startedAt")), started)
    sizes = {need["type"]: need["value"] for need in container.get("resourceRequirements") or []}
    return Job(
        id=detail["jobId"],
        name=detail["jobName"],
        queue_arn=detail["jobQueue"],
        region=region,
        status=detail["status"],
        status_reason=detail.get("statusReason") or "",
        created_at=_instant(detail.get("createdAt")),
        started_at=_instant(first_started),
        stopped_at=_instant(detail.get("stoppedAt")),
        waited_seconds=_seconds(detail.get("createdAt"), started),
        ran_seconds=_seconds(started, detail.get("stoppedAt")),
        attempts=tuple(_attempt(attempt) for attempt in attempts),
        attempts_allowed=(detail.get("retryStrategy") or {}).get("attempts", 1),
        timeout_seconds=(detail.get("timeout") or {}).get("attemptDurationSeconds"),
        memory=int(float(sizes["MEMORY"])) if "MEMORY" in sizes else None,
        array_size=array.get("size"),
        array_index=array.get("index"),
        array_summary=array.get("statusSummary") or {},
        told_to_stop=bool(detail.get("isTerminated")),
        environment={pair["name"]: pair.get("value") or "" for pair in container.get("environment") or []},
    )


def is_report_of(report: dict[str, Any], job_id: str, attempts: int) -> bool:
    """Whether the last of a job's attempts wrote it; `attempts` is how many there were."""
    return report.get("job_id") == job_id and report.get("attempt", 0) == attempts


def _attempt(attempt: dict[str, Any]) -> Attempt:
    container = attempt.get("container") or {}
    return Attempt(
        seconds=_seconds(attempt.get("startedAt"), attempt.get("stoppedAt")),
        exit_code=container.get("exitCode"),
        reason=container.get("reason") or "",
        status_reason=attempt.get("statusReason") or "",
        log_stream=container.get("logStreamName"),
    )


def _instant(milliseconds: int | None) -> float | None:
    return milliseconds / 1000 if milliseconds else None


def _seconds(start: int | None, end: int | None) -> float | None:
    return max(0, end - start) / 1000 if start and end else None


def as_object(value: Any) -> dict[str, Any]:
    """Users' scripts write result.json as well, in whatever shape."""
    return value if isinstance(value, dict) else {}
