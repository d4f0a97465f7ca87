"""The tables of the docs that are made from the contract, by name."""

import dataclasses
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from splatworks.contract import keys
from splatworks.contract.comments import comments_of
from splatworks.contract.documents.job import ENDED, JobReport
from splatworks.contract.documents.progress import ProgressDocument
from splatworks.contract.documents.request import JobRequest, RequestDocument
from splatworks.contract.documents.result import ResultDocument
from splatworks.contract.documents.run import RunDocument
from splatworks.contract.documents.scenes import SceneEntry
from splatworks.contract.environment import SCRIPT_VARIABLES
from splatworks.contract.exit_codes import FINAL, ContainerCode, ExitCode
from splatworks.contract.failures import Failure
from splatworks.contract.message_defaults import JOB_DEFAULTS, NONE, PIPELINE_DEFAULTS, STAGE_DEFAULT
from splatworks.contract.message_schema import Schema, message_schema
from splatworks.contract.objects import PLACES
from splatworks.contract.parameters import Parameter, parameters_of
from splatworks.contract.stage import Stage
from splatworks.contract.stages import STAGES

WORDS = {bool: "true or false", int: "whole number", float: "number", str: "text", dict: "object", Any: "any value"}
OWN_TABLE = (JobRequest, Failure)  # types that several documents hold

Row = Sequence[str]


def message_table() -> str:
    schema = message_schema()
    rows = [(_code(name), _default(name, schema), each["description"]) for name, each in schema["properties"].items()]
    return table(("field", "default", "value"), rows)


def metadata_table() -> str:
    schema = message_schema()
    names = schema["properties"]["metadata"]["properties"]
    return table(
        ("field of `metadata`", "value"),
        [(_code(name), schema["definitions"]["label"]["description"]) for name in names],
    )


def batch_job_table() -> str:
    return _data_table("batch_job", JOB_DEFAULTS)


def splat_pipeline_table() -> str:
    """The stages share one row: their objects have the same fields."""
    return _data_table("splat_pipeline", PIPELINE_DEFAULTS)


def stage_table() -> str:
    """The fields of a stage's object; the defaults are those of the stages or of Terraform."""
    schema = message_schema()
    rows = []
    for name, each in schema["definitions"]["stage"]["properties"].items():
        default = {
            "compute_type": _per_stage(lambda stage: stage.compute_type),
            "timeout_seconds": _per_stage(lambda stage: str(stage.timeout_seconds)),
        }.get(name, JOB_DEFAULTS[name])
        rows.append((_code(name), default, resolve(each, schema)["description"]))
    return table(("field of a stage", "default", "value"), rows)


def stages_table() -> str:
    rows = []
    for stage in STAGES.values():
        reads = ", ".join(map(_code, stage.reads)) or "the photos of the message"
        limit = f"{stage.timeout_seconds // 3600} h"
        sweep = "yes" if stage.can_be_swept else "no"
        rows.append((_code(stage.name), stage.title, reads, stage.compute_type, _code(stage.image), limit, sweep))
    return table(("stage", "title", "reads", "runs on", "image", "time limit", "can be swept"), rows)


def parameters_table(stage: Stage) -> str:
    rows = [
        (_code(each.name), each.allowed, _default_of(each), each.help)
        for each in parameters_of(stage.parameters).values()
        if not each.is_folder
    ]
    return table(("parameter", "value", "default", "meaning"), rows)


def environment_table() -> str:
    rows = [(_code(name), each.set_by, each.meaning) for name, each in SCRIPT_VARIABLES.items()]
    return table(("variable", "set by", "meaning"), rows)


def exit_codes_table() -> str:
    comments = comments_of(ExitCode)
    return table(
        ("code", "name", "meaning"), [(str(int(each)), _code(each.name), comments[each.name]) for each in ExitCode]
    )


def container_codes_table() -> str:
    """Return the table of the container's exit codes; a test compares it with the retry rules."""
    comments = comments_of(ContainerCode)
    rows = [(str(int(each)), _code(each.name), comments[each.name], _retried(each)) for each in ContainerCode]
    rows.append(("others", "", "the container was stopped from outside, or the runner crashed", "yes"))
    return table(("container's code", "name", "meaning", "retried"), rows)


def _retried(code: ContainerCode) -> str:
    return "no" if code in FINAL or code == ContainerCode.DONE else "yes"


def ended_table() -> str:
    return table(("`ended`", "meaning"), [(_code(name), meaning) for name, meaning in ENDED.items()])


def objects_table() -> str:
    rows = [(each.bucket, _code(each.prefix), each.holds, each.written_by) for each in PLACES]
    return table(("bucket", "prefix", "holds", "written by"), rows)


def document_table(kind: type) -> str:
    return table(("field", "type", "meaning"), list(document_rows(kind)))


def document_rows(kind: type, path: str = "") -> Iterator[Row]:
    """A row per field; the fields of an object in it follow as `object.field`, those of a list as `list[].field`.

    A type with a table of its own has no rows here.
    """
    hints, comments = typing.get_type_hints(kind), comments_of(kind)
    for field in dataclasses.fields(kind):
        name = f"{path}{field.name}"
        if not comments[field.name]:
            raise SystemExit(f"{kind.__module__}: {kind.__name__}.{field.name} has no comment; the docs show it")
        inner, is_list = _dataclass_in(hints[field.name])
        yield _code(name), type_in_words(hints[field.name]), comments[field.name]
        if inner is not None and inner not in OWN_TABLE:
            yield from document_rows(inner, f"{name}[]." if is_list else f"{name}.")


def failure_table() -> str:
    return table(("field of `error`", "type", "meaning"), list(document_rows(Failure)))


def type_in_words(hint: Any) -> str:
    if isinstance(hint, types.UnionType):
        (kind,) = (part for part in typing.get_args(hint) if part is not type(None))
        return f"{type_in_words(kind)} or null"
    origin = typing.get_origin(hint) or hint
    if origin is tuple:
        return f"list of {_plural(type_in_words(typing.get_args(hint)[0]))}"
    if dataclasses.is_dataclass(origin):
        return "object"
    return WORDS[origin]


def table(header: Row, rows: Sequence[Row]) -> str:
    lines = [header, tuple("---" for _ in header), *(tuple(map(_cell, row)) for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def resolve(definition: Schema, schema: Schema) -> Schema:
    """Follow `$ref` within the schema."""
    while "$ref" in definition:
        found = schema
        for part in definition["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        definition = found
    return definition


def _data_table(name: str, defaults: Mapping[str, str]) -> str:
    schema = message_schema()
    rows: list[Row] = []
    for field, definition in schema["definitions"][name]["properties"].items():
        if field in STAGES and name != "batch_job":
            continue
        rows.append((_code(field), defaults[field], resolve(definition, schema)["description"]))
    if name != "batch_job":
        value = f"per stage: {schema['definitions']['stage']['description']}"
        rows.insert(4, (", ".join(map(_code, STAGES)), STAGE_DEFAULT, value))
    return table(("field of `data`", "default", "value"), rows)


def _default(name: str, schema: Schema) -> str:
    return "required" if name in schema["required"] else NONE


def _per_stage(value: Callable[[Stage], str]) -> str:
    return ", ".join(f"{stage.name} `{value(stage)}`" for stage in STAGES.values())


def _default_of(parameter: Parameter) -> str:
    if parameter.default in ("", None):
        return NONE
    text = str(parameter.default)
    return _code(text.lower() if isinstance(parameter.default, bool) else text)


def _dataclass_in(hint: Any) -> tuple[type | None, bool]:
    """The dataclass that a field holds, if it does, and whether it holds a list of them."""
    for part in (hint, *typing.get_args(hint)):
        if dataclasses.is_dataclass(part) and isinstance(part, type):
            return part, typing.get_origin(hint) is tuple
    return None, False


def _cell(text: str) -> str:
    """A pipe would end the cell, and Markdown reads <name> as HTML unless it is code."""
    parts = text.replace("|", r"\|").split("`")
    return "`".join(part if index % 2 else part.replace("<", "&lt;") for index, part in enumerate(parts))


def _plural(words: str) -> str:
    return {"true or false": "booleans"}.get(words, f"{words}s")


def _code(text: str) -> str:
    return f"`{text}`"


TABLES: Mapping[str, Callable[[], str]] = {
    "message": message_table,
    "metadata": metadata_table,
    "batch_job": batch_job_table,
    "splat_pipeline": splat_pipeline_table,
    "stage": stage_table,
    "stages": stages_table,
    **{f"parameters of {stage.name}": lambda stage=stage: parameters_table(stage) for stage in STAGES.values()},  # type: ignore[misc]
    "environment": environment_table,
    "exit codes": exit_codes_table,
    "container codes": container_codes_table,
    "ended": ended_table,
    "objects": objects_table,
    keys.REQUEST: lambda: document_table(RequestDocument),
    f"job of {keys.REQUEST}": lambda: document_table(JobRequest),
    keys.RUN: lambda: document_table(RunDocument),
    keys.JOB: lambda: document_table(JobReport),
    keys.RESULT: lambda: document_table(ResultDocument),
    keys.PROGRESS: lambda: document_table(ProgressDocument),
    keys.SCENES: lambda: document_table(SceneEntry),
    "failure": failure_table,
}
