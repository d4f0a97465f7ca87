"""splatworks status, logs and cancel: what Batch lists and what the stages left, as people and programs read it."""

import datetime
import io
import json
import time
from collections.abc import Callable
from typing import Any

import boto3
import pytest

from splatworks.contract.resumes import schedule_name

Splatworks = Callable[..., Any]

RUN = "harbour-0123456789ab"
PREFIX = f"runs/coast/{RUN}/"


def add_pipeline(deployed: Any, sfm: str, train: str, compress: str, **of_train: Any) -> list[str]:
    now = int(time.time() * 1000)
    times = {"startedAt": now - 120_000, "stoppedAt": now - 60_000}
    begun = {name: value for name, value in times.items() if sfm in ("SUCCEEDED", "FAILED") or name == "startedAt"}
    return [
        deployed.batch.add(f"{RUN}-sfm", sfm, prefix=f"{PREFIX}sfm/", stage="sfm", **begun),
        deployed.batch.add(f"{RUN}-train", train, queue="gpu", prefix=f"{PREFIX}train/", stage="train", **of_train),
        deployed.batch.add(f"{RUN}-compress", compress, prefix=f"{PREFIX}compress/", stage="compress"),
    ]


def put_run(deployed: Any, *, message: dict[str, Any] | None = None, **of_stages: dict[str, Any]) -> None:
    stages = [
        {
            "stage": name,
            "job_name": f"{RUN}-{name}",
            "queue": "cpu",
            "size": 1,
            "output_prefix": f"{PREFIX}{name}/",
            "reused_from": None,
        }
        | of_stages.get(name, {})
        for name in ("sfm", "train", "compress")
    ]
    put_run_document(deployed, stages, **({"message": message} if message else {}))


def put_run_document(deployed: Any, stages: list[dict[str, Any]], **changes: Any) -> None:
    document = {
        "version": 1,
        "run_id": RUN,
        "project": "coast",
        "message": {"trigger_type": "splat_pipeline", "data": {"input": "photos/harbour/"}},
        "submitted_at": "2026-01-31T12:00:00Z",
        "stages": stages,
    }
    deployed.put(f"{PREFIX}run.json", document | changes)


def put_report(deployed: Any, stage: str, job_id: str, attempt: int = 1, **more: Any) -> None:
    """job.json, whose job has ended after so many attempts."""
    deployed.put(f"{PREFIX}{stage}/job.json", {"job_id": job_id, "attempt": attempt, **more})
    next(job for job in deployed.batch.jobs if job["jobId"] == job_id).setdefault("attempts", [{}] * attempt)


def test_jobs_of_one_chain_are_one_run_and_progress_is_shown(deployed: Any, splatworks: Splatworks) -> None:
    now = int(time.time() * 1000)
    add_pipeline(deployed, "SUCCEEDED", "RUNNING", "PENDING", startedAt=now - 30_000)
    deployed.batch.add("count-ba9876543210", "FAILED", stage="count")
    deployed.put(f"{PREFIX}train/progress.json", {"fraction": 0.43, "message": "training"})
    ended = splatworks("status")
    assert ended.code == 0, ended.err
    head, newest, older = ended.out.splitlines()
    assert head.split() == ["RUN", "STATE", "STAGES", "SUBMITTED", "TOOK"]
    assert newest.split()[:2] == ["count-ba9876543210", "failed"]
    assert older.split()[:2] == [RUN, "running"]
    assert "sfm done, train 43%, compress waiting" in older


def test_a_thousand_jobs_take_a_call_per_queue_and_page(deployed: Any, splatworks: Splatworks) -> None:
    for number in range(1000):
        deployed.batch.add(f"job-{number:012x}", "RUNNABLE", queue=("cpu", "gpu")[number % 2])
    ended = splatworks("status", "--json")
    assert len(ended.json) == 1000
    assert deployed.batch.calls == ["ListJobs", "ListJobs"]


def test_jobs_that_somebody_submitted_by_hand_under_one_name_are_all_shown(
    deployed: Any, splatworks: Splatworks
) -> None:
    for _ in range(3):
        deployed.batch.add("by-hand", "RUNNABLE")
    assert splatworks("status").out.count("by-hand") == 3


def test_the_limit_and_the_age_of_what_is_shown(deployed: Any, splatworks: Splatworks) -> None:
    deployed.batch.add("old-0123456789ab", "SUCCEEDED", createdAt=int((time.time() - 3 * 86_400) * 1000))
    deployed.batch.add("new-0123456789ab", "SUCCEEDED")
    limited = splatworks("status", "--limit", "1")
    assert "new-" in limited.out and "old-" not in limited.out
    assert "1 older" in limited.err
    assert "old-" not in splatworks("status", "--days", "2").out
    assert "old-" in splatworks("status").out


def test_nothing_to_show_is_told_with_what_to_do(deployed: Any, splatworks: Splatworks) -> None:
    ended = splatworks("status")
    assert (ended.code, ended.out) == (0, "")
    assert "splatworks submit" in ended.err


def test_one_run_tells_its_stages_and_why_it_failed(deployed: Any, splatworks: Splatworks) -> None:
    sfm, *_ = add_pipeline(deployed, "FAILED", "FAILED", "FAILED", statusReason="Dependent Job failed")
    put_run(deployed)
    error = {"cause": "2 usable photos\x1b[2J, at least 3 are needed", "fix": "Take more photos"}
    put_report(deployed, "sfm", sfm, ended="input_error", error=error, cost={"usd": 0.0123})
    deployed.put(f"{PREFIX}sfm/result.json", {"status": "input_error", "metrics": {"photos": 2}})
    ended = splatworks("status", RUN)
    assert ended.code == 0, ended.err
    assert "Why:    2 usable photos [2J, at least 3 are needed" in ended.out
    assert "\x1b" not in ended.out
    assert "To do:  Take more photos" in ended.out
    assert "photos 2, 0.0123 USD" in ended.out
    assert ended.out.count("not started") == 2
    assert f"s3://demo-output/{PREFIX}" in ended.out


def test_a_failed_run_names_the_scripts_own_exit_code(deployed: Any, splatworks: Splatworks) -> None:
    sfm, *_ = add_pipeline(deployed, "FAILED", "FAILED", "FAILED", statusReason="Dependent Job failed")
    deployed.batch.jobs[0] |= {"container": {**deployed.batch.jobs[0].get("container", {}), "exitCode": 119}}
    put_run(deployed)
    put_report(deployed, "sfm", sfm, ended="failed", exit_code=7, container_exit_code=119)
    assert "Code:   7 of the script; the container's is 119" in splatworks("status", RUN).out
    (shown, *_) = json.loads(splatworks("status", RUN, "--json").out)["stages"]
    assert (shown["script_exit_code"], shown["exit_code"]) == (7, 119)
    put_report(deployed, "sfm", sfm, ended="input_error", exit_code=2, container_exit_code=2)
    deployed.batch.jobs[0]["container"]["exitCode"] = 2
    assert "Code:" not in splatworks("status", RUN).out


@pytest.mark.parametrize("odd", ["no luck", 7, ["no", "luck"], True])
def test_files_of_odd_shape_keep_nothing_from_being_told(deployed: Any, splatworks: Splatworks, odd: Any) -> None:
    job_id, *_ = add_pipeline(deployed, "FAILED", "FAILED", "FAILED", statusReason="Dependent Job failed")
    deployed.batch.jobs[0] |= {"startedAt": None, "statusReason": "it was stopped"}
    put_run(deployed)
    put_report(deployed, "sfm", job_id, ended="failed", seconds=odd, cost=odd)
    deployed.put(f"{PREFIX}sfm/result.json", {"error": odd, "metrics": odd})
    ended = splatworks("status", RUN)
    assert (ended.code, "Why:    it was stopped" in ended.out) == (0, True)
    put_report(deployed, "sfm", job_id, error=odd)
    deployed.put(f"{PREFIX}sfm/result.json", {"error": {"cause": ["no", "luck"], "fix": 7}})
    assert "To do:  7" in splatworks("status", RUN).out


@pytest.mark.parametrize("odd", ["NaN", "1e999", "1e308", "9" * 400])
def test_figures_that_are_no_numbers_are_left_out(deployed: Any, splatworks: Splatworks, odd: str) -> None:
    job_id, *_ = add_pipeline(deployed, "SUCCEEDED", "PENDING", "PENDING")
    put_run(deployed)
    put_report(deployed, "sfm", job_id, ended="done")
    deployed.put(f"{PREFIX}sfm/result.json", f'{{"metrics": {{"photos": {odd}, "registered": 2}}}}'.encode())
    ended = splatworks("status", RUN)
    assert (ended.code, "registered 2" in ended.out, "photos" in ended.out) == (0, True, False)


@pytest.mark.parametrize("earlier", [{"attempt": 1}, {"job_id": "00000000-0000-0000-0000-000000000009"}, {}])
def test_the_report_of_an_earlier_attempt_or_job_is_not_taken_for_the_last_ones(
    deployed: Any, splatworks: Splatworks, earlier: dict[str, Any]
) -> None:
    job_id, *_ = add_pipeline(deployed, "FAILED", "FAILED", "FAILED", statusReason="Dependent Job failed")
    put_run(deployed)
    killed = {"exitCode": 137, "reason": "OutOfMemoryError: Container killed due to memory usage"}
    deployed.batch.jobs[0]["statusReason"] = "Essential container in task exited"
    deployed.batch.jobs[0]["attempts"] = [{"container": {"exitCode": 75}}, {"container": killed}]
    deployed.batch.jobs[0]["container"] |= killed
    error = {"cause": "the machine was taken back (attempt 1)", "fix": "Nothing"}
    deployed.put(f"{PREFIX}sfm/result.json", {"error": error, "metrics": {"photos": 2}})
    put_report(deployed, "sfm", job_id, attempt=2, ended="failed", error=error)
    assert "Why:    the machine was taken back (attempt 1)" in splatworks("status", RUN).out
    report = {"job_id": job_id, "ended": "interrupted", "error": error, **earlier}
    deployed.put(f"{PREFIX}sfm/job.json", report)
    told = splatworks("status", RUN).out
    assert "Why:    OutOfMemoryError: Container killed due to memory usage" in told
    assert "photos 2" not in told


def test_the_beginning_of_an_id_and_a_job_id_are_enough(deployed: Any, splatworks: Splatworks) -> None:
    ids = add_pipeline(deployed, "RUNNING", "PENDING", "PENDING")
    put_run(deployed)
    for wanted in ("harb", RUN, ids[1]):
        assert splatworks("status", wanted, "--json").json["run_id"] == RUN
    deployed.batch.add("harbour-ffffffffffff", "RUNNING")
    ambiguous = splatworks("status", "harbour")
    assert ambiguous.code == 2
    assert RUN in ambiguous.err and "harbour-ffffffffffff" in ambiguous.err
    deployed.batch.add(f"{RUN}-again-by-hand", "RUNNING")
    assert splatworks("status", RUN, "--json").json["run_id"] == RUN


def test_a_run_whose_stages_were_all_reused_is_found_without_jobs(deployed: Any, splatworks: Splatworks) -> None:
    earlier = "runs/coast/earlier-0123456789ab/"
    put_run(deployed, **{name: {"reused_from": f"{earlier}{name}/"} for name in ("sfm", "train", "compress")})
    run = splatworks("status", RUN, "--json").json
    assert (run["status"], run["ended"]) == ("SUCCEEDED", True)
    assert [stage["status"] for stage in run["stages"]] == ["REUSED"] * 3
    assert f"from {earlier}sfm/" in splatworks("status", RUN).out


def test_a_run_of_long_parameters_is_read_whole(deployed: Any, splatworks: Splatworks) -> None:
    put_run(deployed, train={"reused_from": f"{PREFIX}train/", "variants": [{"title": "ж" * 8192}] * 50})
    run = splatworks("status", RUN, "--json").json
    assert [stage["status"] for stage in run["stages"]] == ["FORGOTTEN", "REUSED", "FORGOTTEN"]


def test_a_run_that_batch_has_forgotten_is_read_from_its_files(deployed: Any, splatworks: Splatworks) -> None:
    put_run(deployed)
    for stage, how in (("sfm", "done"), ("train", "failed")):
        deployed.put(f"{PREFIX}{stage}/job.json", {"ended": how, "seconds": {"total": 75}})
    run = splatworks("status", RUN, "--json").json
    assert [stage["status"] for stage in run["stages"]] == ["SUCCEEDED", "FAILED", "UNSENT"]
    assert "1 min 15 s" in splatworks("status", RUN).out


def put_forgotten_array(deployed: Any, ends: list[str], size: int, submitted_at: str = "2026-01-31T12:00:00Z") -> None:
    """A run of two stages: sfm, done, and an array `train` whose first parts have ended so; Batch knows no job."""
    sizes = {"sfm": 1, "train": size}
    stages = [
        {"stage": name, "job_name": "x", "queue": "q", "size": parts, "output_prefix": f"{PREFIX}{name}/"}
        for name, parts in sizes.items()
    ]
    put_run_document(deployed, stages, submitted_at=submitted_at)
    deployed.put(f"{PREFIX}sfm/job.json", {"ended": "done"})
    for index, how in enumerate(ends):
        error = {"cause": f"part {index} had no luck"} if how != "done" else None
        deployed.put(f"{PREFIX}train/{index}/job.json", {"ended": how, "error": error})


@pytest.mark.parametrize(
    ("ends", "size", "state", "told", "code"),
    [
        (["done", "done"], 2, "SUCCEEDED", "2 parts: 2 done", 0),
        (["done", "out_of_memory"], 3, "FAILED", "3 parts: 1 done, 1 failed", 1),
        (["done"], 2, "FORGOTTEN", "2 parts: 1 done", 1),
        ([], 2, "FORGOTTEN", "forgotten by Batch", 1),
        (["done"] * 3, 201, "FORGOTTEN", "201 parts", 1),
    ],
)
def test_watching_an_array_that_batch_has_forgotten_ends_with_what_its_parts_left(
    deployed: Any,
    splatworks: Splatworks,
    never_sleeps: None,
    ends: list[str],
    size: int,
    state: str,
    told: str,
    code: int,
) -> None:
    put_forgotten_array(deployed, ends, size)
    run = splatworks("status", RUN, "--json").json
    assert (run["ended"], run["status"], run["stages"][1]["status"]) == (True, state, state)
    ended = splatworks("status", RUN, "--watch")
    assert (ended.code, told in ended.out) == (code, True), ended.out
    assert ("part 1 had no luck" in ended.out) == (state == "FAILED")
    assert f"s3://demo-output/{PREFIX}" in ended.out


@pytest.fixture
def never_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    def sleep(_seconds: float) -> None:
        raise AssertionError("it waits for what cannot come")

    monkeypatch.setattr("splatworks.cli.watching.time.sleep", sleep)


def test_a_run_of_a_moment_ago_is_not_forgotten(deployed: Any, splatworks: Splatworks) -> None:
    put_forgotten_array(deployed, ["done", "done"], 2, datetime.datetime.now(datetime.UTC).isoformat())
    run = splatworks("status", RUN, "--json").json
    assert (run["ended"], run["stages"][1]["status"]) == (False, "UNSENT")


def test_an_old_stage_that_left_nothing_is_forgotten(deployed: Any, splatworks: Splatworks, never_sleeps: None) -> None:
    put_forgotten_array(deployed, [], 1)
    ended = splatworks("status", RUN, "--watch")
    assert (ended.code, "forgotten by Batch" in ended.out) == (1, True)


def test_logs_of_jobs_that_batch_has_forgotten_end_with_where_their_files_are(
    deployed: Any, splatworks: Splatworks, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_forgotten_array(deployed, ["done", "done"], 2)
    monkeypatch.setattr("splatworks.cli.logs.LATE_SECONDS", -1)
    for arguments in (["train"], ["-f", "train"], ["-f"]):
        ended = splatworks("logs", RUN, *arguments)
        assert (ended.code, f"splatworks download {RUN}" in ended.err) == (2, True), ended.err
    part = splatworks("logs", RUN, "train", "--index", "0")
    assert (part.code, f"s3://demo-output/{PREFIX}train/0/" in part.err) == (2, True)


def test_a_part_that_batch_does_not_know_is_told(deployed: Any, splatworks: Splatworks) -> None:
    add_pipeline(deployed, "SUCCEEDED", "PENDING", "PENDING", arrayProperties={"size": 2})
    put_run(deployed, train={"size": 2})
    ended = splatworks("logs", RUN, "train", "--index", "1")
    assert (ended.code, "Batch knows no job for part 1 of train" in ended.err) == (2, True)


def test_a_forgotten_batch_job_is_read_from_its_files(deployed: Any, splatworks: Splatworks) -> None:
    deployed.put("runs/coast/count-0123456789ab/count/job.json", {"ended": "done"})
    run = splatworks("status", "count-0123456789ab", "--json").json
    assert [(stage["name"], stage["status"]) for stage in run["stages"]] == [("count", "SUCCEEDED")]


@pytest.mark.parametrize("wanted", ["nothing-0123456789ab", "../../x", "a b", "x" * 200])
def test_a_run_that_is_not_there_is_told(deployed: Any, splatworks: Splatworks, wanted: str) -> None:
    ended = splatworks("status", wanted)
    assert ended.code == 2
    assert "splatworks status" in ended.err


def test_an_array_shows_how_many_of_its_parts_have_ended(deployed: Any, splatworks: Splatworks) -> None:
    parts = {"size": 40, "statusSummary": {"SUCCEEDED": 25, "FAILED": 5, "RUNNING": 10}}
    add_pipeline(deployed, "SUCCEEDED", "PENDING", "PENDING", arrayProperties=parts)  # as Batch calls a running array
    put_run(deployed, train={"size": 40})
    overview = splatworks("status").out.splitlines()[1]
    assert overview.split()[:2] == [RUN, "running"]
    assert "train 75%" in overview
    told = splatworks("status", RUN)
    assert "75%" in told.out
    assert "40 parts: 25 done, 5 failed, 10 running" in told.out
    logs = splatworks("logs", RUN, "train")
    assert logs.code == 2
    assert "--index 0" in logs.err


def test_a_sweep_that_has_ended_names_its_leaderboard(deployed: Any, splatworks: Splatworks) -> None:
    add_pipeline(deployed, "SUCCEEDED", "SUCCEEDED", "SUCCEEDED", arrayProperties={"size": 2})
    put_run(deployed)
    assert "leaderboard.csv" not in splatworks("status", RUN).out
    put_run(deployed, message={"data": {"sweep": {"train": {"cap_max": [1, 2]}}}})
    assert f"s3://demo-output/{PREFIX}leaderboard.csv" in splatworks("status", RUN).out


def test_watching_ends_with_the_run_and_tells_by_its_exit_code(
    deployed: Any, splatworks: Splatworks, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_pipeline(deployed, "SUCCEEDED", "RUNNING", "PENDING", startedAt=1)
    put_run(deployed)
    looks: list[float] = []

    def a_moment_later(seconds: float) -> None:
        looks.append(seconds)
        deployed.batch.jobs[len(looks)]["status"] = "SUCCEEDED" if len(looks) == 1 else "FAILED"

    monkeypatch.setattr("splatworks.cli.watching.time.sleep", a_moment_later)
    ended = splatworks("status", RUN, "--watch")
    assert ended.code == 1
    assert len(looks) == 2
    assert "train done" in ended.out and "compress not started" in ended.out


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_cancel_asks_and_stops_every_job_that_has_not_ended_in_their_order(
    deployed: Any, splatworks: Splatworks, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = add_pipeline(deployed, "SUCCEEDED", "RUNNING", "PENDING", startedAt=1)
    put_run(deployed)
    nobody = splatworks("cancel", RUN)
    assert (nobody.code, "--yes" in nobody.err) == (2, True)
    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("typer.confirm", lambda *_, **__: False)
    assert splatworks("cancel", RUN).code == 2
    assert deployed.batch.terminated == []
    assert splatworks("cancel", RUN, "--yes").code == 0
    assert [job_id for job_id, _ in deployed.batch.terminated] == ids[1:]
    deployed.batch.jobs[1]["status"] = deployed.batch.jobs[2]["status"] = "FAILED"
    assert "has ended already" in splatworks("cancel", RUN, "--yes").err
    assert len(deployed.batch.terminated) == 2


def test_logs_of_all_attempts_come_in_their_order_without_what_steers_a_terminal(
    deployed: Any, splatworks: Splatworks
) -> None:
    streams = ["ml/default/first", "ml/default/second"]
    attempts = [{"container": {"logStreamName": streams[0]}}]
    job = deployed.batch.add(
        "count-0123456789ab", "SUCCEEDED", stage="count", prefix="runs/p/count-0123456789ab/count/"
    )
    deployed.batch.jobs[0]["attempts"] = attempts
    deployed.batch.jobs[0]["container"]["logStreamName"] = streams[1]
    assert job
    put_logs({streams[0]: ["one", "reclaimed"], streams[1]: ["\x1b]0;evil\x07two", "10 %\r20 %\r30 %"]})
    ended = splatworks("logs", "count")
    assert ended.code == 0, ended.err
    assert ended.out.splitlines() == ["one", "reclaimed", " ]0;evil two", "30 %"]


def put_logs(lines: dict[str, list[str]]) -> None:
    logs = boto3.client("logs", "us-east-1")
    logs.create_log_group(logGroupName="/aws/batch/demo-ml-jobs")
    for stream, messages in lines.items():
        logs.create_log_stream(logGroupName="/aws/batch/demo-ml-jobs", logStreamName=stream)
        events = [{"timestamp": int(time.time() * 1000), "message": message} for message in messages]
        logs.put_log_events(logGroupName="/aws/batch/demo-ml-jobs", logStreamName=stream, logEvents=events)


def test_logs_that_are_not_there_yet_are_told(deployed: Any, splatworks: Splatworks) -> None:
    add_pipeline(deployed, "RUNNABLE", "PENDING", "PENDING")
    put_run(deployed)
    ended = splatworks("logs", RUN)
    assert ended.code == 2
    assert "--follow waits for it" in ended.err
    unknown = splatworks("logs", RUN, "trian")
    assert unknown.code == 2
    assert "sfm, train, compress" in unknown.err


def test_json_and_watch_exclude_each_other(deployed: Any, splatworks: Splatworks) -> None:
    assert splatworks("status", "--json", "--watch").code == 2


def test_what_a_terminal_shows_is_one_line_per_stage(deployed: Any) -> None:
    from rich.console import Console

    from splatworks.cli.platform import find_platform
    from splatworks.cli.run_states import RunStatus, StageStatus
    from splatworks.cli.runs import find_run
    from splatworks.cli.status_view import show_run, show_runs

    add_pipeline(deployed, "SUCCEEDED", "RUNNING", "PENDING", startedAt=1)
    put_run(deployed)
    deployed.put(f"{PREFIX}train/progress.json", {"fraction": 0.5, "message": "step [15] of 30 [/a]"})
    console = Console(force_terminal=True, width=140, record=True)
    show_run(console, find_run(find_platform("demo"), RUN), "demo-output")
    text = console.export_text()
    assert RUN in text
    show_runs(console, [RunStatus(id=RUN, stages=(StageStatus(name="[/a]", status="RUNNING"),))])
    assert "[/a] running" in console.export_text()
    (line,) = [line for line in text.splitlines() if line.startswith("train")]
    assert "━" in line and "50%" in line and "step [15] of 30 [/a]" in line


def test_the_json_of_a_run_holds_what_stages_left(deployed: Any, splatworks: Splatworks) -> None:
    _, job_id, _ = add_pipeline(deployed, "SUCCEEDED", "SUCCEEDED", "SUCCEEDED")
    put_run(deployed)
    put_report(deployed, "train", job_id, ended="done")
    deployed.put(f"{PREFIX}train/result.json", {"metrics": {"psnr": 27.5}})
    deployed.put(f"{PREFIX}compress/job.json", b"not json")
    _, train, compress = splatworks("status", RUN, "--json").json["stages"]
    assert train["result"]["metrics"] == {"psnr": 27.5}
    assert compress["result"] == compress["progress"] == {}
    assert train["job"]["ended"] == "done"
    assert compress["job"] == {}
    assert json.dumps(train["fraction"]) == "1.0"


@pytest.mark.parametrize(
    ("document", "state"),
    [
        ("run.json", "PENDING"),
        ("train/job.json", "FAILED"),
        ("sfm/job.json", "FAILED"),
    ],
)
def test_a_document_of_a_later_version_ends_the_command_with_what_to_install(
    deployed: Any, splatworks: Splatworks, document: str, state: str
) -> None:
    add_pipeline(deployed, "SUCCEEDED", state, "PENDING", startedAt=1)
    put_run(deployed)
    assert splatworks("status", RUN).code == 0
    deployed.put(f"{PREFIX}{document}", {"version": 2})
    ended = splatworks("status", RUN)
    assert (ended.code, ended.out) == (2, "")
    assert f"{PREFIX}{document} has version 2; this program reads up to version 1" in ended.err
    assert "Install the platform's version of splatworks" in ended.err


@pytest.mark.parametrize(("document", "state"), [("progress.json", "RUNNING"), ("result.json", "FAILED")])
def test_a_script_that_numbers_its_own_files_hides_neither_its_run_nor_the_others(
    deployed: Any, splatworks: Splatworks, document: str, state: str
) -> None:
    add_pipeline(deployed, "SUCCEEDED", state, "PENDING", startedAt=1)
    put_run(deployed)
    deployed.put(f"{PREFIX}train/{document}", {"version": 2})
    one, every = splatworks("status", RUN), splatworks("status")
    assert (one.code, every.code) == (0, 0), one.err + every.err
    assert RUN in every.out


@pytest.mark.parametrize("broken", [b"{", b"[]", b'{"version": "two"}', b'{"version": 1, "stages": 7}'])
def test_a_broken_run_json_leaves_what_batch_knows(deployed: Any, splatworks: Splatworks, broken: bytes) -> None:
    add_pipeline(deployed, "SUCCEEDED", "RUNNING", "PENDING", startedAt=1)
    deployed.put(f"{PREFIX}run.json", broken)
    run = splatworks("status", RUN, "--json").json
    assert [(stage["name"], stage["status"]) for stage in run["stages"]] == [
        ("sfm", "SUCCEEDED"),
        ("train", "RUNNING"),
        ("compress", "PENDING"),
    ]


RESUMABLE = {"trigger_type": "splat_pipeline", "data": {"input": "photos/harbour/", "auto_resume": 2}}


def test_a_resumed_job_stands_for_the_one_that_lost_its_machines(deployed: Any, splatworks: Splatworks) -> None:
    add_pipeline(deployed, "SUCCEEDED", "FAILED", "FAILED", statusReason="Host EC2 (instance i-0) terminated.")
    put_run(deployed, message=RESUMABLE)
    deployed.batch.add(f"{RUN}-train-r1", "RUNNING", queue="gpu", prefix=f"{PREFIX}train/", stage="train")
    deployed.batch.add(f"{RUN}-compress-r1", "PENDING", prefix=f"{PREFIX}compress/", stage="compress")
    shown = splatworks("status", RUN, "--json").json
    assert [stage["status"] for stage in shown["stages"]] == ["SUCCEEDED", "RUNNING", "PENDING"]
    assert [stage["job_name"] for stage in shown["stages"]][1:] == [f"{RUN}-train-r1", f"{RUN}-compress-r1"]
    assert (shown["status"], shown["ended"]) == ("RUNNING", False)
    (listed,) = splatworks("status", "--json").json
    assert (listed["run_id"], listed["status"]) == (RUN, "RUNNING")


def test_cancel_ends_the_waiting_of_a_run_that_would_be_resumed(deployed: Any, splatworks: Splatworks) -> None:
    add_pipeline(deployed, "SUCCEEDED", "FAILED", "FAILED", statusReason="Dependent Job failed")
    put_run(deployed, message=RESUMABLE)
    scheduler, group = boto3.client("scheduler", "us-east-1"), "demo-ml-resume"
    scheduler.create_schedule_group(Name=group)
    scheduler.create_schedule(
        Name=schedule_name(f"{PREFIX}run.json", 1),
        GroupName=group,
        ScheduleExpression="at(2030-01-01T00:00:00)",
        FlexibleTimeWindow={"Mode": "OFF"},
        Target={"Arn": "arn:aws:sns:us-east-1:123456789012:x", "RoleArn": "arn:aws:iam::123456789012:role/x"},
    )
    assert "will not be" in splatworks("cancel", RUN, "--yes").err
    assert scheduler.list_schedules(GroupName=group)["Schedules"] == []
    assert "has ended already" in splatworks("cancel", RUN, "--yes").err
