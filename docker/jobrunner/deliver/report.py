"""job.json: what one attempt was, did and cost."""

import hashlib
import logging
import platform
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import boto3

from jobrunner.deliver.endings import container_code, ending, error_of_script, plain_error
from jobrunner.failures import CostLimitError, FailureError
from jobrunner.settings import Settings
from splatworks.contract.documents.codec import PUSH_THE_IMAGE, DocumentError, NewerDocumentError
from splatworks.contract.documents.job import (
    DONE,
    INPUT_ERROR,
    INTERRUPTED,
    OUT_OF_MEMORY,
    RUNNER_ERROR,
    STILL_RUNNING,
    InputFacts,
    JobReport,
    LostAttempt,
    OutputFacts,
    PhaseSeconds,
    ScriptFacts,
    read_job,
)
from splatworks.contract.documents.request import JobRequest
from splatworks.contract.exit_codes import ContainerCode, ExitCode
from splatworks.contract.host import BAD_HOST_ERROR
from splatworks.contract.keys import RESULT

log = logging.getLogger("runner")

RUNNER_VERSION = "1"


class Report:
    """Collects `facts`, the JobReport of this attempt as far as it is known."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._begun = time.monotonic()
        self._seconds = {"download": 0.0, "install": 0.0, "script": 0.0, "upload": 0.0}
        self.script_ran = False
        self.facts = JobReport(
            run_id=settings.run_id,
            stage=settings.stage,
            job_id=settings.job_id,
            attempt=settings.attempt,
            ended=RUNNER_ERROR,
            output=OutputFacts(files=0, bytes=0),
            versions={"runner": RUNNER_VERSION, "python": platform.python_version(), "boto3": boto3.__version__},
            started_at=now(),
        )

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        begun = time.monotonic()
        try:
            yield
        finally:
            self._seconds[name] += time.monotonic() - begun

    @property
    def total_seconds(self) -> float:
        return time.monotonic() - self._begun

    @property
    def ended(self) -> str:
        return self.facts.ended

    @property
    def container_code(self) -> ContainerCode:
        return container_code(self.facts.ended, self.facts.error)

    def requested(self, job: JobRequest) -> None:
        self.facts = replace(
            self.facts,
            script=ScriptFacts(key=job.script_key),
            args=job.args,
            parameters=job.parameters,
            operation=job.operation,
        )

    def planned(self, inputs: Sequence[InputFacts], content_key: str | None) -> None:
        self.facts = replace(self.facts, inputs=tuple(inputs), content_key=content_key)

    def script_fetched(self, script: Path) -> None:
        if self.facts.script:
            sha256 = hashlib.sha256(script.read_bytes()).hexdigest()
            self.facts = replace(self.facts, script=replace(self.facts.script, sha256=sha256))

    def delivered(self, output: OutputFacts) -> None:
        self.facts = replace(self.facts, output=output)

    def reused(self, prefix: str) -> None:
        self.facts = replace(self.facts, ended=DONE, exit_code=int(ExitCode.DONE), reused_from=prefix)

    def script_ended(self, exit_code: int, *, stopped: bool, oom_kill: bool, last_lines: list[str]) -> None:
        self.script_ran = True
        error = None
        if exit_code != ExitCode.DONE:
            error = error_of_script(self._settings.output_dir / RESULT)
        ended = ending(exit_code, stopped=stopped, oom_kill=oom_kill, error=error)
        if ended != DONE:
            error = error or plain_error(ended, exit_code, last_lines, stopped=stopped)
        self.facts = replace(
            self.facts, ended=ended, exit_code=exit_code, stop_requested=stopped, oom_kill=oom_kill, error=error
        )

    def failed(self, error: FailureError) -> None:
        """Note the runner's own failure. The end and the error of a script that had failed before stay."""
        if self.facts.error is None:
            self._end(error)

    def stopped_for(self, error: CostLimitError) -> None:
        """Note why the script was stopped, unless it ended by itself: that says more than the script does."""
        if self.ended not in (DONE, INPUT_ERROR, OUT_OF_MEMORY):
            self._end(error)

    def _end(self, error: FailureError) -> None:
        self.facts = replace(self.facts, ended=error.ended, error=error.failure)

    def cuda_error(self, fault_of_host: FailureError | None) -> None:
        """Note that a CUDA error ended the script. If the host is at fault, the error is that; the exit code stays."""
        self.facts = replace(self.facts, cuda_errors=self.facts.cuda_errors + 1)
        if fault_of_host:
            self._end(fault_of_host)

    def interrupted_early(self) -> None:
        error = plain_error(INTERRUPTED, None, [], stopped=True)
        self.facts = replace(self.facts, ended=INTERRUPTED, stop_requested=True, error=error)

    def after(self, *earlier: bytes | None, resumes_job: str | None = None) -> None:
        """Take over what attempts before this one lost, from the reports that they left; the last one given wins.

        The attempts of `resumes_job`, the job that this one continues, come first.
        """
        own: dict[int | None, LostAttempt] = {}
        before: dict[int | None, LostAttempt] = {}
        resumed: tuple[LostAttempt, ...] = ()
        cuda_errors = 0
        for report in map(_earlier_report, earlier):
            if report and report.job_id in (self._settings.job_id, resumes_job):
                cuda_errors = max(cuda_errors, report.cuda_errors)
            if report and report.job_id == self._settings.job_id:
                resumed = tuple(each for each in report.interruptions if each.job_id)
                own.update({each.attempt: each for each in report.interruptions if not each.job_id})
                own[report.attempt] = _lost(report)
            elif report and report.job_id == resumes_job:
                resumed = tuple(each for each in report.interruptions if each.job_id)
                before.update({each.attempt: each for each in report.interruptions if not each.job_id})
                before[report.attempt] = _lost(report)
        resumed += tuple(replace(each, job_id=resumes_job) for each in before.values())
        # An attempt whose host went before it could write anything left nothing.
        attempts = range(1, self._settings.attempt)
        lost = tuple(own.get(attempt, LostAttempt(attempt=attempt)) for attempt in attempts)
        self.facts = replace(self.facts, interruptions=(*resumed, *lost), cuda_errors=cuda_errors)

    def document(self) -> JobReport:
        seconds = {name: round(value, 3) for name, value in self._seconds.items()}
        own, code = self.facts.exit_code, int(self.container_code)
        return replace(
            self.facts,
            exit_code=code if own is None else own,
            container_exit_code=code,
            ended_at=now(),
            seconds=PhaseSeconds(**seconds, total=round(self.total_seconds, 3)),
        )

    def sign_of_life(self) -> JobReport:
        """The report as it would be if the host went now."""
        return replace(self.document(), ended=STILL_RUNNING, exit_code=None, container_exit_code=None, error=None)


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _lost(report: JobReport) -> LostAttempt:
    return LostAttempt(
        attempt=report.attempt,
        ended_at=report.ended_at or None,
        seconds=report.seconds.total,
        usd=report.cost.usd if report.cost else None,
        bad_host=report.error is not None and report.error.code == BAD_HOST_ERROR,
        stop_requested=None if report.ended == STILL_RUNNING else report.stop_requested,
    )


def _earlier_report(text: bytes | None) -> JobReport | None:
    if text is None:
        return None
    try:
        return read_job(text, "the report of an earlier attempt", PUSH_THE_IMAGE)
    except NewerDocumentError:
        raise
    except DocumentError as error:
        log.warning("left aside: %s", error)
        return None
