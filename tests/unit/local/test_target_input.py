"""What a rule hands to its target."""

import json
from typing import Any

import pytest

from local.events.target_input import target_input

EVENT: dict[str, Any] = {
    "detail-type": "Batch Job State Change",
    "detail": {"jobName": 'a "quoted" name', "status": "FAILED", "attempts": [{"container": {"exitCode": 2}}]},
}


def test_a_plain_target_gets_the_whole_event() -> None:
    assert json.loads(target_input({}, EVENT)) == EVENT


def test_a_constant_or_a_part_replaces_the_event() -> None:
    assert target_input({"Input": '{"fixed": true}'}, EVENT) == '{"fixed": true}'
    assert json.loads(target_input({"InputPath": "$.detail.attempts[0].container"}, EVENT)) == {"exitCode": 2}


def test_text_inside_quotes_is_escaped_and_values_outside_are_json() -> None:
    transformer = {
        "InputPathsMap": {"name": "$.detail.jobName", "code": "$.detail.attempts[0].container.exitCode"},
        "InputTemplate": '{"subject": "Job <name> failed", "code": <code>, "name": <name>}',
    }
    filled = json.loads(target_input({"InputTransformer": transformer}, EVENT))
    assert filled == {"subject": 'Job a "quoted" name failed', "code": 2, "name": 'a "quoted" name'}


def test_the_event_itself_and_hyphenated_fields_can_be_put_in() -> None:
    transformer = {
        "InputPathsMap": {"kind": "$.detail-type"},
        "InputTemplate": '{"kind": <kind>, "event": <aws.events.event.json>}',
    }
    filled = json.loads(target_input({"InputTransformer": transformer}, EVENT))
    assert filled == {"kind": "Batch Job State Change", "event": EVENT}


@pytest.mark.parametrize(("template", "expected"), [('"x<gone>y"', '"xy"'), ("<gone>", "null"), ("<other>", "<other>")])
def test_what_the_event_lacks_is_empty_and_what_is_no_variable_stays(template: str, expected: str) -> None:
    transformer = {"InputPathsMap": {"gone": "$.detail.gone"}, "InputTemplate": template}
    assert target_input({"InputTransformer": transformer}, EVENT) == expected
