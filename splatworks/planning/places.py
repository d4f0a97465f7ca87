"""Find the right place for a field of a message that was given at the wrong level."""

from collections.abc import Iterator

from splatworks.contract.message_schema import (
    JOB_FIELDS,
    METADATA_FIELDS,
    STAGE_JOB_FIELDS,
    message_schema,
)
from splatworks.contract.parameters import parameters_of
from splatworks.contract.stage import Stage
from splatworks.contract.stages import STAGES

BATCH_JOB, SPLAT_PIPELINE = "batch_job", "splat_pipeline"
MAX_PLACES = 3


def other_place(name: str, found_in: str, trigger_type: str, script_key: str = "") -> str | None:
    """A sentence that says where `name` belongs, or None if no level knows it.

    `found_in` is the path of the object in which it was found, with a dot at its end: "data.train." or "". `script_key`
    is that of a batch_job: if it names a stage, the parameters of other stages do not count.
    """
    if found_in and name.lower() in message_schema()["properties"]:
        return f"{name} does not belong here: write it at the top level of the message."
    places = [path for path in _places(name.lower(), found_in, trigger_type, script_key) if path != f"{found_in}{name}"]
    if places:
        return f"{name} does not belong here: write it as {' or '.join(_nearby(places, found_in)[:MAX_PLACES])}."
    others = [trigger for trigger in (BATCH_JOB, SPLAT_PIPELINE) if trigger != trigger_type]
    owner = next((trigger for trigger in others if name.lower() in _fields(trigger)), None)
    return f"{name} is a field of trigger_type {owner}: send such a message, or leave {name} out." if owner else None


def _nearby(places: list[str], found_in: str) -> list[str]:
    """A field that was given within a stage belongs to no other stage, if this stage has it."""
    stages = [name for name in found_in.split(".") if name in STAGES]
    prefixes = tuple(f"{folder}{stage}." for stage in stages for folder in ("data.", "data.sweep."))
    return [path for path in places if path.startswith(prefixes)] or places


def _places(name: str, found_in: str, trigger_type: str, script_key: str) -> Iterator[str]:
    if trigger_type != BATCH_JOB:
        yield from _places_in_pipeline(name, found_in)
    if trigger_type != SPLAT_PIPELINE:
        if name in JOB_FIELDS:
            yield f"data.{name}"
        elif any(_has_parameter(stage, name) for stage in _stages_of(script_key)):
            yield f"data.parameters.{name}"
    if name in METADATA_FIELDS:
        yield f"metadata.{name}"


def _places_in_pipeline(name: str, found_in: str) -> Iterator[str]:
    if name in _fields(SPLAT_PIPELINE):
        yield f"data.{name}"
    for stage in STAGES.values():
        if name in STAGE_JOB_FIELDS or name == "compute_type":
            yield f"data.{stage.name}.{name}"
        if _has_parameter(stage, name):
            is_swept = found_in.startswith("data.sweep.") and stage.can_be_swept
            yield f"data.sweep.{stage.name}.{name}" if is_swept else f"data.{stage.name}.parameters.{name}"


def _stages_of(script_key: str) -> list[Stage]:
    stages = list(STAGES.values())
    return [stage for stage in stages if stage.script_key == script_key] or stages


def _has_parameter(stage: Stage, name: str) -> bool:
    parameter = parameters_of(stage.parameters).get(name)
    return parameter is not None and not parameter.is_folder


def _fields(trigger_type: str) -> list[str]:
    return list(message_schema()["definitions"][trigger_type]["properties"])
