"""Run many jobs, take the host of each away once at a random moment, and note what became of them."""

import json
import random
import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from local.batch.jobs import ENDED, STATES
from local.batch.reclaim import Reclaim
from local.embedded_aws import EmbeddedAWS
from splatworks.contract.keys import PROGRESS

LOOK_SECONDS = 0.1
RESUMED = re.compile(r"going on from step (\d+)")


@dataclass
class Watched:
    """One job: when its host is to be taken away, and what it had done by then."""

    job_id: str
    due: float | None = None  # by time.monotonic
    reclaimed: bool = False
    steps: list[tuple[float, int]] = field(default_factory=list)  # seconds and steps, of the first attempt


@dataclass(frozen=True, kw_only=True)
class ReclaimOutcome:
    job: dict[str, Any]
    reclaimed: bool
    lost_seconds: float | None  # of work that the second attempt repeated; None if the job has no steps

    @property
    def succeeded(self) -> bool:
        return bool(self.job["status"] == "SUCCEEDED")

    @property
    def codes(self) -> list[int | None]:
        return [attempt["container"].get("exitCode") for attempt in self.job["attempts"]]


class Reclaims:
    """Publishes jobs with `publish`, which returns the name of the job, and reclaims each once."""

    def __init__(self, aws: EmbeddedAWS, publish: Callable[[], str], chance: random.Random) -> None:
        self._aws = aws
        self._publish = publish
        self._chance = chance

    def undisturbed_seconds(self) -> float:
        """Return how long one attempt takes that nothing happens to."""
        name = self._publish()
        job = self._aws.wait_for_job(name, timeout=600)
        assert job["status"] == "SUCCEEDED", job
        seconds: float = (job["stoppedAt"] - job["startedAt"]) / 1000
        return seconds

    def run(self, count: int, how: Reclaim, seconds: float) -> list[ReclaimOutcome]:
        """Publish until `count` jobs lost their host within `seconds` of their start. All end before this returns."""
        outcomes: list[ReclaimOutcome] = []
        while (missing := count - sum(each.reclaimed for each in outcomes)) > 0:
            if len(outcomes) > 4 * count:
                raise RuntimeError(f"most jobs ended before their moment came: {seconds:.1f} s is too long")
            outcomes += self._round(missing, how, seconds)
        return outcomes

    def _round(self, count: int, how: Reclaim, seconds: float) -> Iterator[ReclaimOutcome]:
        names = [self._publish() for _ in range(count)]
        jobs = [Watched(self._aws.wait_for_job(name, until=STATES)["jobId"]) for name in names]
        open_jobs = list(jobs)
        while open_jobs:
            time.sleep(LOOK_SECONDS)
            described = self._describe(each.job_id for each in open_jobs)
            for each in list(open_jobs):
                job = described[each.job_id]
                if job["status"] in ENDED:
                    open_jobs.remove(each)
                elif job["status"] == "RUNNING" and not each.reclaimed:
                    self._look(each, job, how, seconds)
        for each, job in ((each, self._aws.job(each.job_id)) for each in jobs):
            yield ReclaimOutcome(job=job, reclaimed=each.reclaimed, lost_seconds=self._lost(each, job))

    def _describe(self, job_ids: Iterable[str]) -> dict[str, dict[str, Any]]:
        wanted = list(job_ids)
        described: dict[str, dict[str, Any]] = {}
        for first in range(0, len(wanted), 100):
            found = self._aws.client("batch").describe_jobs(jobs=wanted[first : first + 100])["jobs"]
            described |= {job["jobId"]: job for job in found}
        return described

    def _look(self, watched: Watched, job: dict[str, Any], how: Reclaim, seconds: float) -> None:
        now = time.monotonic()
        if watched.due is None:
            watched.due = now + self._chance.uniform(0.0, seconds)
        if (done := self._steps_done(job)) is not None:
            watched.steps.append((now, done))
        if now >= watched.due:
            with suppress(ValueError):  # it ended in this very moment
                self._aws.reclaim_spot(watched.job_id, how=how)
                watched.reclaimed = True

    def _steps_done(self, job: dict[str, Any]) -> int | None:
        """Read the job's own progress.json on the disk of its host: newer than the one in S3."""
        try:
            return int(json.loads((workspace(self._aws, job) / "output" / PROGRESS).read_text())["done"])
        except (OSError, ValueError, KeyError):
            return None

    def _lost(self, watched: Watched, job: dict[str, Any]) -> float | None:
        """Return the seconds between the state that the next attempt began with and the last step seen before."""
        if not watched.steps:
            return None
        begun, last = watched.steps[0][0], watched.steps[-1]
        resumed = [int(found[1]) for line in self._log(job) if (found := RESUMED.search(line))]
        if not resumed:
            return last[0] - begun
        reached = [moment for moment, done in watched.steps if done >= resumed[0]]
        return max(0.0, last[0] - reached[0]) if reached else 0.0

    def _log(self, job: dict[str, Any]) -> list[str]:
        logs, group = self._aws.client("logs"), f"/aws/batch/{self._aws.project_name}-ml-jobs"
        streams = [attempt["container"].get("logStreamName") for attempt in job["attempts"]]
        events = [
            event
            for stream in streams
            if stream
            for event in logs.get_log_events(logGroupName=group, logStreamName=stream)["events"]
        ]
        return [event["message"] for event in events]


def workspace(aws: EmbeddedAWS, job: dict[str, Any]) -> Path:
    """Return the folder of a running job on the disk of its host."""
    task = job["container"]["taskArn"].rpartition("/")[2]
    folder: Path = aws.folder / "jobs" / task / "workspace"
    return folder
