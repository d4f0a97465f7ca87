"""Where a field of a message belongs that was given at the wrong level."""

from collections.abc import Iterator

from splatworks.contract.message_schema import (
    JOB_FIELDS,
    METADATA_FIELDS,
    STAGE_JOB_FIELDS,
    message_schema,
)
from splatworks.contract.parameters import parameters_of
from splatworks.contract.stages import STAGES

MAX_PLACES = 3


def other_place(name: str, found_in: str, trigger_type: str) -> str | None:
    """A sentence that says where `name` belongs, or None if no level knows it.

    `found_in` is the path of the object in which it was found, with a dot at its end: "data.train." or "".
    """
    places = [path for path in _places(name.lower(), trigger_type) if path != f"{found_in}{name}"]
    if not places:
        return None
    # A field of a stage given within that stage belongs to no other stage.
    nearby = [path for path in places if found_in and path.startswith(found_in)]
    return f"{name} does not belong here: write it as {' or '.join((nearby or places)[:MAX_PLACES])}."


def _places(name: str, trigger_type: str) -> Iterator[str]:
    if trigger_type == "splat_pipeline":
        yield from (f"data.{name}" for each in _pipeline_fields() if each == name)
        for stage in STAGES.values():
            if name in STAGE_JOB_FIELDS or name == "compute_type":
                yield f"data.{stage.name}.{name}"
            if name in parameters_of(stage.parameters) and not parameters_of(stage.parameters)[name].is_folder:
                yield f"data.{stage.name}.parameters.{name}"
    elif trigger_type == "batch_job":
        if name in JOB_FIELDS:
            yield f"data.{name}"
        elif any(name in parameters_of(stage.parameters) for stage in STAGES.values()):
            yield f"data.parameters.{name}"
    if name in METADATA_FIELDS:
        yield f"metadata.{name}"


def _pipeline_fields() -> list[str]:
    return list(message_schema()["definitions"]["splat_pipeline"]["properties"])
