"""The e-mail about a run of several scenes."""

import copy
import json
import time
from typing import Any

import boto3
import pytest
from lambda_platform import Platform
from pipeline_run import FOLDER, RUN, PipelineRun, published

EXITED = "Essential container in task exited"
NOT_STARTED = "Dependent Job failed"
TOO_FEW = {"code": "too_few_photos", "cause": "2 usable photos, at least 3 are needed", "fix": "Take more photos."}


def plan_scenes(run: PipelineRun, names: list[str]) -> None:
    del run.message["data"]["input"]
    run.message["data"] |= {"inputs": "photos/batch/", "fresh": True}
    run.scenes = [{"name": name, "input": [f"s3://demo-input/photos/batch/{name}/"]} for name in names]
    run.plan("sfm", "train", "compress", size=len(names))


@pytest.fixture
def half_done(run: PipelineRun) -> dict[str, Any]:
    """Four scenes: one fails in sfm, one in train. Returns the last event."""
    plan_scenes(run, ["boat", "harbour", "tower", "wall"])
    run.ends_array("sfm", {1: EXITED})
    run.ends_array("train", {1: NOT_STARTED, 3: EXITED})
    event = run.ends_array("compress", {1: NOT_STARTED, 3: NOT_STARTED})
    for index in (0, 2):
        for stage in ("sfm", "train", "compress"):
            run.writes(stage, index=index)
    run.writes("sfm", index=1, ended="input_error", error=TOO_FEW)
    run.writes("sfm", index=3)
    return event


def stored(key: str) -> Any:
    return json.loads(boto3.client("s3").get_object(Bucket="demo-output", Key=key)["Body"].read())


def cells(body: str) -> list[list[str]]:
    return [line.split() for line in body.splitlines()]


def test_the_email_counts_each_stage_and_shows_what_is_done(run: PipelineRun, half_done: dict[str, Any]) -> None:
    run.platform.monitor(half_done)

    subject, body = run.platform.email()
    assert subject == f"[demo] {RUN}: 2 of 4 scenes FAILED"
    for row in (
        ["sfm", "3", "1", "0"],
        ["train", "2", "1", "1"],
        ["compress", "2", "0", "2"],
        ["boat", "27.30", "181,234", "0.120", "2.91", "29.9", "0.3687"],
        ["tower", "27.30", "181,234", "0.120", "2.91", "29.9", "0.3687"],
    ):
        assert row in cells(body)
    # Two whole chains, the two sfm parts that ran beside them; what train of `wall` cost is not known.
    assert "Cost:       at least 0.8603 USD; that of 1 scene is unknown" in body.splitlines()


def test_the_failed_scenes_are_named_with_stage_cause_log_and_what_to_do(
    run: PipelineRun, half_done: dict[str, Any]
) -> None:
    run.platform.monitor(half_done)

    lines = run.platform.email()[1].splitlines()
    first = lines.index("What failed:") + 1
    assert lines[first] == (
        "  harbour (number 1), in sfm: the input is at fault: 2 usable photos, at least 3 are needed"
    )
    assert "/log-events/demo-ml-gpu-job$252Fdefault$252F" in lines[first + 1]
    assert lines[first + 2] == "  wall (number 3), in train: script error: The script ended with exit code 1."
    assert lines[first + 4 : first + 7] == ["To do:", "  Take more photos.", "  Look at the last lines of its log."]


def test_the_message_runs_the_failed_scenes_and_no_others(run: PipelineRun, half_done: dict[str, Any]) -> None:
    run.platform.monitor(half_done)

    data = published(run.platform.email()[1])["data"]
    assert data["inputs"] == f"s3://demo-output/{FOLDER}failed.json"
    assert stored(f"{FOLDER}failed.json") == [run.scenes[1], run.scenes[3]]
    # With fresh it would do again what is done; with its request_id it would be the run that has ended.
    assert {"fresh", "request_id", "input"}.isdisjoint(data)
    assert data["train"] == {"memory": 30000, "parameters": {"cap_max": 300000}}


def test_the_dispatcher_takes_that_message(run: PipelineRun, half_done: dict[str, Any]) -> None:
    for scene in run.scenes:
        run.platform.put("demo-input", f"{scene['input'][0].removeprefix('s3://demo-input/')}1.jpg")
    run.platform.monitor(half_done)
    message = published(run.platform.email()[1])

    document = run_document(run.platform, message)

    assert document["scenes"]["count"] == 2
    assert [stage["size"] for stage in document["stages"]] == [2, 2, 2]


def run_document(platform: Platform, message: dict[str, Any]) -> dict[str, Any]:
    """run.json as the dispatcher writes it."""
    answer = platform.dispatch(message)
    assert "run_id" in answer, answer
    document: dict[str, Any] = stored(answer["output"].removeprefix("s3://demo-output/") + "run.json")
    return document


def test_scenes_that_are_all_done_make_a_success(run: PipelineRun) -> None:
    plan_scenes(run, ["boat", "tower"])
    for stage in ("sfm", "train", "compress"):
        event = run.ends_array(stage, {})
        for index in (0, 1):
            run.writes(stage, index=index, reused_from=f"runs/surveys/other/{stage}/0/" if index else None)
    lost = [{"attempt": 1, "ended_at": "", "seconds": 60.0}]
    run.writes("train", index=0, interruptions=lost)

    run.platform.monitor(event)

    subject, body = run.platform.email()
    assert subject == f"[demo] {RUN} is done: 2 scenes"
    lines = body.splitlines()
    assert "Reused:     3 results of earlier runs" in lines
    assert "Lost:       interrupted once, with 60 s lost at most" in lines
    assert "aws sns publish" not in body
    assert f"s3://demo-output/{FOLDER}compress/0/viewer/index.html --expires-in" in body


def test_only_the_end_of_the_last_array_sends_the_email(run: PipelineRun) -> None:
    plan_scenes(run, ["boat", "tower"])
    failed_first = run.ends_array("sfm", {0: EXITED})
    assert "goes on" in run.platform.monitor(failed_first)["skipped"]
    assert "goes on" in run.platform.monitor(run.ends_array("train", {0: NOT_STARTED}))["skipped"]
    last = run.ends_array("compress", {0: NOT_STARTED})
    part = copy.deepcopy(last)
    part["detail"] |= {"jobId": f"{part['detail']['jobId']}:0", "arrayProperties": {"index": 0}}
    assert "skipped" in run.platform.monitor(part)
    assert run.platform.emails() == []

    run.platform.monitor(last)
    run.platform.monitor(failed_first)

    assert run.platform.email()[0] == f"[demo] {RUN}: 1 of 2 scenes FAILED"


def test_arrays_that_were_stopped_before_they_had_parts_say_why(run: PipelineRun) -> None:
    plan_scenes(run, ["boat", "tower"])
    for stage in ("sfm", "train"):
        run.ends_array(stage, {})
        run.jobs[f"00000000-0000-0000-0000-00000000000{['sfm', 'train'].index(stage)}"] |= {
            "status": "FAILED",
            "statusReason": "wrong photos, sorry",
        }
    event = run.never_starts("compress")

    run.platform.monitor(event)

    subject, body = run.platform.email()
    assert subject == f"[demo] {RUN} FAILED in sfm: stopped"
    assert "wrong photos, sorry" in body
    assert published(body)["data"]["inputs"] == "photos/batch/"


def test_ten_thousand_scenes_are_reported_within_the_functions_minute(run: PipelineRun) -> None:
    """Each fails in sfm, which is the most there is to list. The function has about 0.6 of a core for 60 seconds."""
    plan_scenes(run, [f"scene-{index}" for index in range(10_000)])
    run.ends_array("sfm", dict.fromkeys(range(10_000), EXITED))
    run.ends_array("train", dict.fromkeys(range(10_000), NOT_STARTED))
    event = run.ends_array("compress", dict.fromkeys(range(10_000), NOT_STARTED))

    begun = time.process_time()
    run.platform.monitor(event)
    spent = time.process_time() - begun

    subject, body = run.platform.email()
    assert subject == f"[demo] {RUN}: 10,000 of 10,000 scenes FAILED"
    assert ["sfm", "0", "10,000", "0"] in cells(body)
    assert "The first 20 of 10,000 that failed:" in body
    assert len(body) < 30_000
    assert len(stored(f"{FOLDER}failed.json")) == 10_000
    assert len(run.calls) < 320  # a hundred parts are a page
    assert spent < 15, f"{spent:.1f} s of a whole core, moto's included"


def test_of_many_scenes_a_sample_is_read_and_called_one(run: PipelineRun, monkeypatch: pytest.MonkeyPatch) -> None:
    from gather import run_report

    monkeypatch.setattr(run_report, "SCENES_READ", 3)
    monkeypatch.setattr(run_report, "SCENES_SHOWN", 2)
    plan_scenes(run, [f"scene-{index}" for index in range(9)])
    for stage in ("sfm", "train", "compress"):
        event = run.ends_array(stage, {})
        for index in (0, 3, 6):
            run.writes(stage, index=index, metrics={"psnr": 20.0 + index, "megabytes": 2.0})

    run.platform.monitor(event)

    _, body = run.platform.email()
    lines = body.splitlines()
    assert "PSNR:       median 23.00 dB, from 20.00 to 26.00 (of 3 scenes that were sampled)" in lines
    assert (
        "Cost:       0.3687 USD per scene, the mean of 3 that were sampled; the command for the sum is below"
    ) in lines
    assert f"  aws s3 cp --recursive --exclude '*' --include '*/job.json' s3://demo-output/{FOLDER} {RUN}/" in lines
    assert "minutes" not in body


def test_few_done_scenes_of_many_are_all_shown(run: PipelineRun, monkeypatch: pytest.MonkeyPatch) -> None:
    from gather import run_report

    monkeypatch.setattr(run_report, "SCENES_READ", 1)
    plan_scenes(run, ["boat", "harbour", "tower"])
    run.ends_array("sfm", {1: EXITED})
    run.ends_array("train", {1: NOT_STARTED})
    event = run.ends_array("compress", {1: NOT_STARTED})
    for index in (0, 2):
        for stage in ("sfm", "train", "compress"):
            run.writes(stage, index=index)

    run.platform.monitor(event)

    rows = cells(run.platform.email()[1])
    assert [row[0] for row in rows if row[1:] == ["27.30", "181,234", "0.120", "2.91", "29.9", "0.3687"]] == [
        "boat",
        "tower",
    ]


def test_the_sample_is_taken_from_the_scenes_that_are_done(run: PipelineRun, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every second scene of a list may have something in common, such as that it fails."""
    from gather import run_report

    monkeypatch.setattr(run_report, "SCENES_READ", 2)
    monkeypatch.setattr(run_report, "SCENES_SHOWN", 0)
    plan_scenes(run, [f"scene-{index}" for index in range(8)])
    even = [0, 2, 4, 6]
    run.ends_array("sfm", dict.fromkeys(even, EXITED))
    run.ends_array("train", dict.fromkeys(even, NOT_STARTED))
    event = run.ends_array("compress", dict.fromkeys(even, NOT_STARTED))
    for index in (1, 3, 5, 7):
        for stage in ("sfm", "train", "compress"):
            run.writes(stage, index=index, metrics={"psnr": 20.0 + index})

    run.platform.monitor(event)

    assert "PSNR:       median 23.00 dB, from 21.00 to 25.00 (of 2 scenes that were sampled)" in (
        run.platform.email()[1].splitlines()
    )
