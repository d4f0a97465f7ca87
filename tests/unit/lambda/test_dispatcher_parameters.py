"""Parameters that are out of range, of a wrong type or at the wrong level: refused before anything is submitted."""

import json
from typing import Any
from uuid import uuid4

import boto3
import pytest
from lambda_platform import Platform

from splatworks.contract.parameters import Parameter, parameters_of
from splatworks.contract.stages import STAGES
from splatworks.planning.pipeline_order import order_stages

PARAMETERS = {
    (stage.name, name): parameter
    for stage in STAGES.values()
    for name, parameter in parameters_of(stage.parameters).items()
    if not parameter.is_folder
}
WRONG_TYPES: dict[type, list[Any]] = {
    int: ["many", 2.5, True, ""],
    float: ["many", True, "nan", "inf"],
    bool: ["maybe", 2, 0.5],
    str: [],  # numbers and booleans become text
}


def pipeline(**data: Any) -> dict[str, Any]:
    return {"trigger_type": "splat_pipeline", "data": {"input": "photos/my-scene/", **data}}


def batch_job(**data: Any) -> dict[str, Any]:
    return {"trigger_type": "batch_job", "data": {"script_key": "stages/sfm.py", **data}}


def step(parameter: Parameter) -> float:
    return 1 if parameter.kind is int else 0.0005


def outside(parameter: Parameter) -> list[Any]:
    """A value below the range and one above it."""
    if parameter.range is None:
        return []
    found = []
    for limit, direction in ((parameter.range.least, -1), (parameter.range.most, 1)):
        if limit is not None:
            value = limit + direction * step(parameter)
            while value in parameter.range:  # -1 next to "from 0" often means: by preset
                value += direction * step(parameter)
            found.append(parameter.kind(value))
    return found


def refused_values(parameter: Parameter) -> list[Any]:
    if parameter.choices:
        return ["no-such-choice", "", str(parameter.choices[0]).swapcase() + "?", 7]
    return [*outside(parameter), *WRONG_TYPES[parameter.kind]]


def allowed_values(parameter: Parameter) -> list[Any]:
    if parameter.choices:
        return list(parameter.choices)
    if parameter.range:
        limits = [parameter.range.least, parameter.range.most, *parameter.range.also]
        return [parameter.kind(value) for value in limits if value is not None]
    return {bool: [True, False, "yes", 0], str: ["any text"]}[parameter.kind]


def refuse(platform: Platform, messages: list[dict[str, Any]]) -> list[dict[str, str]]:
    """The fields of the e-mails; fails if anything was submitted or written."""
    answers = platform.dispatch_all([(message, str(uuid4())) for message in messages])["answers"]
    for message, answer in zip(messages, answers, strict=True):
        assert "refused" in answer, f"{message} was accepted: {answer}"
    assert platform.submissions == []
    assert boto3.client("s3").list_objects_v2(Bucket="demo-output")["KeyCount"] == 0
    letters = [json.loads(letter["Body"]) for letter in platform.dead_letters()]
    assert sorted(map(json.dumps, letters)) == sorted(map(json.dumps, messages))
    bodies = [body for _, body in platform.emails()]
    assert len(bodies) == len(messages)
    return [dict(line.split(":", 1) for line in body.splitlines()[2:6]) for body in bodies]


def in_email(value: Any) -> str:
    return json.dumps(value)


@pytest.mark.parametrize(("stage", "name"), PARAMETERS)
def test_every_parameter_is_refused_out_of_its_range_with_what_is_allowed(
    shared_platform: Platform, stage: str, name: str
) -> None:
    parameter = PARAMETERS[stage, name]
    wrong = refused_values(parameter)

    emails = refuse(shared_platform, [pipeline(**{stage: {"parameters": {name: value}}}) for value in wrong] or [NULL])

    for email in emails if wrong else ():
        assert email["Field"].strip() == f"data.{stage}.parameters.{name}"
        assert email["Allowed"].strip() == parameter.allowed
        assert email["To do"].strip() == f"Give {parameter.allowed}."
    assert sorted(email["Given"].strip() for email in emails) == sorted(in_email(value) for value in wrong or [None])


NULL = pipeline(compress={"parameters": {"title": None}})  # for text, which takes any scalar


@pytest.mark.parametrize(("stage", "name"), PARAMETERS)
def test_sweeps_and_jobs_of_a_stages_script_are_checked_alike(shared_platform: Platform, stage: str, name: str) -> None:
    parameter = PARAMETERS[stage, name]
    wrong = (refused_values(parameter) or [None])[0]
    job = batch_job(script_key=f"stages/{stage}.py", parameters={name: wrong})
    sweep = pipeline(sweep={stage: {name: [allowed_values(parameter)[0], wrong]}})

    emails = refuse(shared_platform, [job, sweep])

    fields = sorted(email["Field"].strip() for email in emails)
    assert fields[0] == f"data.parameters.{name}"
    swept = f"data.sweep.{stage}.{name}{'[1]' if wrong is None else ''}"
    assert fields[1] == (swept if STAGES[stage].can_be_swept else f"data.sweep.{stage}")


@pytest.mark.parametrize(("stage", "name"), PARAMETERS)
def test_the_ends_of_every_range_and_every_choice_are_allowed(stage: str, name: str) -> None:
    for value in allowed_values(PARAMETERS[stage, name]):
        (order,) = [
            each
            for each in order_stages(pipeline(**{stage: {"parameters": {name: value}}})["data"])
            if each.name == stage
        ]
        assert order.parameters == {name: value}


WRONG_PLACES: list[tuple[dict[str, Any], str, str]] = [  # the message, the field named, the place that is proposed
    (pipeline(max_steps=3), "data.max_steps", "data.train.parameters.max_steps"),
    (pipeline(train={"max_steps": 3}), "data.train.max_steps", "data.train.parameters.max_steps"),
    (pipeline(Max_Steps=3), "data.Max_Steps", "data.train.parameters.max_steps"),
    (pipeline(train={"Max_Steps": 3}), "data.train.Max_Steps", "data.train.parameters.max_steps"),
    (
        pipeline(train={"parameters": {"timeout_seconds": 60}}),
        "data.train.parameters.timeout_seconds",
        "data.train.timeout_seconds",
    ),
    (pipeline(train={"parameters": {"VCPUs": 8}}), "data.train.parameters.VCPUs", "data.train.vcpus"),
    (
        pipeline(train={"parameters": {"quality": "fast"}}),
        "data.train.parameters.quality",
        "data.sfm.parameters.quality",
    ),
    (pipeline(train={"priority": 3}), "data.train.priority", "data.priority"),
    (pipeline(compress={"parameters": {"fresh": True}}), "data.compress.parameters.fresh", "data.fresh"),
    (
        pipeline(parameters={"max_steps": 3}),
        "data.parameters",
        "data.sfm.parameters or data.train.parameters or data.compress.parameters",
    ),
    (pipeline(vcpus=8), "data.vcpus", "data.sfm.vcpus or data.train.vcpus or data.compress.vcpus"),
    (pipeline(user="ann"), "data.user", "metadata.user"),
    (pipeline(train={"parameters": {"project": "x"}}), "data.train.parameters.project", "metadata.project"),
    ({**pipeline(), "metadata": {"steps": "train"}}, "metadata.steps", "data.steps"),
    ({**pipeline(), "metadata": {"cap_max": 5000}}, "metadata.cap_max", "data.train.parameters.cap_max"),
    ({**pipeline(), "metadata": {"User": "ann"}}, "metadata.User", "metadata.user"),
    ({**pipeline(), "job_name": "x"}, "job_name", "data.job_name"),
    ({**batch_job(), "job_name": "x"}, "job_name", "data.job_name"),
    (pipeline(sweep={"max_steps": [1, 2]}), "data.sweep.max_steps", "data.sweep.train.max_steps"),
    (pipeline(sweep={"train": {"levels": [1, 2]}}), "data.sweep.train.levels", "data.sweep.compress.levels"),
    (
        pipeline(sweep={"train": {"quality": ["fast", "high"]}}),
        "data.sweep.train.quality",
        "data.sfm.parameters.quality",
    ),
    (batch_job(quality="fast"), "data.quality", "data.parameters.quality"),
    (batch_job(Quality="fast"), "data.Quality", "data.parameters.quality"),
    (batch_job(parameters={"timeout_seconds": 60}), "data.parameters.timeout_seconds", "data.timeout_seconds"),
    (batch_job(experiment="x"), "data.experiment", "metadata.experiment"),
    ({"data": {}, "user": "ann"}, "user", "metadata.user"),
    ({"data": {}, "steps": "train"}, "steps", "data.steps"),
    ({"trigger_type": "splat_pipelin", "data": {}, "user": "ann"}, "user", "metadata.user"),
    ({"trigger_type": "splat_pipelin", "data": {}, "script_key": "jobs/x.py"}, "script_key", "data.script_key"),
]


@pytest.mark.parametrize(
    ("message", "field", "place"), WRONG_PLACES, ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_field_at_the_wrong_level_is_answered_with_where_it_belongs(
    shared_platform: Platform, message: dict[str, Any], field: str, place: str
) -> None:
    (email,) = refuse(shared_platform, [message])

    name = field.rpartition(".")[2]
    assert email["Field"].strip() == field
    assert email["To do"].strip() == f"{name} does not belong here: write it as {place}."
    assert email["Given"].strip()
    assert email["Allowed"].strip()


@pytest.mark.parametrize(
    ("message", "field", "fix"),
    [
        (pipeline(metadata={"user": "ann"}), "data.metadata", "at the top level of the message"),
        (pipeline(script_key="jobs/x.py"), "data.script_key", "is a field of trigger_type batch_job"),
        (batch_job(steps="train"), "data.steps", "is a field of trigger_type splat_pipeline"),
        (batch_job(levels=3), "data.levels", 'There is no field "levels"'),  # not of this script
        (
            pipeline(sweep={"train": {"cap_max": ["200000", 200000]}}),
            "data.sweep.train.cap_max",
            "Leave one of them out",
        ),
        (pipeline(sweep={"train": {"sky": [True, "Yes"]}}), "data.sweep.train.sky", "Leave one of them out"),
        (batch_job(args=["--qualty", "fast"]), "data.args", "Did you mean --quality?"),
        (batch_job(args=["--quality", "ultra"]), "data.args", "Give one of fast, normal, high."),
        (batch_job(parameters={"qualty": "fast"}), "data.parameters.qualty", "Did you mean quality?"),
        (batch_job(parameters={"max_steps": 3}), "data.parameters.max_steps", "sfm has no parameter max_steps"),
        (
            pipeline(sfm={"parameters": {"Quality": "ultra"}}),
            "data.sfm.parameters.Quality",
            "one of fast, normal, high",
        ),
        (pipeline(compress={"parameters": {"levels": 99}}), "data.compress.parameters.levels", "from 1 to 8"),
        (pipeline(train={"parameters": {"sh_degree": 9}}), "data.train.parameters.sh_degree", "from 0 to 3 or -1"),
        (
            pipeline(train={"parameters": {"cap_max": -5}}),
            "data.train.parameters.cap_max",
            "from 100 to 100000000 or 0",
        ),
        (
            pipeline(sfm={"parameters": {"quality": "ultra"}}),
            "data.sfm.parameters.quality",
            "one of fast, normal, high",
        ),
        ({"data": {"user": "ann"}}, "trigger_type", "Add trigger_type"),
    ],
)
def test_other_answers_say_what_to_do(shared_platform: Platform, message: dict[str, Any], field: str, fix: str) -> None:
    (email,) = refuse(shared_platform, [message])

    assert email["Field"].strip() == field
    assert fix in email["To do"]
