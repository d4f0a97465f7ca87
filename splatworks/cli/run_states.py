"""The status of a run and of its stages, as far as known."""

import time
from dataclasses import dataclass, field
from typing import Any

from splatworks.cli.problems import Problem
from splatworks.contract.documents.job import JobReport
from splatworks.contract.documents.progress import ProgressDocument
from splatworks.contract.documents.result import ResultDocument
from splatworks.contract.failures import Failure

FAILED, SUCCEEDED, REUSED, RUNNING = "FAILED", "SUCCEEDED", "REUSED", "RUNNING"
UNSENT = "UNSENT"  # named by run.json, but no job of it is known
FORGOTTEN = "FORGOTTEN"  # named by an old run.json; Batch does not know its job, and its files do not say how it ended
ENDED = (FAILED, SUCCEEDED, REUSED, FORGOTTEN)


@dataclass(frozen=True, kw_only=True)
class StageStatus:
    """One stage of a run, which is one job (or array); a batch_job has one."""

    name: str
    status: str  # Batch's, or REUSED, UNSENT or FORGOTTEN
    job_id: str = ""
    job_name: str = ""
    queue: str = ""
    reason: str = ""
    created: float | None = None  # seconds since 1970
    started: float | None = None
    stopped: float | None = None
    size: int = 1  # of an array
    counts: dict[str, int] = field(default_factory=dict)  # of an array's children by status
    output_prefix: str = ""
    reused_from: str = ""
    log_streams: tuple[str, ...] = ()  # one per attempt
    attempts: int = 0  # that have ended
    exit_code: int | None = None
    progress: ProgressDocument | None = None  # this and the next two are None if missing or broken
    report: JobReport | None = None
    result: ResultDocument | None = None

    @property
    def ended(self) -> bool:
        return self.status in ENDED

    @property
    def fraction(self) -> float | None:
        """How far it is, from 0 to 1; None if unknown."""
        if self.status in (SUCCEEDED, REUSED):
            return 1.0
        if self.status == FORGOTTEN:
            return None
        if self.size > 1:
            return sum(self.counts.get(status, 0) for status in (SUCCEEDED, FAILED)) / self.size
        return self.progress.known_fraction if self.progress else None

    @property
    def seconds(self) -> float | None:
        return None if self.started is None else max(0.0, (self.stopped or time.time()) - self.started)

    @property
    def failure(self) -> Failure | None:
        """The error that the runner or the script has written."""
        return (self.report.error if self.report else None) or (self.result.error if self.result else None)

    @property
    def script_exit_code(self) -> int | None:
        """The script's own exit code, which is not the container's; None if it is unknown or the same."""
        own = self.report.exit_code if self.report else None
        return None if own in (None, self.exit_code) else own

    @property
    def metrics(self) -> dict[str, Any]:
        return self.result.metrics if self.result else {}


@dataclass(frozen=True, kw_only=True)
class RunStatus:
    id: str
    stages: tuple[StageStatus, ...]
    project: str = ""
    message: dict[str, Any] = field(default_factory=dict)

    @property
    def status(self) -> str:
        states = [stage.status for stage in self.stages]
        if FAILED in states:
            return FAILED
        if all(state in (SUCCEEDED, REUSED) for state in states):
            return SUCCEEDED
        if any(state in (RUNNING, "STARTING") for state in states):
            return RUNNING
        return next((state for state in states if state not in ENDED), FORGOTTEN)

    @property
    def ended(self) -> bool:
        return all(stage.ended for stage in self.stages) or (
            self.status == FAILED and not any(stage.job_id and not stage.ended for stage in self.stages)
        )

    @property
    def created(self) -> float:
        return min((stage.created for stage in self.stages if stage.created is not None), default=0.0)

    def stage(self, name: str | None) -> StageStatus:
        """The stage of this name; without a name the only one, or the last that has started."""
        named = [stage for stage in self.stages if stage.name == name]
        if named:
            return named[0]
        if name is not None:
            known = ", ".join(stage.name for stage in self.stages)
            raise Problem(f"The run {self.id} has no stage {name!r}.", f"It has {known}.")
        begun = [stage for stage in self.stages if stage.started is not None or stage.report]
        return (begun or list(self.stages))[-1]
