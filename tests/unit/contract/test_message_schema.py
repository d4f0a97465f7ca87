"""The message's schema: its file, its examples, and the table of stages that it is made from."""

import json
from pathlib import Path
from typing import Any

import fastjsonschema
import pytest

from splatworks.contract.message_schema import message_schema
from splatworks.contract.stages import STAGES

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = sorted((ROOT / "examples" / "messages").glob("*.json"))
validate = fastjsonschema.compile(message_schema())


def test_the_file_is_the_schema() -> None:
    file = ROOT / "modules" / "lambda" / "functions" / "message.schema.json"
    assert json.loads(file.read_text()) == message_schema()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_message_is_valid(path: Path) -> None:
    message = json.loads(path.read_text())
    assert validate(json.loads(path.read_text())) == message, "the schema sets no defaults"


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"trigger_type": "batch_job"},
        {"trigger_type": "batch_job", "data": {}},
        {"trigger_type": "batch_job", "data": {"script_key": "jobs/a.py", "vcpu": 2}},
        {"trigger_type": "batch_job", "data": {"script_key": "jobs/a.py"}, "meta": {}},
        {"trigger_type": "splat_pipeline", "data": {"input": "photos/a/", "stps": "train"}},
        {"trigger_type": "splat_pipeline", "data": {"input": "photos/a/", "steps": "sfm"}},
        {"trigger_type": "splat_pipeline", "data": {"input": "photos/a/", "sweep": {"sfm": {"quality": ["fast"]}}}},
        {"trigger_type": "splat_pipeline", "data": {"input": "photos/a/", "train": {"timeout": 60}}},
    ],
)
def test_what_the_schema_does_not_know_is_refused(message: Any) -> None:
    with pytest.raises(fastjsonschema.JsonSchemaValueException):
        validate(message)


def descriptions(schema: Any) -> list[str]:
    """Paths of fields, a field being an entry of `properties` without a description."""
    without = []
    for name, each in schema.get("properties", {}).items():
        if "$ref" not in each and "description" not in each:
            without.append(name)
    return without + [name for each in schema.get("definitions", {}).values() for name in descriptions(each)]


def test_every_field_says_what_it_allows() -> None:
    assert descriptions(message_schema()) == []


def test_the_message_has_an_object_for_each_stage() -> None:
    pipeline = message_schema()["definitions"]["splat_pipeline"]["properties"]
    assert set(STAGES) <= set(pipeline)
    assert all(pipeline[name] == {"$ref": "#/definitions/stage"} for name in STAGES)
