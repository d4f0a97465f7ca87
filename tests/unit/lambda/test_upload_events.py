"""An upload starts the pipeline as a message would, and is refused as a message would be."""

import json
import re
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from lambda_platform import Context, Platform, saved_event

import dispatcher
from dispatch.uploads import started_location

READY = "photos/my-scene/_READY"


def uploaded(key: str = READY, sequencer: str = "01") -> list[dict[str, Any]]:
    """The dispatcher's answers to the event of an upload."""
    event = saved_event("object_created")
    event["detail"]["object"] |= {"key": key, "sequencer": sequencer}
    answers: list[dict[str, Any]] = dispatcher.handler(event, Context())["answers"]
    return answers


def first_job(platform: Platform, answer: dict[str, Any]) -> dict[str, Any]:
    job: dict[str, Any] = platform.stored(f"{answer['output'].removeprefix('s3://demo-output/')}sfm/request.json")
    return job


def test_ready_starts_the_pipeline_on_its_folder(platform: Platform) -> None:
    (answer,) = uploaded()

    assert [sent["jobName"] for sent in platform.submissions] == [
        f"{answer['run_id']}-{stage}" for stage in ("sfm", "train", "compress")
    ]
    document = first_job(platform, answer)
    assert document["job"]["input"] == ["s3://demo-input/photos/my-scene/"]
    assert document["message"] == {
        "trigger_type": "splat_pipeline",
        "data": {"input": "s3://demo-input/photos/my-scene/"},
    }
    assert answer["run_id"].startswith("my-scene-")


@pytest.mark.parametrize("name", ["harbour.zip", "harbour.ZIP"])
def test_a_zip_starts_the_pipeline_on_itself_with_the_options_beside_it(platform: Platform, name: str) -> None:
    platform.put("demo-input", f"photos/{name}")
    platform.put("demo-input", "photos/harbour.pipeline.json", {"preset": "draft"})

    (answer,) = uploaded(f"photos/{name}")

    document = first_job(platform, answer)
    assert document["job"]["input"] == [f"s3://demo-input/photos/{name}"]
    assert document["job"]["parameters"] == {"quality": "fast"}
    assert re.fullmatch(r"harbour-[0-9a-f]{12}", answer["run_id"])


def test_options_and_labels_come_from_pipeline_json(platform: Platform) -> None:
    options = {"preset": "high", "job_name": "pier", "metadata": {"project": "harbour"}}
    platform.put("demo-input", "photos/my-scene/pipeline.json", options)

    (answer,) = uploaded()

    assert answer["output"].startswith("s3://demo-output/runs/harbour/pier-")
    assert first_job(platform, answer)["job"]["parameters"] == {"quality": "high"}
    assert platform.submissions[0]["tags"]["project"] == "harbour"


def test_the_same_event_delivered_twice_starts_one_chain_and_a_new_upload_another(platform: Platform) -> None:
    assert uploaded() == uploaded()
    assert len(platform.submissions) == 3

    uploaded(sequencer="02")

    assert len(platform.submissions) == 6


@pytest.mark.parametrize(
    ("key", "location"),
    [
        ("photos/a/_READY", "photos/a/"),
        ("photos/a/b/_READY", "photos/a/b/"),
        ("photos/a.zip", "photos/a.zip"),
        ("photos/A.ZIP", "photos/A.ZIP"),
        ("photos/a.Zip", "photos/a.Zip"),
        ("photos/.ZIP", None),
        ("photos/azip", None),
        ("photos/a/b.zip", None),
        ("photos/_READY", None),
        ("_READY", None),
        ("photos/a/NOT_READY", None),
        ("photos/a/_READY/1.jpg", None),
        ("photos/a/1.jpg", None),
        ("photos/.zip", None),
        ("jobs/code.zip", None),
        ("stages/_READY", None),
    ],
)
def test_only_ready_files_and_zips_below_photos_start_something(key: str, location: str | None) -> None:
    assert started_location(key) == location


@pytest.mark.parametrize(
    "change",
    [
        {"detail-type": "Object Deleted"},
        {"source": "aws.batch"},
    ],
)
def test_other_events_are_none_of_ours(platform: Platform, change: dict[str, str]) -> None:
    assert dispatcher.handler({**saved_event("object_created"), **change}, Context()) == {"answers": []}
    assert platform.submissions == []


BAD: list[tuple[Any, str, str]] = [  # pipeline.json, the field named, words of the e-mail
    (b"{", "pipeline.json", "line 1 column 2"),
    (b"[]", "pipeline.json", "one JSON object"),
    (b'{"preset": "draft", "preset": "high"}', "pipeline.json", "Remove one of the two"),
    ('{"job_name": "Höhe"}'.encode("latin-1"), "pipeline.json", "UTF-8"),
    (b" " * 200_001, "pipeline.json", "at most 200000 bytes"),
    ({"input": "photos/other/"}, "pipeline.json", "Leave input out"),
    ({"inputs": "photos/"}, "pipeline.json", "Leave inputs out"),
    ({"request_id": "x"}, "pipeline.json", "Leave request_id out"),
    ({"preest": "draft"}, "data.preest", "Did you mean preset?"),
    ({"train": {"gpus": 8}}, "data.train.gpus", "4 GPUs"),
    ({"metadata": "demo"}, "metadata", "user, project and experiment"),
]


@pytest.mark.parametrize(("options", "field", "words"), BAD, ids=[f"{i}-{each[1]}" for i, each in enumerate(BAD)])
def test_a_bad_pipeline_json_is_refused_kept_and_explained(
    platform: Platform, options: Any, field: str, words: str
) -> None:
    platform.put("demo-input", "photos/my-scene/pipeline.json", options)

    (answer,) = uploaded()

    assert "refused" in answer
    assert platform.submissions == []
    subject, body = platform.email()
    assert subject == f"[demo] Message refused: {field}"
    assert words in body
    assert "s3://demo-input/photos/my-scene/pipeline.json" in body
    assert "aws s3 cp s3://demo-input/photos/my-scene/_READY s3://demo-input/photos/my-scene/_READY" in body
    (letter,) = platform.dead_letters()
    assert letter["MessageAttributes"]["upload"]["StringValue"] == "s3://demo-input/photos/my-scene/_READY"
    if isinstance(options, dict) and field != "pipeline.json":
        assert json.loads(letter["Body"])["data"]["input"] == "s3://demo-input/photos/my-scene/"


def test_a_folder_with_nothing_but_ready_and_options_in_it_is_refused(platform: Platform) -> None:
    platform.put("demo-input", "photos/bare/_READY", b"")
    platform.put("demo-input", "photos/bare/pipeline.json", {"preset": "draft"})

    (answer,) = uploaded("photos/bare/_READY")

    assert "Nothing is there" in answer["refused"]


def test_other_options_do_not_make_other_photos(platform: Platform) -> None:
    platform.put("demo-input", READY, b"")
    platform.put("demo-input", "photos/my-scene/pipeline.json", {"train": {"parameters": {"seed": 1}}})
    first = first_job(platform, uploaded()[0])
    platform.put("demo-input", "photos/my-scene/pipeline.json", {"train": {"parameters": {"seed": 2}}})

    second = first_job(platform, uploaded(sequencer="02")[0])

    assert first["job"]["content_key"] == second["job"]["content_key"]


def test_a_folder_that_cannot_be_a_folder_is_refused(platform: Platform) -> None:
    (answer,) = uploaded("photos/a//_READY")

    assert "empty part" in answer["refused"]


def test_a_fault_while_reading_the_options_is_tried_again(
    platform: Platform, failing: Callable[[str, str, str, int], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    failing("s3", "GetObject", "SlowDown", 503)

    with pytest.raises(ClientError, match="SlowDown"):
        uploaded()
    assert platform.emails() == []
    assert boto3.client("s3").list_objects_v2(Bucket="demo-output")["KeyCount"] == 0
