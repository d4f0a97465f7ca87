"""Spot machines that are taken away: every job loses its host once, at a random moment, in each way that AWS has.

None may fail. Training repeats at most 35 s of work after a notice or a SIGTERM, and 60 s without either. A job with
`attempts: 3` fails at its third reclaim and says why. The clock is scaled: the runner's waiting times, the interval of
the training's checkpoints and AWS's own times are divided by SCALE, and seconds of work lost are multiplied by it.
"""

import json
import random
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from local.batch.jobs import NOT_STARTED
from local.batch.reclaim import Reclaim
from local.embedded_aws import EmbeddedAWS
from local.survey.photos import render_survey
from torture.clock import scaled_runner
from torture.reclaims import ReclaimOutcome, Reclaims, workspace

ROOT = Path(__file__).parents[1]
SCALE = 5.0
CONCURRENCY = 3  # jobs at a time: they wait as much as they compute
MOST_LOST = {Reclaim.KILL: 60.0, Reclaim.HOST: 60.0, Reclaim.NOTICE: 35.0, Reclaim.SIGTERM: 35.0}  # real seconds
COUNTS = {"plain": 50, "sfm": 10, "train": 10}
MARGIN = 0.85  # of an undisturbed attempt: a later moment would often come after its end

PLAIN = """
import os, pathlib, signal, sys, time
state = pathlib.Path(os.environ["CHECKPOINT_DIR"]) / "step"

def save(step):
    temporary = state.with_name("step.tmp")
    temporary.write_text(str(step))
    temporary.replace(state)

step = int(state.read_text()) if state.exists() else 0
print("going on from step", step, flush=True)

def stop(number, frame):
    save(step)
    sys.exit(75)

signal.signal(signal.SIGTERM, stop)
while step < 20:
    time.sleep(0.1)
    step += 1
(pathlib.Path(os.environ["OUTPUT_DIR"]) / "result.txt").write_text(str(step))
"""


@dataclass(frozen=True, kw_only=True)
class ReclaimRow:
    """Outcomes of the jobs of one kind that were reclaimed in one way."""

    kind: str
    how: Reclaim
    outcomes: list[ReclaimOutcome]

    @property
    def failed(self) -> list[ReclaimOutcome]:
        return [each for each in self.outcomes if not each.succeeded]

    @property
    def most_lost(self) -> float | None:
        """Real seconds of work that were done twice, in the worst case; of training alone."""
        lost = [each.lost_seconds for each in self.outcomes if each.reclaimed and each.lost_seconds is not None]
        return SCALE * max(lost) if lost and self.kind == "train" else None

    @property
    def holds(self) -> bool:
        return not self.failed and (self.most_lost is None or self.most_lost <= MOST_LOST[self.how])


class Spot:
    """One platform whose jobs are reclaimed."""

    def __init__(self, aws: EmbeddedAWS, folder: Path, seed: int) -> None:
        self.aws = aws
        self._folder = folder
        self._chance = random.Random(seed)
        self._publishers: dict[str, Callable[[], str]] = {}
        self._seconds: dict[str, float] = {}

    def row(self, kind: str, how: Reclaim, count: int) -> ReclaimRow:
        reclaims = Reclaims(self.aws, self._publisher(kind), self._chance)
        if kind not in self._seconds:
            self._seconds[kind] = reclaims.undisturbed_seconds()
        return ReclaimRow(kind=kind, how=how, outcomes=reclaims.run(count, how, MARGIN * self._seconds[kind]))

    def used_up(self, how: Reclaim) -> tuple[dict[str, Any], str]:
        """Reclaim a job with `attempts: 3` each time that it runs; return the job and the text of its e-mail."""
        name = self.publish_script(PLAIN.replace("step < 20", "True"), attempts=3)
        for lost in range(3):
            self._wait_for_attempt(name, lost)
            self.aws.reclaim_spot(self.aws.wait_for_job(name, until=("RUNNING",))["jobId"], how=how)
        job = self.aws.wait_for_job(name, timeout=120)
        return job, self.aws.wait_for_email(name, timeout=120).body

    def _wait_for_attempt(self, name: str, lost: int) -> None:
        def runs() -> bool:
            job = self.aws.wait_for_job(name, until=(*NOT_STARTED, "STARTING", "RUNNING"))
            if job["status"] != "RUNNING" or len(job["attempts"]) != lost:
                return False
            return (workspace(self.aws, job) / "parameters.json").exists()

        self.aws.wait_until(runs, timeout=120, what=f"attempt {lost + 1} of {name}")
        time.sleep(0.5)

    def _publisher(self, kind: str) -> Callable[[], str]:
        if kind not in self._publishers:
            self._publishers[kind] = {"plain": self._plain, "sfm": self._sfm, "train": self._train}[kind]()
        return self._publishers[kind]

    def _plain(self) -> Callable[[], str]:
        return lambda: self.publish_script(PLAIN)

    def _sfm(self) -> Callable[[], str]:
        prefix = self._upload_photos()
        return lambda: self._publish("stages/sfm.py", input=prefix)

    def _train(self) -> Callable[[], str]:
        name = self._publish("stages/sfm.py", input=self._upload_photos())
        job = self.aws.wait_for_job(name, timeout=600)
        assert job["status"] == "SUCCEEDED", job
        environment = {each["name"]: each["value"] for each in job["container"]["environment"]}
        dataset = f"s3://{self.aws.outputs['ml_output_bucket']}/{environment['OUTPUT_PREFIX']}"
        options = {
            "max_steps": 1200,
            "plateau_gain": 0,
            "flythrough_seconds": 0,
            "max_size": 160,
            "cap_max": 3000,
            "checkpoint_seconds": 30 / SCALE,
        }
        return lambda: self._publish("stages/train.py", input=dataset, parameters={"preset": "draft", **options})

    def _upload_photos(self) -> str:
        survey = render_survey(self._folder / "survey", photos=8, width=480, height=320)
        for photo in sorted(survey.photos.iterdir()):
            bucket = self.aws.outputs["ml_input_bucket"]
            self.aws.client("s3").upload_file(str(photo), bucket, f"photos/spot/{photo.name}")
        return "photos/spot/"

    def publish_script(self, text: str, **data: Any) -> str:
        key = f"jobs/spot-{uuid.uuid4().hex[:8]}.py"
        bucket = self.aws.outputs["ml_input_bucket"]
        self.aws.client("s3").put_object(Bucket=bucket, Key=key, Body=text.encode())
        return self._publish(key, **data)

    def _publish(self, script: str, **data: Any) -> str:
        name = f"spot-{uuid.uuid4().hex[:8]}"
        given = {"script_key": script, "compute_type": "cpu", "job_name": name, **data}
        message = {"trigger_type": "batch_job", "data": given, "metadata": {"user": "torture", "project": "spot"}}
        self.aws.publish(json.dumps(message))
        self.aws.wait_until(lambda: any(name in job["jobName"] for job in self.aws.jobs()), what=f"the job {name}")
        return name


def main(only: str) -> int:
    """Run everything, or the rows whose name begins with `only`, and print the table."""
    console, begun = Console(width=130), time.monotonic()
    seed = random.SystemRandom().randrange(10**6)
    console.print(f"seed {seed}, clock scaled by {SCALE:g}")
    subprocess.run([sys.executable, ROOT / "modules" / "lambda" / "build.py"], cwd=ROOT, check=True)
    rows: list[ReclaimRow] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        runner = scaled_runner(folder / "runner", SCALE)
        with EmbeddedAWS(
            folder / "aws", runner=runner, hurry=SCALE, concurrency=CONCURRENCY, log=lambda _: None
        ) as aws:
            aws.apply()
            spot = Spot(aws, folder, seed)
            for kind, count in COUNTS.items():
                for how in Reclaim:
                    if f"{kind} {how.name.lower()}".startswith(only):
                        rows.append(spot.row(kind, how, count))
                        console.print(f"[{time.monotonic() - begun:5.0f} s] {summary(rows[-1])}")
    show(rows, console)
    return 0 if all(row.holds for row in rows) else 1


def summary(row: ReclaimRow) -> str:
    lost = "" if row.most_lost is None else f", at most {row.most_lost:.0f} s of work lost"
    reclaimed = sum(each.reclaimed for each in row.outcomes)
    return f"{row.kind}, {row.how.name.lower()}: {reclaimed} reclaimed, {len(row.failed)} failed{lost}"


def show(rows: list[ReclaimRow], console: Console) -> None:
    table = Table(title="Jobs that lost their host once")
    for heading in (
        "jobs",
        "way",
        "reclaimed",
        "failed",
        "exit codes of first attempts",
        "most work lost",
        "allowed",
        "holds",
    ):
        table.add_column(heading)
    for row in rows:
        lost = row.most_lost
        codes = sorted({str(each.codes[0]) for each in row.outcomes if each.reclaimed and each.codes})
        table.add_row(
            row.kind,
            row.how.name.lower(),
            str(sum(each.reclaimed for each in row.outcomes)),
            str(len(row.failed)),
            ", ".join(codes),
            "" if lost is None else f"{lost:.0f} s",
            "" if lost is None else f"{MOST_LOST[row.how]:.0f} s",
            "yes" if row.holds else "NO",
        )
    console.print(table)
    for row in rows:
        for each in row.failed:
            console.print(f"failed: {row.kind}, {row.how.name.lower()}: {json.dumps(each.job['attempts'])}")
