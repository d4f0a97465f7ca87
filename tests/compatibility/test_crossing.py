"""An old image with a new dispatcher, and the reverse; runs and jobs that change the image on the way."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from versions import FAILING, INTERRUPTED, NEW, OLD, Buckets, Dispatched, Ended

from splatworks.contract.documents.job import read_job
from splatworks.contract.documents.request import read_request
from splatworks.contract.exit_codes import ContainerCode

After = Callable[[str], Buckets]
Runners = dict[str, Path]

FINAL_CODE = {OLD: 1, NEW: ContainerCode.FAILED}  # of a container whose job failed for good

# Dispatcher and runner.
CROSSED = pytest.mark.parametrize(("dispatcher", "runner"), [(OLD, NEW), (NEW, OLD)])


def done(buckets: Buckets, ended: Ended) -> Any:
    """What a job that ended well has seen."""
    assert (ended.exit_code, ended.report["ended"], ended.report["error"]) == (0, "done", None), ended.log
    assert f"{ended.prefix}_SUCCESS" in buckets.object_keys()
    assert ended.report == json.loads(buckets.read(f"{ended.prefix}job.json"))
    return json.loads(buckets.read(f"{ended.prefix}seen.json"))


def test_both_dispatchers_ask_for_the_same_jobs(dispatched: dict[str, Dispatched]) -> None:
    def asked(version: str) -> dict[str, Any]:
        objects = dispatched[version].objects()
        return {key: json.loads(body)["job"] if key.endswith("request.json") else None for key, body in objects.items()}

    old, new = asked(OLD), asked(NEW)
    assert list(new) == list(old) and len([job for job in old.values() if job]) > 10
    for key, job in old.items():
        if job:
            assert new[key].items() >= {name: value for name, value in job.items() if value is not None}.items()


@CROSSED
def test_a_single_job(buckets: After, runners: Runners, dispatcher: str, runner: str) -> None:
    there = buckets(dispatcher)
    seen = done(there, there.run(runner, runners[runner], "single"))
    assert seen == {"files": ["harbour.jpg"], "parameters": {"title": "Zürich"}}


@CROSSED
def test_a_job_that_ends_with_2_keeps_the_scripts_words(
    buckets: After, runners: Runners, dispatcher: str, runner: str
) -> None:
    ended = buckets(dispatcher).run(runner, runners[runner], FAILING)
    assert (ended.exit_code, ended.report["ended"]) == (2, "input_error")
    assert ended.report["error"] == {
        "code": "bad_photos",
        "cause": "the photos are as bad as the test wants",
        "fix": "Leave `code` out.",
        "retryable": False,
    }


@pytest.mark.parametrize(
    ("dispatcher", "on_the_way"),
    [(OLD, (NEW, NEW, NEW)), (NEW, (OLD, OLD, OLD)), (OLD, (OLD, NEW, OLD)), (NEW, (NEW, OLD, NEW))],
)
def test_a_pipeline_under_a_cost_limit(
    buckets: After, runners: Runners, dispatcher: str, on_the_way: tuple[str, str, str]
) -> None:
    """Each stage adds up what run.json and the job.json of those before it say."""
    there = buckets(dispatcher)
    ended = [
        there.run(version, runners[version], "chain", stage)
        for stage, version in zip(("sfm", "train", "compress"), on_the_way, strict=True)
    ]
    seen = [done(there, each) for each in ended]
    assert seen[1]["parameters"]["cap_max"] == 100000
    assert {"sfm/seen.json", "train/seen.json"} <= set(seen[2]["files"])
    for each in ended:
        request = read_request(there.read(f"{each.prefix}request.json"), "request.json", "")
        assert request.job.run_key and request.job.max_cost_usd == 5
        assert each.report["content_key"] == request.job.content_key is not None
        assert each.report["cost"]["usd_per_hour"] == 0.36


@CROSSED
def test_a_stage_is_not_started_when_those_before_it_have_spent_the_limit(
    buckets: After, runners: Runners, dispatcher: str, runner: str
) -> None:
    there = buckets(dispatcher)
    other = {OLD: NEW, NEW: OLD}[runner]
    sfm = there.run(other, runners[other], "chain", "sfm")
    dear = {**sfm.report, "cost": {**sfm.report["cost"], "usd": 4}}
    lost = {"attempt": 1, "ended_at": None, "seconds": 36000, "usd": None}  # 3.6 dollars
    there.put(f"{sfm.prefix}job.json", json.dumps({**dear, "interruptions": [lost]}).encode())
    ended = there.run(runner, runners[runner], "chain", "train")
    assert (ended.exit_code, ended.report["ended"]) == (FINAL_CODE[runner], "cost_limit")
    assert "$7.6000 of them before" in ended.report["error"]["cause"]


@CROSSED
def test_children_of_several_scenes(buckets: After, runners: Runners, dispatcher: str, runner: str) -> None:
    there = buckets(dispatcher)
    for index, scene in enumerate(("castle", "harbour")):
        assert done(there, there.run(runner, runners[runner], "scenes", "sfm", index))["files"] == [f"{scene}.jpg"]
    train = done(there, there.run(runner, runners[runner], "scenes", "train", 1))
    assert "seen.json" in train["files"]


@CROSSED
def test_children_of_a_sweep(buckets: After, runners: Runners, dispatcher: str, runner: str) -> None:
    there = buckets(dispatcher)
    done(there, there.run(runner, runners[runner], "sweep", "sfm"))
    for index, gaussians in enumerate((100000, 200000)):
        seen = done(there, there.run(runner, runners[runner], "sweep", "train", index))
        assert seen["parameters"]["cap_max"] == gaussians


@pytest.mark.parametrize(("first", "second"), [(OLD, NEW), (NEW, OLD)])
def test_a_retry_on_the_other_image_knows_what_the_attempt_before_lost(
    buckets: After, runners: Runners, first: str, second: str
) -> None:
    there = buckets(first)
    before = there.run(first, runners[first], INTERRUPTED)
    assert (before.exit_code, before.report["ended"]) == (75, "interrupted")
    after = there.run(second, runners[second], INTERRUPTED, attempt=2)
    lost = {
        "attempt": 1,
        "ended_at": before.report["ended_at"],
        "seconds": before.report["seconds"]["total"],
        "usd": before.report["cost"]["usd"],
    }
    more = (
        {"stop_requested": False, "bad_host": False, "job_id": None} if second == NEW else {}
    )  # the script ended with 75 by itself
    assert after.report["attempt"] == 2 and after.report["interruptions"] == [lost | more]


@pytest.mark.parametrize(("first", "second"), [(OLD, NEW), (NEW, OLD)])
def test_a_result_is_used_again_by_the_other_image(buckets: After, runners: Runners, first: str, second: str) -> None:
    there = buckets(first)
    made = there.run(first, runners[first], "scenes", "sfm", 1)
    done(there, made)
    # The same photos and parameters as one scene of another run, at another place.
    submission = there.dispatched.submission("scenes", "sfm")
    environment = submission["containerOverrides"]["environment"]
    moved = [{**each, "value": each["value"].replace("runs/demo/", "runs/moved/")} for each in environment]
    request = there.read(made.prefix.removesuffix("1/") + "request.json")
    there.put(made.prefix.removesuffix("1/").replace("runs/demo/", "runs/moved/") + "request.json", request)
    there.dispatched = Dispatched(
        there.dispatched.folder, [{**submission, "containerOverrides": {"environment": moved}}]
    )
    again = there.run(second, runners[second], "scenes", "sfm", 1)
    done(there, again)
    assert again.prefix != made.prefix and again.report["reused_from"] == made.prefix


def test_the_new_runner_writes_the_old_ones_fields_and_a_few_more(buckets: After, runners: Runners) -> None:
    there = buckets(OLD)
    old = there.run(OLD, runners[OLD], "chain", "sfm").report
    new = there.run(NEW, runners[NEW], "chain", "sfm").report
    differing = {"started_at", "ended_at", "seconds", "peak_memory_mib", "cost"}
    same = {name: value for name, value in old.items() if name not in differing}
    more = {"container_exit_code": 0, "stop_requested": False, "cuda_errors": 0}
    assert new.pop("probe")["free_disk_mib"] > 0
    assert {name: value for name, value in new.items() if name not in differing} == same | more
    for name in differing:
        assert type(new[name]) is type(old[name])
    for name in ("seconds", "cost"):
        assert new[name].keys() == old[name].keys()
    assert read_job(json.dumps(old), "old", "").script == read_job(json.dumps(new), "new", "").script
