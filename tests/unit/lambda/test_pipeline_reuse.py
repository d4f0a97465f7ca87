"""A stage whose result is there already is not run again; whatever differs makes another result."""

import json
import os
import time
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from lambda_platform import Platform

STAGES = ("sfm", "train", "compress")
ECR = "123456789012.dkr.ecr.us-east-1.amazonaws.com/demo-ml-python"


def pipeline(**data: Any) -> dict[str, Any]:
    return {"trigger_type": "splat_pipeline", "data": {"input": "photos/my-scene/", **data}}


def finish(platform: Platform, answer: dict[str, Any], *stages: str) -> None:
    """What the runner leaves of these stages."""
    run = platform.stored(f"{answer['output'].removeprefix('s3://demo-output/')}run.json")
    for entry in run["stages"]:
        if entry["stage"] not in stages or entry["reused_from"]:
            continue
        prefix, key = entry["output_prefix"], entry["content_key"]
        inputs = [{"uri": uri, "origin": uri if "/runs/" in uri else None} for uri in entry["job"]["input"]]
        platform.put("demo-output", f"{prefix}result", entry["stage"].encode())
        platform.put("demo-output", f"{prefix}job.json", {"content_key": key, "inputs": inputs, "output": {"files": 1}})
        platform.put("demo-output", f"{prefix}_SUCCESS", b"")
        platform.put("demo-output", f"reuse/{key}.json", {"output_prefix": prefix})


def finished_run(platform: Platform, *stages: str, **data: Any) -> dict[str, Any]:
    answer = platform.dispatch(pipeline(**data))
    finish(platform, answer, *stages)
    platform.submissions.clear()
    return answer


def prefix_of(answer: dict[str, Any], stage: str) -> str:
    return f"{answer['output'].removeprefix('s3://demo-output/')}{stage}/"


def test_what_is_done_is_used_again_and_the_rest_runs_on_it(platform: Platform) -> None:
    first = finished_run(platform, "sfm", "train")

    second = platform.dispatch(pipeline())

    assert second["reused"] == {stage: prefix_of(first, stage) for stage in ("sfm", "train")}
    (sent,) = platform.submissions
    assert sent["jobName"] == f"{second['run_id']}-compress"
    assert "dependsOn" not in sent
    run = platform.stored(f"{second['output'].removeprefix('s3://demo-output/')}run.json")
    assert run["stages"][0]["job"] is run["stages"][0]["submission"] is None
    assert run["stages"][2]["job"]["input"] == [f"{first['output']}sfm/", f"{first['output']}train/"]
    finish(platform, second, "compress")
    assert set(platform.dispatch(pipeline())["reused"]) == set(STAGES)


def test_a_run_with_nothing_to_do_tells_the_monitor(platform: Platform) -> None:
    bus_events = boto3.client("events")
    queue = boto3.client("sqs").create_queue(QueueName="settled")["QueueUrl"]
    bus_events.put_rule(Name="settled", EventPattern=json.dumps({"source": ["demo"]}))
    target = {"Id": "queue", "Arn": "arn:aws:sqs:us-east-1:123456789012:settled"}
    bus_events.put_targets(Rule="settled", Targets=[target])
    finished_run(platform, *STAGES)

    answer = platform.dispatch(pipeline())

    assert answer["jobs"] == {}
    assert platform.submissions == []
    (message,) = boto3.client("sqs").receive_message(QueueUrl=queue)["Messages"]
    event = json.loads(message["Body"])
    assert event["detail-type"] == "Pipeline Run Settled"
    run_key = event["detail"]["run_key"]
    assert platform.stored(run_key)["run_id"] == answer["run_id"]


def test_an_event_that_is_not_taken_is_a_fault_to_be_tried_again(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    from aws import clients as aws_clients

    finished_run(platform, *STAGES)
    entry = {"ErrorCode": "ThrottlingException", "ErrorMessage": "slow down"}
    monkeypatch.setattr(aws_clients.client("events"), "put_events", lambda **_: {"Entries": [entry]})

    with pytest.raises(ClientError, match="ThrottlingException"):
        platform.dispatch(pipeline(request_id="again"))


def test_fresh_runs_everything(platform: Platform) -> None:
    finished_run(platform, *STAGES)

    answer = platform.dispatch(pipeline(fresh=True))

    assert answer["reused"] == {}
    assert len(platform.submissions) == 3
    job = platform.stored(f"{prefix_of(answer, 'train')}request.json")["job"]
    assert job["fresh"] is True
    assert job["content_key"], "the result is still recorded"


def photo(platform: Platform) -> None:
    platform.put("demo-input", "photos/my-scene/1.jpg", b"another")


def more_photos(platform: Platform) -> None:
    platform.put("demo-input", "photos/my-scene/2.jpg")


def script(platform: Platform) -> None:
    platform.put("demo-input", "stages/splatkit/stage.py", b"another")


def lost_marker(platform: Platform) -> None:
    for item in boto3.client("s3").list_objects_v2(Bucket="demo-output", Prefix="runs/")["Contents"]:
        if item["Key"].endswith("/sfm/_SUCCESS"):
            boto3.client("s3").delete_object(Bucket="demo-output", Key=item["Key"])


def broken_entries(platform: Platform) -> None:
    for item in boto3.client("s3").list_objects_v2(Bucket="demo-output", Prefix="reuse/")["Contents"]:
        platform.put("demo-output", item["Key"], {"output_prefix": "../elsewhere/"})


def hostile_entries(platform: Platform) -> None:
    """A job has made a result of the same key, whose place would be a command in the e-mail."""
    s3 = boto3.client("s3")
    for item in s3.list_objects_v2(Bucket="demo-output", Prefix="reuse/")["Contents"]:
        place = platform.stored(item["Key"])["output_prefix"]
        copy = f"runs/a;id/b/{place.split('/')[-2]}/"
        for found in s3.list_objects_v2(Bucket="demo-output", Prefix=place)["Contents"]:
            name = found["Key"].removeprefix(place)
            s3.copy_object(Bucket="demo-output", Key=f"{copy}{name}", CopySource=f"demo-output/{found['Key']}")
        s3.copy_object(Bucket="demo-output", Key=f"{copy}_SUCCESS", CopySource=f"demo-output/{place}_SUCCESS")
        platform.put("demo-output", item["Key"], {"output_prefix": copy})


def entries_that_are_no_json(platform: Platform) -> None:
    for item in boto3.client("s3").list_objects_v2(Bucket="demo-output", Prefix="reuse/")["Contents"]:
        platform.put("demo-output", item["Key"], b"{")


def expired_files(platform: Platform) -> None:
    """A lifecycle rule has come over one file, and not yet over the marker."""
    for item in boto3.client("s3").list_objects_v2(Bucket="demo-output", Prefix="runs/")["Contents"]:
        if item["Key"].endswith("/sfm/result"):
            boto3.client("s3").delete_object(Bucket="demo-output", Key=item["Key"])


CHANGES = [
    photo,
    more_photos,
    script,
    lost_marker,
    broken_entries,
    hostile_entries,
    entries_that_are_no_json,
    expired_files,
]


@pytest.mark.parametrize("change", CHANGES)
def test_after_a_change_everything_runs_again(platform: Platform, change: Callable[[Platform], None]) -> None:
    finished_run(platform, *STAGES)
    change(platform)

    assert platform.dispatch(pipeline())["reused"] == {}


@pytest.mark.parametrize(
    ("data", "reused"),
    [
        ({}, {"sfm", "train", "compress"}),
        ({"sfm": {"parameters": {"quality": "fast"}}}, set()),
        ({"train": {"parameters": {"cap_max": 700}}}, {"sfm"}),
        ({"train": {"gpus": 4, "vcpus": 16}}, {"sfm"}),
        ({"train": {"memory": 14000, "attempts": 2}}, {"sfm", "train", "compress"}),
        ({"compress": {"parameters": {"sh_degree": 0}}}, {"sfm", "train"}),
        ({"compress": {"compute_type": "gpu"}}, {"sfm", "train"}),
        ({"sweep": {"train": {"cap_max": [100, 200]}}}, {"sfm"}),
        ({"sweep": {"compress": {"sh_degree": [0, 3]}}}, {"sfm", "train"}),
    ],
)
def test_what_differs_is_run_with_all_behind_it(platform: Platform, data: dict[str, Any], reused: set[str]) -> None:
    finished_run(platform, *STAGES)

    assert set(platform.dispatch(pipeline(**data))["reused"]) == reused


def test_a_splat_trained_on_another_reconstruction_of_the_same_recipe_is_not_mixed_in(platform: Platform) -> None:
    """The first run's splat stands in the first run's coordinates, the second run's photos in the second's."""
    finished_run(platform, "sfm", "train")
    second = finished_run(platform, "sfm", fresh=True)

    answer = platform.dispatch(pipeline())

    assert answer["reused"] == {"sfm": prefix_of(second, "sfm")}


def test_training_goes_on_from_a_reconstruction_as_the_full_run_would(platform: Platform) -> None:
    first = finished_run(platform, *STAGES)

    answer = platform.dispatch(pipeline(input=f"{first['output']}sfm/", steps="train"))

    assert answer["reused"] == {stage: prefix_of(first, stage) for stage in ("train", "compress")}


def test_another_reconstruction_of_the_same_recipe_is_trained_on_itself(platform: Platform) -> None:
    finished_run(platform, *STAGES)
    second = finished_run(platform, "sfm", fresh=True)

    answer = platform.dispatch(pipeline(input=f"{second['output']}sfm/", steps="train"))

    assert answer["reused"] == {}


def test_a_result_that_was_touched_by_hand_is_something_else(platform: Platform) -> None:
    first = finished_run(platform, *STAGES)
    time.sleep(1.1)  # S3 tells the time of an object in whole seconds
    boto3.client("s3").put_object(Bucket="demo-output", Key=f"{prefix_of(first, 'sfm')}result", Body=b"edited")

    assert platform.dispatch(pipeline(input=f"{first['output']}sfm/", steps="train"))["reused"] == {}


def test_a_result_copied_to_the_input_bucket_is_what_its_files_are(platform: Platform) -> None:
    """People may write there: a job.json of theirs must not pass for the platform's."""
    first = finished_run(platform, *STAGES)
    key = platform.stored(f"{prefix_of(first, 'sfm')}job.json")["content_key"]
    platform.put("demo-input", "photos/copy/job.json", {"content_key": key})
    platform.put("demo-input", "photos/copy/_SUCCESS", b"")

    assert platform.dispatch(pipeline(input="photos/copy/", steps="train"))["reused"] == {}


@pytest.fixture
def in_ecr(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> Platform:
    boto3.client("ecr").create_repository(repositoryName="demo-ml-python")
    compute = json.loads(os.environ["COMPUTE"])
    for each in compute.values():
        each["image"] = f"{ECR}:latest"
    monkeypatch.setenv("COMPUTE", json.dumps(compute))
    return platform


def push(layer: str) -> None:
    kind = "application/vnd.docker.distribution.manifest.v2+json"
    manifest = {"schemaVersion": 2, "mediaType": kind, "config": {}, "layers": [{"digest": layer}]}
    boto3.client("ecr").put_image(
        repositoryName="demo-ml-python", imageManifest=json.dumps(manifest), imageTag="latest"
    )


def test_another_image_under_the_same_tag_makes_another_result(in_ecr: Platform) -> None:
    push("first")
    finished_run(in_ecr, *STAGES)
    assert set(in_ecr.dispatch(pipeline())["reused"]) == set(STAGES)

    push("second")

    assert in_ecr.dispatch(pipeline())["reused"] == {}


def test_an_image_that_was_not_pushed_yet_stands_for_its_name(in_ecr: Platform) -> None:
    finished_run(in_ecr, *STAGES)

    assert set(in_ecr.dispatch(pipeline())["reused"]) == set(STAGES)


def test_images_of_other_accounts_and_pinned_ones_are_not_asked_for(
    platform: Platform, monkeypatch: pytest.MonkeyPatch, failing: Callable[..., list[str]]
) -> None:
    asked = failing("ecr", "DescribeImages", "AccessDeniedException", 400)
    for image in (
        ECR.replace("123456789012", "999999999999") + ":1",
        f"{ECR}@sha256:ab",
        f"{ECR.replace('east', 'west')}:1",
    ):
        compute = json.loads(os.environ["COMPUTE"])
        compute["cpu"]["image"] = compute["gpu"]["image"] = image
        monkeypatch.setenv("COMPUTE", json.dumps(compute))
        assert "jobs" in platform.dispatch(pipeline())

    assert asked == []


def test_a_result_of_a_later_version_is_run_again_and_logged(
    platform: Platform, caplog: pytest.LogCaptureFixture
) -> None:
    first = finished_run(platform, *STAGES)
    key = f"{prefix_of(first, 'train')}job.json"
    report = platform.stored(key)
    platform.put("demo-output", key, report | {"version": 2})
    platform.put("demo-output", f"{prefix_of(first, 'train')}_SUCCESS", b"")

    assert set(platform.dispatch(pipeline())["reused"]) == {"sfm"}

    assert f"result not used: {key} has version 2; this program reads up to version 1" in caplog.text
    assert "terraform apply" in caplog.text
