"""What one attempt was asked for: the `job` of request.json, and what of it belongs to one child of an array."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .failures import RunnerError
from .settings import Settings, own_prefix

REQUEST_VERSION = 1
PARAMETER_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
Scalar = str | int | float | bool
Parameters = dict[str, Scalar]
CARRIED = "sfm"  # the folder of a scene that is read beside a stage's output, as sfm's own is


@dataclass(frozen=True)
class Location:
    base: str  # as the request gives it; its last part names the folder in a layout by_name
    child: str = ""  # "<index>/" where each child of an array reads a folder of its own
    folder: str = ""  # in a layout by_name, where it is not to be the last part of `base`

    @property
    def uri(self) -> str:
        return f"{self.base.rstrip('/')}/{self.child}" if self.child else self.base


@dataclass(frozen=True, kw_only=True)
class Request:
    script_key: str
    checkpoint_prefix: str  # with the array index, ends in "/"
    input: list[Location] = field(default_factory=list)
    input_layout: str = "flat"
    args: list[str] = field(default_factory=list)
    parameters: Parameters = field(default_factory=dict)
    operation: str | None = None
    run_key: str | None = None
    scenes_key: str | None = None
    carried_scenes_key: str | None = None
    input_by_index: list[bool] = field(default_factory=list)
    variants: list[Parameters] = field(default_factory=list)
    content_base: str | None = None
    content_key: str | None = None
    script_digest: str | None = None
    fresh: bool = False
    max_cost_usd: float | None = None

    @classmethod
    def parse(cls, text: bytes, settings: Settings) -> "Request":
        where = f"s3://{settings.output_bucket}/{settings.request_key}"
        job = _Fields(_job(text, where), where)
        request = cls(
            script_key=job.required("script_key", str),
            checkpoint_prefix=own_prefix(job.required("checkpoint_prefix", str), settings.array_index),
            input=[Location(uri) for uri in job.each("input", str)],
            input_layout=job.optional("input_layout", str) or "flat",
            args=job.each("args", str),
            parameters=_checked(job.optional("parameters", dict) or {}, where),
            operation=job.optional("operation", str),
            run_key=job.optional("run_key", str),
            scenes_key=job.optional("scenes_key", str),
            carried_scenes_key=job.optional("carried_scenes_key", str),
            input_by_index=job.each("input_by_index", bool),
            variants=[_checked(each, where) for each in job.each("variants", dict)],
            content_base=job.optional("content_base", str),
            content_key=job.optional("content_key", str),
            script_digest=job.optional("script_digest", str),
            fresh=job.optional("fresh", bool) or False,
            max_cost_usd=job.optional("max_cost_usd", float),
        )
        request._check(where, settings.array_index)
        return request

    def _check(self, where: str, array_index: int | None) -> None:
        if self.input_layout not in ("flat", "by_name"):
            raise bad_request(where, f"has input_layout {self.input_layout!r}; it is `flat` or `by_name`")
        if self.input_by_index and len(self.input_by_index) != len(self.input):
            counts = f"{len(self.input_by_index)} entries in `input_by_index` for {len(self.input)} in `input`"
            raise bad_request(where, f"has {counts}")
        if self.max_cost_usd is not None and not (self.max_cost_usd > 0 and math.isfinite(self.max_cost_usd)):
            raise bad_request(where, f"has max_cost_usd {self.max_cost_usd}; it is a number above 0 or null")
        if array_index is None and (self.list_of_scenes or self.variants or any(self.input_by_index)):
            raise bad_request(where, "is of an array, but AWS_BATCH_JOB_ARRAY_INDEX is not set")

    @property
    def list_of_scenes(self) -> str | None:
        """Its key."""
        return self.scenes_key or self.carried_scenes_key

    def of_child(self, index: int | None, scenes: bytes | None, settings: Settings) -> "Request":
        """With the scene and the variant of this child. `scenes` is what lies at list_of_scenes."""
        if index is None:
            return self
        where = f"s3://{settings.output_bucket}/{settings.request_key}"
        locations = self.input
        if self.input_by_index:
            pairs = zip(self.input, self.input_by_index, strict=True)
            locations = [replace(each, child=f"{index}/") if by_index else each for each, by_index in pairs]
        if self.list_of_scenes:
            scene = _scene(scenes, index, f"s3://{settings.output_bucket}/{self.list_of_scenes}")
            carried = [*(replace(each, folder=CARRIED) for each in scene), *locations]
            locations = scene if self.scenes_key else carried
        variant = _entry(self.variants, index, where, "variants") if self.variants else {}
        layout = "flat" if self.scenes_key else self.input_layout
        return replace(self, input=locations, input_layout=layout, parameters={**self.parameters, **variant})


@dataclass(frozen=True)
class _Fields:
    job: Mapping[str, Any]
    where: str

    def required(self, name: str, kind: type) -> Any:
        value = self.optional(name, kind)
        if value is None:
            raise bad_request(self.where, f"has no {name}")
        return value

    def optional(self, name: str, kind: type) -> Any:
        value = self.job.get(name)
        if value is None or _is(value, kind):
            return value
        raise bad_request(self.where, f"has {name} {value!r}, not a {kind.__name__}")

    def each(self, name: str, kind: type) -> list[Any]:
        values = self.optional(name, list) or []
        if all(_is(value, kind) for value in values):
            return list(values)
        raise bad_request(self.where, f"has an entry in `{name}` that is not a {kind.__name__}")


def bad_request(where: str, what: str) -> RunnerError:
    return RunnerError(
        "bad_request", f"{where} {what}", "The dispatcher writes it: deploy dispatcher and image of the same version"
    )


def _job(text: bytes, where: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except ValueError as error:
        raise bad_request(where, f"is not JSON ({error})") from None
    version = document.get("version") if isinstance(document, dict) else None
    job = document.get("job") if isinstance(document, dict) else None
    if version != REQUEST_VERSION or not isinstance(job, dict):
        raise bad_request(where, f"has version {version!r}; this runner reads version {REQUEST_VERSION} with a `job`")
    return job


def _is(value: Any, kind: type) -> bool:
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, kind)


def _checked(parameters: dict[str, Any], where: str) -> Parameters:
    for name, value in parameters.items():
        if not PARAMETER_NAME.fullmatch(name) or not isinstance(value, Scalar):
            raise bad_request(where, f"has parameter {name!r}; a name has letters, digits and _, a value is a scalar")
    return parameters


def _scene(text: bytes | None, index: int, where: str) -> list[Location]:
    if text is None:
        raise RunnerError("no_scenes", f"{where} does not exist", "Publish the message again: the dispatcher writes it")
    try:
        scenes = json.loads(text)
    except ValueError as error:
        raise bad_request(where, f"is not JSON ({error})") from None
    if not isinstance(scenes, list):
        raise bad_request(where, "is not a list of scenes")
    scene = _entry(scenes, index, where, "scenes")
    found = scene.get("input") if isinstance(scene, dict) else None
    if not (isinstance(found, list) and found and all(isinstance(uri, str) for uri in found)):
        raise bad_request(where, f"has no list of S3 URIs as `input` of entry {index}")
    return [Location(uri) for uri in found]


def _entry(entries: list[Any], index: int, where: str, what: str) -> Any:
    if index < len(entries):
        return entries[index]
    raise RunnerError(
        "no_such_child",
        f"this is child {index} of the array (counted from 0), but {where} has {len(entries)} {what}",
        "Publish the message to submit the array: the dispatcher gives it as many children as there are",
    )
