"""What a splat_pipeline may ask for depends on the machines there are and on what lies in the buckets."""

import json
import os
from typing import Any

import boto3
import pytest
from lambda_platform import Platform

from splatworks.lookup import scenes as pipeline_scenes
from splatworks.lookup import sources as pipeline_sources


def pipeline(**data: Any) -> dict[str, Any]:
    return {"trigger_type": "splat_pipeline", "data": {"input": "photos/my-scene/", **data}}


def test_sizes_that_fit_one_machine_together_are_accepted_and_others_are_not(platform: Platform) -> None:
    fitting = {"vcpus": 48, "memory": 188_000, "gpus": 4}

    assert "jobs" in platform.dispatch(pipeline(train=fitting))
    assert "c7i.4xlarge" in platform.dispatch(pipeline(sfm={"vcpus": 16, "memory": 30_001}))["refused"]


def test_a_stage_whose_script_is_not_in_the_bucket_is_refused(platform: Platform) -> None:
    boto3.client("s3").delete_object(Bucket="demo-input", Key="stages/compress.py")

    answer = platform.dispatch(pipeline())

    assert "stages/compress.py" in answer["refused"]
    assert "terraform apply" in answer["refused"]


def test_a_limit_of_cost_is_refused_where_machines_are_on_demand(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute = json.loads(os.environ["COMPUTE"])
    compute["gpu"]["on_demand_queue"] = compute["gpu"]["queue"]
    monkeypatch.setenv("COMPUTE", json.dumps(compute))

    answer = platform.dispatch(pipeline(max_cost_usd=2))

    assert "data.max_cost_usd" in answer["refused"]
    assert "the gpu machines of this platform are not spot machines" in answer["refused"]


def test_a_list_too_large_to_read_is_refused(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline_scenes, "MOST_BYTES", 30)
    platform.put("demo-input", "lists/large.json", ["photos/my-scene/"] * 2)

    assert (
        "at most 30 bytes"
        in platform.dispatch({"trigger_type": "splat_pipeline", "data": {"inputs": "lists/large.json"}})["refused"]
    )


def test_a_scene_of_too_many_objects_is_refused(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline_sources, "MOST_OBJECTS", 2)
    for photo in range(2, 4):
        platform.put("demo-input", f"photos/my-scene/{photo}.jpg")

    assert "at most 2 objects" in platform.dispatch(pipeline())["refused"]


def test_the_limit_of_objects_is_for_all_places_of_a_scene_together(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline_sources, "MOST_OBJECTS", 3)
    for photo in range(2):
        platform.put("demo-input", f"photos/harbour/{photo}.jpg")

    refused = platform.dispatch(pipeline(input=["photos/my-scene/", "photos/harbour/"]))["refused"]

    assert "at most 3 objects" in refused
