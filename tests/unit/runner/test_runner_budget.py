"""max_cost_usd: the clock and the price are the test's, the runner is the real one. $1 is a second here."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from jobrunner.run.budget import Budget
from splatworks.contract.documents.codec import PUSH_THE_IMAGE
from splatworks.contract.exit_codes import ContainerCode

FAILED = ContainerCode.FAILED

TIMINGS = "cost=0.05, progress=0.2, checkpoints=0.2, checkpoints_soon=0.1, stop=5, price=5, facts=1"
PRICED = """
import jobrunner.run.machine as m, jobrunner.deliver.report as r, os, time
from pathlib import Path
clock = Path(os.environ["CLOCK"])
m.MachineFacts._find_out = lambda self: setattr(self, "price", m.Price(3600, "test"))
r.Report.total_seconds = property(lambda self: float(clock.read_text()))
"""
RUN = {"version": 1, "run_id": "run", "project": "demo", "message": {}, "submitted_at": "2026-01-31T12:00:00Z"}
WORK = """
import os, signal, sys, time
from pathlib import Path
output = Path(os.environ["OUTPUT_DIR"])
def stop(*_):
    Path(os.environ["CHECKPOINT_DIR"], "state").write_text("saved")
    sys.exit(int(os.environ.get("PARAM_CODE", "75")))
signal.signal(signal.SIGTERM, stop)
(output / "half.txt").write_text("half")
print("the script runs")
while not (output / "enough").exists():
    time.sleep(0.05)
"""
ENTRY = {"stage": "train", "job_name": "run-train", "queue": "q", "output_prefix": "runs/demo/run/train/", "size": 1}


class Priced:
    """A job with a limit of $10, its machine at $1 a second, and the seconds it has run so far."""

    def __init__(self, job: Any) -> None:
        self.job = job
        self.clock = job.folder / "clock"
        self.at(0)
        job.of("run", "train")
        job.script(WORK)
        job.prelude = PRICED
        job.environment["CLOCK"] = str(self.clock)
        job.request["max_cost_usd"] = 10

    def at(self, seconds: float) -> None:
        beside = self.clock.with_suffix(".new")
        beside.write_text(str(seconds))
        beside.replace(self.clock)

    def running(self, attempt: int = 1, **extra: str) -> Any:
        process = self.job.start(attempt, TIMINGS, **extra)
        self.job.wait_until((self.job.workspace / "output" / "half.txt").exists)
        return process

    def run(self, attempt: int = 1, **extra: str) -> tuple[int, dict[str, Any], str]:
        ended = self.job.run(attempt, TIMINGS, **extra)
        return ended.exit_code, self.job.report, ended.stdout

    def put(self, key: str, document: Any) -> None:
        self.job.s3.put_object(Bucket=self.job.output_bucket, Key=key, Body=json.dumps(document))

    def stage(self, name: str, report: Any, **more: Any) -> dict[str, Any]:
        prefix = f"runs/demo/run/{name}/"
        self.put(f"{prefix}{more.pop('below', '')}job.json", report)
        return {**self.entry(name), **more}

    def entry(self, name: str) -> dict[str, Any]:
        prefix = f"runs/demo/run/{name}/"
        return {"stage": name, "job_name": name, "queue": "q", "output_prefix": prefix, "size": 1, "reused_from": None}

    def chain(self, *stages: dict[str, Any]) -> None:
        document = {**RUN, "stages": [*stages, self.entry("train"), self.stage("compress", cost(100))]}
        self.put("runs/demo/run/run.json", document)
        self.job.request["run_key"] = "runs/demo/run/run.json"


def cost(usd: float, *interruptions: dict[str, Any]) -> dict[str, Any]:
    return {"cost": {"usd": usd, "usd_per_hour": 7200, "source": "test"}, "interruptions": list(interruptions)}


@pytest.fixture
def priced(job: Any) -> Priced:
    return Priced(job)


def stops_at(priced: Priced, seconds: float, **extra: str) -> dict[str, Any]:
    """Runs on a moment before, and is stopped at `seconds`."""
    process = priced.running(**extra)
    priced.at(seconds - 0.1)
    time.sleep(0.5)  # ten looks
    assert process.poll() is None, process.stderr.read()
    priced.at(seconds)
    ended = priced.job.finish(process)
    assert ended.exit_code == FAILED, ended.stderr
    index = extra.get("AWS_BATCH_JOB_ARRAY_INDEX")
    report = json.loads(priced.job.read(f"{index}/job.json" if index else "job.json"))
    assert (report["ended"], report["error"]["code"]) == ("cost_limit", "cost_limit")
    assert (report["container_exit_code"], report["stop_requested"]) == (FAILED, False)
    assert report["error"]["retryable"] is False and report["error"]["fix"]
    return report


def test_a_script_is_stopped_at_the_limit_with_checkpoint_and_output_saved(priced: Priced) -> None:
    report = stops_at(priced, 10)
    assert report["error"]["cause"] == (
        "$10.0000 are spent, $0.0000 of them before this attempt; max_cost_usd allows $10"
    )
    assert priced.job.read("state", priced.job.checkpoints) == "saved"
    assert priced.job.outputs() == {"half.txt"} and "_SUCCESS" not in priced.job.objects()
    assert report["cost"] == {"usd": 10.0, "usd_per_hour": 3600, "source": "test"}


def test_a_script_that_stays_below_the_limit_ends_as_ever(priced: Priced) -> None:
    process = priced.running()
    priced.at(9.99)
    (priced.job.workspace / "output" / "enough").touch()
    assert priced.job.finish(process).exit_code == 0
    assert priced.job.report["ended"] == "done" and priced.job.report["cost"]["usd"] == 9.99


def test_what_the_stages_before_have_cost_counts(priced: Priced) -> None:
    lost = [
        {"attempt": 1, "seconds": 99, "usd": 1.5},
        {"attempt": 2, "seconds": 0.25, "usd": None},
        {"attempt": 3, "seconds": None},
    ]
    priced.chain(
        priced.stage("first", cost(2)),
        priced.stage("used", cost(50), reused_from="runs/demo/earlier/used/"),
        priced.stage("sfm", cost(1, *lost)),
    )
    report = stops_at(priced, 5)  # after 2 + 1 + 1.5 + 0.25 s at $7200 an hour
    assert "$5.0000 of them before" in report["error"]["cause"]


def test_in_an_array_the_chain_of_the_same_index_counts(priced: Priced) -> None:
    priced.chain(priced.stage("sfm", cost(1)), priced.stage("more", cost(4), size=5, below="3/"))
    stops_at(priced, 5, AWS_BATCH_JOB_ARRAY_INDEX="3")


def test_earlier_attempts_count_and_a_retry_over_the_limit_is_not_started(priced: Priced) -> None:
    process = priced.running()
    priced.at(9.5)
    process.terminate()
    assert priced.job.finish(process).exit_code == 75
    assert priced.job.report["ended"] == "interrupted"
    priced.at(0.6)
    exit_code, report, printed = priced.run(attempt=2)
    assert (exit_code, report["ended"], report["error"]["code"]) == (FAILED, "cost_limit", "cost_limit")
    assert "$9.5000 of them before" in report["error"]["cause"] and "the script runs" not in printed
    assert report["interruptions"][0]["usd"] == 9.5


def test_an_attempt_whose_host_went_without_notice_counts_as_far_as_it_is_known(priced: Priced) -> None:
    process = priced.running()
    priced.at(8)
    running = lambda: json.loads(priced.job.read("_RUNNING") or "{}").get("cost")  # noqa: E731
    priced.job.wait_until(lambda: (running() or {}).get("usd") == 8)
    priced.job.lose_host(process)
    priced.at(2)
    assert priced.run(attempt=2)[1]["ended"] == "cost_limit"
    assert priced.job.report["interruptions"][0]["usd"] == 8


def test_a_limit_reached_while_input_is_downloaded_ends_the_job_too(priced: Priced) -> None:
    priced.job.prelude += """
import jobrunner.store as s
def fetch(self, file):
    clock.write_text("11")
    time.sleep(1)
s._Transfers.fetch = fetch
"""
    exit_code, report, printed = priced.run()
    assert (exit_code, report["ended"]) == (FAILED, "cost_limit") and "the script runs" not in printed


@pytest.mark.parametrize(
    ("code", "ended", "container"), [(0, "done", 0), (2, "input_error", 2), (1, "cost_limit", FAILED)]
)
def test_a_script_that_ends_by_itself_when_it_is_stopped_keeps_its_end(
    priced: Priced, code: int, ended: str, container: int
) -> None:
    priced.job.request["parameters"] = {"code": code}
    process = priced.running()
    priced.at(11)
    assert priced.job.finish(process).exit_code == container
    assert (priced.job.report["exit_code"], priced.job.report["ended"]) == (code, ended)


def refused(priced: Priced, code: str, ended: str = "cost_limit", with_code: int = FAILED) -> str:
    exit_code, report, printed = priced.run()
    assert (exit_code, report["ended"], report["error"]["code"]) == (with_code, ended, code)
    assert "the script runs" not in printed and "_SUCCESS" not in priced.job.objects()
    return report["error"]["cause"]


@pytest.mark.parametrize("problem", ["this g5.xlarge is an on-demand machine", "UnauthorizedOperation: no"])
def test_a_limit_without_a_price_does_not_start_the_script(priced: Priced, problem: str) -> None:
    priced.job.prelude += f"m.MachineFacts._find_out = lambda self: setattr(self, 'problem', {problem!r})"
    assert problem in refused(priced, "price_unknown")


def test_outside_of_ecs_a_limit_does_not_start_the_script(priced: Priced) -> None:
    priced.job.prelude = ""
    assert "no container of ECS" in refused(priced, "price_unknown")


def test_a_price_that_does_not_come_in_time_does_not_start_the_script(priced: Priced) -> None:
    priced.job.prelude += "m.MachineFacts._find_out = lambda self: time.sleep(60)"
    assert "in time" in refused(priced, "price_unknown")


def test_sigterm_while_the_price_is_awaited_ends_at_once_with_75(priced: Priced) -> None:
    asked = priced.job.folder / "asked"
    priced.job.prelude += f"m.MachineFacts._find_out = lambda self: (open('{asked}', 'w').close(), time.sleep(600))"
    process = priced.job.start(1, "price=500, facts=0.1")
    priced.job.wait_until(asked.exists)
    assert priced.job.stop_when(process, asked.exists).exit_code == 75  # waits a minute at most


@pytest.mark.parametrize("report", [None, {}, {"cost": None, "interruptions": []}, cost(1, {"usd": "much"})])
def test_a_stage_before_that_tells_no_cost_does_not_start_the_script(priced: Priced, report: Any) -> None:
    priced.chain(priced.stage("sfm", report))
    assert "runs/demo/run/sfm/job.json" in refused(priced, "cost_unknown")


@pytest.mark.parametrize(
    "run",
    [None, [], RUN, {**RUN, "stages": []}, {**RUN, "stages": [{**ENTRY, "stage": "compress"}]}, {**RUN, "stages": 1}],
)
def test_a_run_that_does_not_tell_its_stages_does_not_start_the_script(priced: Priced, run: Any) -> None:
    priced.put("runs/demo/run/run.json", run)
    priced.job.request["run_key"] = "runs/demo/run/run.json"
    assert "run.json" in refused(priced, "bad_document", "runner_error")


def test_a_run_of_a_later_version_is_refused_for_good_and_asks_for_the_image(priced: Priced) -> None:
    priced.put("runs/demo/run/run.json", {**RUN, "version": 2})
    priced.job.request["run_key"] = "runs/demo/run/run.json"
    assert "run.json has version 2" in refused(priced, "bad_document", "input_error", with_code=2)
    assert priced.job.report["error"]["fix"] == PUSH_THE_IMAGE


def test_a_stage_before_of_a_later_version_is_refused_for_good_and_asks_for_the_image(priced: Priced) -> None:
    priced.chain(priced.stage("sfm", {"version": 2, **cost(1)}))
    assert "sfm/job.json has version 2" in refused(priced, "bad_document", "input_error", with_code=2)
    assert priced.job.report["error"]["fix"] == PUSH_THE_IMAGE


def test_a_result_used_again_needs_no_price(priced: Priced) -> None:
    job = priced.job
    job.request.update(content_base="b" * 64, max_cost_usd=None)
    job.script("print('the script runs')")
    assert job.run(AWS_BATCH_JOB_ARRAY_INDEX="0").exit_code == 0
    job.of("another", "train")
    job.request["max_cost_usd"] = 10
    job.prelude = ""
    ended = job.run(AWS_BATCH_JOB_ARRAY_INDEX="0")
    assert ended.exit_code == 0 and "the script runs" not in ended.stdout


def test_a_result_used_again_tells_its_cost_however_late_the_price_comes(priced: Priced) -> None:
    job = priced.job
    job.request.update(content_base="b" * 64)
    job.script("print('the script runs')")
    assert priced.run(AWS_BATCH_JOB_ARRAY_INDEX="0")[0] == 0
    job.of("another", "train")
    slow = "m.MachineFacts._find_out = lambda self: (time.sleep(2), setattr(self, 'price', m.Price(3600, 'test')))"
    job.prelude += slow
    priced.at(3)
    priced.run(AWS_BATCH_JOB_ARRAY_INDEX="0")
    report = json.loads(job.read("0/job.json"))
    assert report["reused_from"] == "runs/demo/run/train/0/" and report["cost"]["usd"] == 3


@pytest.mark.parametrize(("seconds", "stops"), [(0, 0), (3599, 0), (3600, 1), (7200, 1)])
def test_the_budget_asks_to_stop_once_when_all_is_spent(seconds: float, stops: int) -> None:
    asked: list[Path] = []
    budget = Budget(limit=3, before=1, usd_per_hour=2, seconds=lambda: seconds)
    for _ in range(3):
        budget.check(lambda: asked.append(Path()))
    assert len(asked) == stops and (budget.error is not None) == bool(stops)
    assert budget.spent() == 1 + seconds / 1800
