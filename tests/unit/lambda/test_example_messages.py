"""Every message of examples/messages/ is accepted, and the custom trigger works as its page says."""

import json
from pathlib import Path
from typing import Any

import pytest
from lambda_platform import Platform, environment_of

import dispatcher

ROOT = Path(__file__).parents[3]
MESSAGES = sorted((ROOT / "examples" / "messages").glob("*.json"))
PIPELINES = [path for path in MESSAGES if "splat_pipeline" in path.read_text()]
JOBS = [path for path in MESSAGES if path not in PIPELINES]


@pytest.mark.parametrize("path", JOBS, ids=lambda path: path.stem)
def test_an_example_message_is_submitted_as_it_is(platform: Platform, path: Path) -> None:
    answer = platform.dispatch(path.read_text())

    assert "job_id" in answer, answer
    message = json.loads(path.read_text())
    assert platform.request_document()["message"] == message
    kind = message["data"].get("compute_type", "gpu")
    assert platform.submissions[0]["jobQueue"] == platform.queues[kind]


@pytest.mark.parametrize("path", PIPELINES, ids=lambda path: path.stem)
def test_an_example_of_a_pipeline_is_submitted_as_it_is(platform: Platform, path: Path) -> None:
    for key in ("batch/north/1.jpg", "batch/south.zip", "my-colmap-dataset/sparse/0/cameras.bin"):
        platform.put("demo-input", f"photos/{key}")

    answer = platform.dispatch(path.read_text())

    run = platform.stored(f"{answer['output'].removeprefix('s3://demo-output/')}run.json")
    message = json.loads(path.read_text())
    assert run["message"] == message
    names = ("train", "compress") if message["data"].get("steps") == "train" else ("sfm", "train", "compress")
    assert [sent["jobName"] for sent in platform.submissions] == [f"{answer['run_id']}-{name}" for name in names]
    assert platform.emails() == []


def test_the_examples_cover_what_the_readme_promises() -> None:
    assert {path.stem for path in MESSAGES} >= {
        "array",
        "cleanup_cache",
        "cpu_processing",
        "gpu_four_gpus",
        "gpu_inference",
        "gpu_training",
        "retry_parameters",
        "sfm",
        "splat_pipeline",
        "splat_scenes",
        "splat_sweep",
        "splat_train_only",
    }


def test_four_gpus_are_asked_for_as_the_message_says(platform: Platform) -> None:
    platform.dispatch((ROOT / "examples" / "messages" / "gpu_four_gpus.json").read_text())

    assert platform.submissions[0]["containerOverrides"]["resourceRequirements"] == [
        {"type": "VCPU", "value": "16"},
        {"type": "MEMORY", "value": "65536"},
        {"type": "GPU", "value": "4"},
    ]


@pytest.fixture
def with_custom_trigger(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> Platform:
    monkeypatch.syspath_prepend(ROOT / "examples" / "custom_trigger")
    from photo_check import PhotoCheckTrigger

    monkeypatch.setitem(dispatcher.TRIGGER_REGISTRY, "photo_check", PhotoCheckTrigger)
    return platform


def photo_check(data: dict[str, Any]) -> dict[str, Any]:
    return {"trigger_type": "photo_check", "data": data, "metadata": {"project": "survey"}}


def test_the_custom_trigger_submits_a_cpu_job_over_the_folder(with_custom_trigger: Platform) -> None:
    answer = with_custom_trigger.dispatch(photo_check({"folder": "photos/my-scene/"}))

    (sent,) = with_custom_trigger.submissions
    assert sent["jobQueue"] == with_custom_trigger.queues["cpu"]
    assert environment_of(sent)["STAGE"] == "cpu_processing"
    document = with_custom_trigger.request_document()
    assert document["message"] == photo_check({"folder": "photos/my-scene/"}), "what is run again is what was published"
    assert document["job"]["input"] == ["s3://demo-input/photos/my-scene/"]
    assert answer["job_name"] == sent["jobName"]


@pytest.mark.parametrize("data", [{}, {"folder": 7}, {"folder": "photos/my-scene/", "gpus": 8}])
def test_the_custom_trigger_refuses_what_it_does_not_know(with_custom_trigger: Platform, data: dict[str, Any]) -> None:
    assert "refused" in with_custom_trigger.dispatch(photo_check(data))
    assert with_custom_trigger.submissions == []


def test_the_custom_trigger_is_held_to_the_schema_of_the_job_that_it_makes(with_custom_trigger: Platform) -> None:
    answer = with_custom_trigger.dispatch(photo_check({"folder": ""}))

    assert "data.input" in answer["refused"]


def test_an_unknown_trigger_is_answered_with_the_known_ones(with_custom_trigger: Platform) -> None:
    answer = with_custom_trigger.dispatch({**photo_check({}), "trigger_type": "photo_chek"})

    assert "one of batch_job, splat_pipeline, resume, photo_check" in answer["refused"]
    assert "Did you mean photo_check?" in answer["refused"]
