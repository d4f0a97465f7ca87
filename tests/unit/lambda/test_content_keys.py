"""The dispatcher's content keys are the runner's: tests/events/content_key.json pins both."""

import hashlib
import json
from typing import Any

import boto3
import pytest
from lambda_platform import EVENTS, REGION, Platform

from splatworks.contract.content_keys import content_base, content_key, objects_digest, script_digest

VECTOR = json.loads((EVENTS / "content_key.json").read_text())


def base(**changed: Any) -> str:
    given = {name: value for name, value in VECTOR["base"].items() if name not in ("args", "operation")}
    return content_base(**(given | changed))


def test_the_key_is_the_one_that_the_runner_makes() -> None:
    assert base() == VECTOR["content_base"]
    assert objects_digest(map(tuple, VECTOR["objects"])) == VECTOR["objects_digest"]
    assert content_key(VECTOR["content_base"], VECTOR["parameters"], VECTOR["inputs"]) == VECTOR["content_key"]


def test_the_order_of_a_listing_and_the_quotes_of_an_etag_do_not_matter() -> None:
    script = VECTOR["base"]["script"]

    assert base() == base(script=[(key, f'"{etag}"') for key, etag in reversed(script)])


def test_the_digest_of_the_scripts_is_the_one_that_the_runner_makes() -> None:
    script = VECTOR["base"]["script"]
    canonical = json.dumps(script, sort_keys=True, separators=(",", ":"))

    assert script_digest(map(tuple, script)) == hashlib.sha256(canonical.encode()).hexdigest()
    listed = [("stages/", "d41d8cd98f00b204e9800998ecf8427e"), *((key, f'"{etag}"') for key, etag in reversed(script))]
    assert script_digest(listed) == script_digest(map(tuple, script))
    assert script_digest([*listed, ("stages/new.py", "1")]) != script_digest(listed)


def test_every_stage_is_told_which_scripts_its_key_is_made_of(platform: Platform) -> None:
    message = {"trigger_type": "splat_pipeline", "data": {"input": "photos/my-scene/"}}

    run = platform.stored(platform.dispatch(message)["output"].removeprefix("s3://demo-output/") + "run.json")

    listed = boto3.client("s3", REGION).list_objects_v2(Bucket="demo-input", Prefix="stages/")["Contents"]
    expected = script_digest((each["Key"], each["ETag"]) for each in listed)
    assert [stage["job"]["script_digest"] for stage in run["stages"]] == [expected] * 3


@pytest.mark.parametrize(
    "changed",
    [
        {"script_key": "stages/sfm.py"},
        {"script": [("stages/train.py", "another")]},
        {"image": "sha256:other"},
        {"compute_type": "cpu"},
        {"gpus": 4},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_whatever_changes_the_result_changes_the_base(changed: dict[str, Any]) -> None:
    assert base(**changed) != base()
