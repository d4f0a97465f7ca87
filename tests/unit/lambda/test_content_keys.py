"""The dispatcher's content keys are the runner's: tests/events/content_key.json pins both."""

import json
from typing import Any

import pytest
from content_keys import content_base, content_key, objects_digest
from lambda_platform import EVENTS

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
