"""plan, submit and message refuse a parameter that the dispatcher would refuse, before anything is sent."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Splatworks = Callable[..., Any]

REFUSED = [  # options, the field, what is allowed, what to do
    (["--set", "compress.levels=99"], "data.compress.parameters.levels", "99", "a whole number from 1 to 8"),
    (["--set", "train.sh_degree=9"], "data.train.parameters.sh_degree", "9", "a whole number from 0 to 3 or -1"),
    (["--set", "train.cap_max=-5"], "data.train.parameters.cap_max", "-5", "a whole number from 100 to 100000000 or 0"),
    (["--set", "sfm.quality=ultra"], "data.sfm.parameters.quality", '"ultra"', "one of fast, normal, high"),
    (["--set", "train.antialiased=maybe"], "data.train.parameters.antialiased", '"maybe"', "true or false"),
    (["--sweep", "train.sh_degree=1,9"], "data.sweep.train.sh_degree", "9", "a whole number from 0 to 3 or -1"),
    (["--script", "stages/sfm.py", "--set", "quality=ultra"], "data.parameters.quality", '"ultra"', "one of fast"),
]
MISPLACED = [
    (["--job", "train.max_steps=300"], "data.train.max_steps", "write it as data.train.parameters.max_steps"),
    (["--set", "train.quality=fast"], "data.train.parameters.quality", "write it as data.sfm.parameters.quality"),
    (["--set", "train.timeout_seconds=60"], "data.train.parameters.timeout_seconds", "data.train.timeout_seconds"),
    (["--script", "stages/sfm.py", "--job", "quality=fast"], "data.quality", "write it as data.parameters.quality"),
]


@pytest.mark.parametrize("command", ["plan", "submit", "message"])
@pytest.mark.parametrize(("options", "field", "given", "allowed"), REFUSED)
def test_a_value_out_of_range_is_refused_with_what_is_allowed(
    deployed: Any,
    splatworks: Splatworks,
    photos: Path,
    command: str,
    options: list[str],
    field: str,
    given: str,
    allowed: str,
) -> None:
    before = deployed.keys("demo-input")
    ended = splatworks(command, photos, *options)
    assert (ended.code, ended.out) == (2, ""), ended.err
    assert f"  Field:    {field}\n" in ended.err
    assert f"  Given:    {given}\n" in ended.err
    assert f"  Allowed:  {allowed}" in ended.err
    assert f"  To do:    Give {allowed}" in ended.err
    assert deployed.messages() == []
    assert deployed.keys("demo-input") == before


@pytest.mark.parametrize("command", ["plan", "submit", "message"])
@pytest.mark.parametrize(("options", "field", "place"), MISPLACED)
def test_a_field_at_the_wrong_level_is_answered_with_where_it_belongs(
    deployed: Any, splatworks: Splatworks, photos: Path, command: str, options: list[str], field: str, place: str
) -> None:
    before = deployed.keys("demo-input")
    ended = splatworks(command, photos, *options)
    assert (ended.code, ended.out) == (2, ""), ended.err
    assert f"  Field:    {field}\n" in ended.err
    assert place in ended.err
    assert deployed.messages() == []
    assert deployed.keys("demo-input") == before


@pytest.mark.parametrize(
    ("data", "field", "told"),
    [
        ({"max_steps": 300}, "data.max_steps", "write it as data.train.parameters.max_steps"),
        ({"user": "ann"}, "data.user", "write it as metadata.user"),
        ({"train": {"parameters": {"Sh_Degree": 9}}}, "data.train.parameters.Sh_Degree", "from 0 to 3 or -1"),
    ],
)
def test_a_message_in_a_file_is_checked_alike(
    deployed: Any, splatworks: Splatworks, tmp_path: Path, data: dict[str, Any], field: str, told: str
) -> None:
    file = tmp_path / "message.json"
    file.write_text(json.dumps({"trigger_type": "splat_pipeline", "data": {"input": "photos/a/", **data}}))
    ended = splatworks("plan", "--file", file)
    assert (ended.code, ended.out) == (2, "")
    assert f"  Field:    {field}\n" in ended.err
    assert told in ended.err


@pytest.mark.parametrize("option", ["--set", "--sweep"])
def test_a_parameter_without_its_stage_is_answered_with_the_stage_that_has_it(
    splatworks: Splatworks, option: str
) -> None:
    assert f"Write {option} train.cap_max=1,2." in splatworks("message", "photos/a/", option, "cap_max=1,2").err
    assert "sfm.foo=1 or train.foo=1 or compress.foo=1." in splatworks("message", "photos/a/", option, "foo=1").err
