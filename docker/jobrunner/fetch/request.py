"""The request of one job as one child of its array sees it: its scene, its variant, its locations."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from jobrunner.failures import RunnerError
from jobrunner.settings import Settings
from jobrunner.store import Store
from splatworks.contract.documents.codec import PUSH_THE_IMAGE, DocumentError
from splatworks.contract.documents.request import CARRIED_FOLDER, FLAT, JobRequest, read_request
from splatworks.contract.documents.scenes import read_scenes
from splatworks.contract.keys import child_prefix

T = TypeVar("T")

PARAMETER_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
Scalar = str | int | float | bool


@dataclass(frozen=True)
class Location:
    base: str  # as the request gives it; its last part names the folder in a layout by_name
    child: str = ""  # "<index>/" if each child of an array reads a folder of its own
    folder: str = ""  # in a layout by_name, if it is not the last part of `base`

    @property
    def uri(self) -> str:
        return f"{self.base.rstrip('/')}/{self.child}" if self.child else self.base


@dataclass(frozen=True, kw_only=True)
class ChildRequest:
    job: JobRequest  # with this child's parameters, layout and checkpoint prefix
    inputs: tuple[Location, ...]  # in place of the job's `input`


def read_child_request(settings: Settings, store: Store) -> ChildRequest:
    """Read request.json, and scenes.json if it names one. Raises RunnerError or DocumentError."""
    bucket, where = settings.output_bucket, f"s3://{settings.output_bucket}/{settings.request_key}"
    text = store.read(bucket, settings.request_key)
    if text is None:
        fix = "Submit jobs by publishing a message to the trigger topic"
        raise RunnerError("no_request", f"{where} does not exist", fix)
    job = read_request(text, where, PUSH_THE_IMAGE).job
    _check(job, where, settings.array_index)
    scenes_key = _scenes_key(job)
    scenes = store.read(bucket, scenes_key) if scenes_key and settings.array_index is not None else None
    return of_child(job, scenes, settings)


def of_child(job: JobRequest, scenes: bytes | None, settings: Settings) -> ChildRequest:
    """`scenes` is the content of scenes.json, if the job names one."""
    index, where = settings.array_index, f"s3://{settings.output_bucket}/{settings.request_key}"
    job = replace(job, checkpoint_prefix=child_prefix(job.checkpoint_prefix, index))
    if index is None:
        return ChildRequest(job=job, inputs=tuple(Location(uri) for uri in job.input))
    variant = _entry(job.variants, index, where, "variants") if job.variants else {}
    return ChildRequest(
        job=replace(
            job,
            parameters={**job.parameters, **variant},
            input_layout=FLAT if job.scenes_key else job.input_layout,
        ),
        inputs=_inputs(job, index, scenes, settings),
    )


def _inputs(job: JobRequest, index: int, scenes: bytes | None, settings: Settings) -> tuple[Location, ...]:
    by_index = job.input_by_index or (False,) * len(job.input)
    named = tuple(
        Location(uri, child=f"{index}/" if is_by_index else "")
        for uri, is_by_index in zip(job.input, by_index, strict=True)
    )
    scenes_key = _scenes_key(job)
    if not scenes_key:
        return named
    scene = _scene(scenes, index, f"s3://{settings.output_bucket}/{scenes_key}")
    if job.scenes_key:
        return tuple(Location(uri) for uri in scene)
    return (*(Location(uri, folder=CARRIED_FOLDER) for uri in scene), *named)


def _scenes_key(job: JobRequest) -> str | None:
    return job.scenes_key or job.carried_scenes_key


def _check(job: JobRequest, where: str, array_index: int | None) -> None:
    for parameters in (job.parameters, *(job.variants or ())):
        _check_parameters(parameters, where)
    if job.max_cost_usd is not None and not job.max_cost_usd > 0:
        raise DocumentError(where, f"has max_cost_usd {job.max_cost_usd}; it is a number above 0 or null")
    if array_index is None and (_scenes_key(job) or job.variants or any(job.input_by_index)):
        raise DocumentError(where, "is of an array, but AWS_BATCH_JOB_ARRAY_INDEX is not set")


def _check_parameters(parameters: dict[str, Any], where: str) -> None:
    for name, value in parameters.items():
        if not PARAMETER_NAME.fullmatch(name) or not isinstance(value, Scalar):
            raise DocumentError(where, f"has parameter {name!r}; a name has letters, digits and _, a value is a scalar")


def _scene(text: bytes | None, index: int, where: str) -> tuple[str, ...]:
    if text is None:
        raise RunnerError("no_scenes", f"{where} does not exist", "Publish the message again: the dispatcher writes it")
    return _entry(read_scenes(text, where, PUSH_THE_IMAGE), index, where, "scenes").input


def _entry(entries: Sequence[T], index: int, where: str, kind: str) -> T:
    if index < len(entries):
        return entries[index]
    raise RunnerError(
        "no_such_child",
        f"this is child {index} of the array (counted from 0), but {where} has {len(entries)} {kind}",
        "Publish the message to submit the array: the dispatcher gives it as many children as there are",
    )
