"""The table of stages: its order, and what every entry must have."""

import re
from dataclasses import dataclass, fields, replace
from typing import Any, get_type_hints

import pytest

from splatworks.contract.message_schema import message_schema
from splatworks.contract.parameters import Parameter, check_parameters, parameters_of
from splatworks.contract.stage import Stage, number
from splatworks.contract.stages import STAGES, ordered, stages_to_run, steps_of, swept_stages

ALL = [(stage, each) for stage in STAGES.values() for each in parameters_of(stage.parameters).values()]
IDS = [f"{stage.name}.{each.name}" for stage, each in ALL]


@dataclass(frozen=True, kw_only=True)
class NoParameters:
    pass


def stage(name: str, *reads: str, **more: Any) -> Stage:
    return Stage(
        name=name,
        title=name,
        image="ml-python-slim",
        compute_type="cpu",
        timeout_seconds=60,
        reads=reads,
        parameters=NoParameters,
        **more,
    )


def table(*stages: Stage) -> dict[str, Stage]:
    return {each.name: each for each in stages}


def test_the_shipped_table() -> None:
    assert list(STAGES) == ["sfm", "train", "compress"]
    assert steps_of() == ("full", "train", "compress")
    assert swept_stages() == ("train", "compress")


def test_each_stage_comes_after_those_that_it_reads() -> None:
    found = ordered(table(stage("a", "z", "m"), stage("m", "z"), stage("z"), stage("b", "a")))
    assert list(found) == ["z", "m", "a", "b"]


@pytest.mark.parametrize(
    ("stages", "named"),
    [
        (table(stage("first"), stage("second", "nonsense")), "second"),
        (table(stage("a", "b"), stage("b", "a"), stage("c")), "a, b"),
        (table(stage("a", "a")), "a"),
    ],
    ids=["unknown", "cycle", "itself"],
)
def test_stages_that_cannot_be_ordered_are_named(stages: dict[str, Stage], named: str) -> None:
    with pytest.raises(ValueError, match=f"not in the table: {named}$"):
        ordered(stages)


def test_reads_name_stages_of_the_table() -> None:
    names = list(STAGES)
    for each in STAGES.values():
        assert all(read in names[: names.index(each.name)] for read in each.reads)


@pytest.mark.parametrize(("stage", "parameter"), ALL, ids=IDS)
def test_every_parameter_has_a_help_text_and_every_number_a_range(stage: Stage, parameter: Parameter) -> None:
    assert parameter.help, f"{stage.name}.{parameter.name} has no comment"
    if parameter.kind in (int, float):
        assert parameter.range is not None
        assert None not in (parameter.range.least, parameter.range.most)


@pytest.mark.parametrize(("stage", "parameter"), ALL, ids=IDS)
def test_every_default_is_allowed(stage: Stage, parameter: Parameter) -> None:
    assert not parameter.required
    if parameter.default is not None:
        assert parameter.read(parameter.default) == parameter.default


@pytest.mark.parametrize("each", STAGES.values(), ids=STAGES)
def test_presets_are_those_of_the_message_and_set_allowed_values(each: Stage) -> None:
    known = message_schema()["definitions"]["splat_pipeline"]["properties"]["preset"]["enum"]
    assert set(each.presets) in (set(), set(known))
    for parameters in each.presets.values():
        check_parameters(each.parameters, each.name, parameters)


@pytest.mark.parametrize("each", STAGES.values(), ids=STAGES)
def test_an_entry_is_complete(each: Stage) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9_]*", each.name)  # it becomes a field, a job's name and a key
    assert each.compute_type in ("cpu", "gpu")
    assert each.image.startswith("ml-python")
    assert each.timeout_seconds >= 60 and each.max_inputs >= 1
    assert each.script_key == f"stages/{each.name}.py"
    assert set(get_type_hints(each.parameters)) == {field.name for field in fields(each.parameters)}


@pytest.mark.parametrize(
    ("data", "names"),
    [
        ({}, ["a", "b"]),
        ({"steps": "b"}, ["b"]),
        ({"extra": {}}, ["a", "b", "extra"]),
        ({"steps": "extra"}, ["extra"]),
        ({"sweep": {"extra": {"n": [1, 2]}}}, ["a", "b", "extra"]),
        ({"steps": "b", "extra": {}}, ["b", "extra"]),
    ],
)
def test_an_optional_stage_runs_if_the_message_has_it(data: dict[str, Any], names: list[str]) -> None:
    stages = ordered(table(stage("a"), stage("b", "a"), stage("extra", "b", optional=True)))
    assert [each.name for each in stages_to_run(data, stages)] == names


def test_the_schema_follows_the_table() -> None:
    more = ordered({**STAGES, "count": stage("count", "compress", can_be_swept=False)})
    pipeline = message_schema(more)["definitions"]["splat_pipeline"]["properties"]
    assert "count" in pipeline and "count" in pipeline["steps"]["enum"]
    assert "count" not in pipeline["sweep"]["properties"]
    swept = message_schema({**more, "count": replace(more["count"], can_be_swept=True)})
    assert "count" in swept["definitions"]["splat_pipeline"]["properties"]["sweep"]["properties"]
    assert message_schema() == message_schema(STAGES)


def test_a_figure_is_text_of_the_metrics_or_none() -> None:
    (figure,) = STAGES["sfm"].figures
    assert figure.of({"registered": 1022, "photos": 2000}) == "1,022 of 2,000 registered"
    assert figure.of({"registered": 22}) is None
    assert figure.of({"registered": True, "photos": "x"}) is None
    (_, loss) = STAGES["compress"].figures
    assert loss.of({"loss_db": 0.1204, "loss_is": "estimated"}) == "0.120 dB by compression, estimated"
    assert loss.of({"loss_db": 0.1204, "loss_is": 5}) == "0.120 dB by compression"


@pytest.mark.parametrize(("value", "found"), [(1, 1), (2.5, 2.5), (True, None), ("3", None), (None, None)])
def test_only_numbers_are_numbers(value: Any, found: float | None) -> None:
    assert number(value) == found
