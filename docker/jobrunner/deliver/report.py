"""job.json: what one attempt was, did and cost."""

import hashlib
import json
import logging
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3

from splatworks.contract.exit_codes import ExitCode
from splatworks.contract.failures import Failure, FailureError

from .failures import CostLimitError
from .request import Request
from .settings import Settings
from .store import open_regular

log = logging.getLogger("runner")

RUNNER_VERSION = "1"
LONGEST_RESULT = 1024 * 1024  # bytes of result.json that are read
LONGEST_TEXT = 2000  # characters of a script's own words in job.json


class Report:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._begun = time.monotonic()
        self._started_at = now()
        self._seconds = {"download": 0.0, "install": 0.0, "script": 0.0, "upload": 0.0}
        self.exit_code = int(ExitCode.FAILED)
        self.script_ran = False
        self.ended = "runner_error"
        self.error: dict[str, Any] | None = None
        self.facts: dict[str, Any] = {
            "script": None,
            "inputs": [],
            "args": [],
            "parameters": {},
            "operation": None,
            "content_key": None,
            "reused_from": None,
            "machine": None,
            "peak_memory_mib": None,
            "oom_kill": False,
            "gpu": None,
            "output": {"files": 0, "bytes": 0},
            "cost": None,
            "interruptions": [],
        }

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

    def requested(self, request: Request) -> None:
        self.facts["script"] = {"key": request.script_key, "sha256": None}
        self.facts.update(args=request.args, parameters=request.parameters, operation=request.operation)

    def script_fetched(self, script: Path) -> None:
        self.facts["script"]["sha256"] = hashlib.sha256(script.read_bytes()).hexdigest()

    def reused(self, prefix: str) -> None:
        self.exit_code = int(ExitCode.DONE)
        self.ended = "done"
        self.facts["reused_from"] = prefix

    def script_ended(self, exit_code: int, *, stopped: bool, oom_kill: bool, last_lines: list[str]) -> None:
        self.script_ran = True
        self.exit_code = exit_code
        self.facts["oom_kill"] = oom_kill
        self.ended = _ending(exit_code, stopped=stopped, oom_kill=oom_kill)
        if self.ended != "done":
            told = _told_by_script(self._settings.output_dir / "result.json")
            self.error = told or _own_words(self.ended, exit_code, last_lines).as_json()

    def failed(self, error: FailureError) -> None:
        """The runner's own failure. The exit code and the words of a script that had failed before stay."""
        if self.exit_code == ExitCode.DONE or self.error is None:
            self.exit_code = int(error.exit_code)
            self.ended = error.ended
            self.error = error.failure.as_json()

    def stopped_for(self, error: CostLimitError) -> None:
        """What stopped the script says more than the script does, unless it ended all the same."""
        if self.ended not in ("done", "input_error", "out_of_memory"):
            self.exit_code = int(error.exit_code)
            self.ended = error.ended
            self.error = error.failure.as_json()

    def interrupted_early(self) -> None:
        self.exit_code = int(ExitCode.INTERRUPTED)
        self.ended = "interrupted"
        self.error = _own_words("interrupted", self.exit_code, []).as_json()

    def after(self, *earlier: bytes | None) -> None:
        """Takes over what attempts before this one lost, from the reports that they left; the last one given wins."""
        known: dict[Any, dict[str, Any]] = {}
        for report in map(_object, earlier):
            if report.get("job_id") == self._settings.job_id:
                known.update({each.get("attempt"): each for each in report.get("interruptions", [])})
                known[report.get("attempt")] = _lost(report)
        # An attempt whose host went before it could write anything left nothing.
        unknown = {"ended_at": None, "seconds": None, "usd": None}
        self.facts["interruptions"] = [
            known.get(attempt, {"attempt": attempt, **unknown}) for attempt in range(1, self._settings.attempt)
        ]

    def sign_of_life(self) -> bytes:
        """The report as it would be if the host went now."""
        return self._json("running", None, None)

    def as_json(self) -> bytes:
        return self._json(self.ended, self.exit_code, self.error)

    def _json(self, ended: str, exit_code: int | None, error: dict[str, Any] | None) -> bytes:
        seconds = {name: round(value, 3) for name, value in self._seconds.items()}
        document = {
            "version": 1,
            "run_id": self._settings.run_id,
            "stage": self._settings.stage,
            "job_id": self._settings.job_id,
            "attempt": self._settings.attempt,
            "ended": ended,
            "exit_code": exit_code,
            "error": error,
            **self.facts,
            "versions": {"runner": RUNNER_VERSION, "python": platform.python_version(), "boto3": boto3.__version__},
            "started_at": self._started_at,
            "ended_at": now(),
            "seconds": {**seconds, "total": round(self.total_seconds, 3)},
        }
        return json.dumps(document, indent=1).encode()


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _ending(exit_code: int, *, stopped: bool, oom_kill: bool) -> str:
    if exit_code == ExitCode.DONE:
        return "done"
    if exit_code == ExitCode.INPUT_ERROR:
        return "input_error"
    if oom_kill:
        return "out_of_memory"
    return "interrupted" if stopped or exit_code == ExitCode.INTERRUPTED else "failed"


def _own_words(ended: str, exit_code: int, last_lines: list[str]) -> Failure:
    """For a script that wrote no result.json."""
    last = f"; its last line: {last_lines[-1][:LONGEST_TEXT]}" if last_lines else ""
    if ended == "out_of_memory":
        cause = "the script used more memory than the job has and the kernel killed it"
        return Failure(code=ended, cause=cause, fix='Ask for more in the message, e.g. "memory": 16000')
    if ended == "interrupted":
        cause = f"the job was told to stop (SIGTERM) or stopped after a checkpoint, exit code {exit_code}"
        return Failure(code=ended, cause=cause, fix="A retry continues from the last checkpoint", retryable=True)
    if ended == "input_error":
        return Failure(code=ended, cause=f"the script refused its input{last}", fix="Correct the input or the options")
    return Failure(
        code="script_failed", cause=f"the script ended with exit code {exit_code}{last}", fix="Look at the script's log"
    )


def _lost(report: dict[str, Any]) -> dict[str, Any]:
    cost = report.get("cost")
    return {
        "attempt": report.get("attempt"),
        "ended_at": report.get("ended_at"),
        "seconds": report.get("seconds", {}).get("total"),
        "usd": cost.get("usd") if isinstance(cost, dict) else None,
    }


def _told_by_script(path: Path) -> dict[str, Any] | None:
    try:
        with open_regular(path) as file:
            error = _object(file.read(LONGEST_RESULT)).get("error")
    except OSError:
        return None
    if not isinstance(error, dict):
        return None
    texts = {name: str(error.get(name) or "")[:LONGEST_TEXT] for name in ("code", "cause", "fix")}
    return {**texts, "retryable": error.get("retryable") is True}


def _object(text: bytes | None) -> dict[str, Any]:
    try:
        document = json.loads(text or b"{}")
    except ValueError as error:
        log.warning("left aside, for it is not JSON: %s", error)
        return {}
    return document if isinstance(document, dict) else {}
