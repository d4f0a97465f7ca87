"""What a splat_pipeline message asks for, stage by stage. Makes no AWS call."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from splatworks.contract.keys import RUN, run_folder
from splatworks.contract.parameters import parameters_of
from splatworks.contract.stage import Stage
from splatworks.contract.stages import ALL_STEPS, STAGES, stages_to_run
from splatworks.planning.bad_input import BadInputError, format_value
from splatworks.planning.job_checks import check_distinct_names, resolve_inputs, zip_stem
from splatworks.planning.job_plan import check_auto_resume, name_of, project_of, slug
from splatworks.planning.message import Request
from splatworks.planning.placement import Placement, place_job
from splatworks.planning.settings import DispatcherSettings
from splatworks.planning.stage_checks import check_stage_parameters

MOST_VARIANTS = 50


@dataclass(frozen=True, kw_only=True)
class StageOrder:
    """One stage as the message asks for it, its parameters checked against the table."""

    name: str
    entry: Stage
    options: dict[str, Any]  # of the machine, with the stage's defaults
    parameters: dict[str, Any]
    variants: tuple[dict[str, Any], ...] | None  # parameters of each child, if the stage is an array of variants
    reads: tuple[str, ...]  # the stages of this run whose output it reads, in their order
    reads_inputs: bool  # whether it reads the message's input, alone or in addition to that output


@dataclass(frozen=True, kw_only=True)
class PipelineOrder:
    """A pipeline that can run: nothing in its message is wrong, and a queue takes each stage."""

    run_id: str
    project: str
    stages: tuple[StageOrder, ...]
    placements: dict[str, Placement]  # by stage
    inputs: tuple[str, ...]  # S3 URIs of the one scene; empty if there may be several
    scenes: str | None  # S3 URI of the folder or the list of several scenes
    fresh: bool
    folder: str  # of the run in the output bucket
    run_key: str  # of run.json in it


def order_pipeline(request: Request, settings: DispatcherSettings) -> PipelineOrder:
    """Decide everything that needs no look at S3; raise BadInputError if the message cannot run."""
    data = request.data
    stages = order_stages(data)
    inputs, scenes = _locations(data, settings, stages[0].name)
    limit = data.get("max_cost_usd")
    placements = {
        stage.name: place_job(stage.options, settings.compute, limit, f"data.{stage.name}") for stage in stages
    }
    run_id = name_of(request, data.get("job_name") or label_of(scenes or inputs[0]))
    project = project_of(request)
    folder = run_folder(project, run_id)
    return PipelineOrder(
        run_id=run_id,
        project=project,
        stages=stages,
        placements=placements,
        inputs=inputs,
        scenes=scenes,
        fresh=data.get("fresh", False),
        folder=folder,
        run_key=f"{folder}{RUN}",
    )


def order_stages(data: dict[str, Any]) -> tuple[StageOrder, ...]:
    """The stages that run; raise BadInputError for what is wrong with the message on any platform."""
    entries = stages_to_run(data)
    names = tuple(entry.name for entry in entries)
    _check_stages(data, names)
    _check_locations(data, entries[0])
    check_auto_resume(data, "inputs", "sweep")
    sweep = data.get("sweep", {})
    variants = _variants(sweep, names) if sweep else {}
    return tuple(_stage(data, entry, variants.get(entry.name), names) for entry in entries)


def _check_stages(data: dict[str, Any], names: tuple[str, ...]) -> None:
    """A stage that will not run has no options: they would be ignored."""
    paths = {stage: f"data.{stage}" for stage in STAGES if stage in data}
    paths |= {stage: f"data.sweep.{stage}" for stage in data.get("sweep", {})}
    for stage, path in paths.items():
        if stage not in names:
            raise BadInputError(
                field=path,
                given=format_value(data["sweep"][stage] if "sweep" in path else data[stage]),
                allowed=f"options of the stages that run: {', '.join(names)}",
                fix=f'Leave it out, or start earlier: "steps" is {format_value(data.get("steps", ALL_STEPS))}.',
            )


def _check_locations(data: dict[str, Any], first: Stage) -> None:
    if ("input" in data) == ("inputs" in data):
        raise BadInputError(
            field="data.input",
            given="input and inputs" if "input" in data else "neither input nor inputs",
            allowed="one of the two: input for one scene, inputs for several",
            fix='Give "input": "photos/my-scene/", or "inputs": "photos/batch/" with a folder per scene in it.',
        )
    if "inputs" in data and "sweep" in data:
        raise BadInputError(
            field="data.sweep",
            given=format_value(data["sweep"]),
            allowed="a sweep of one scene",
            fix="Give input instead of inputs, or leave sweep out.",
        )
    given = data.get("input")
    most = max(first.max_inputs, len(first.reads))
    if isinstance(given, list) and len(given) > most:
        raise BadInputError(
            field="data.input",
            given=f"{len(given)} locations",
            allowed=f"at most {most} if the first stage is {first.name}",
            fix="Give one message for each scene, or inputs for several scenes.",
        )


def _locations(data: dict[str, Any], settings: DispatcherSettings, first: str) -> tuple[tuple[str, ...], str | None]:
    if "inputs" in data:
        (uri,) = resolve_inputs(data["inputs"], settings.input_bucket, settings.readable_buckets, "data.inputs")
        return (), uri
    locations = resolve_inputs(data["input"], settings.input_bucket, settings.readable_buckets)
    check_dataset_name(locations, first)
    return locations, None


def check_dataset_name(locations: tuple[str, ...], first: str, field: str = "data.input") -> None:
    """Refuse a dataset in a folder `train` if training is the first stage.

    Compression reads the dataset next to training's output, each in a folder of its last name.
    """
    run = list(STAGES)[list(STAGES).index(first) :]
    readers = [each.name for each in STAGES.values() if first in each.reads and _reads_inputs(each, run)]
    if readers and any(uri.rstrip("/").endswith(f"/{first}") for uri in locations):
        raise BadInputError(
            field=field,
            given=format_value(list(locations)),
            allowed=f'a dataset in a folder with another name than {first}, if "steps" is "{first}"',
            fix=f'Continue from the output of {first} with "steps": "{readers[0]}", or rename the folder.',
        )


def _variants(
    sweep: Mapping[str, dict[str, list[Any]]], names: tuple[str, ...]
) -> dict[str, tuple[dict[str, Any], ...]]:
    """Parameters of each child, for the swept stages and those after them; the last list changes fastest."""
    axes = [(stage, name, values) for stage in names for name, values in sweep.get(stage, {}).items()]
    count = 1
    for _, _, values in axes:
        count *= len(values)
    if not 2 <= count <= MOST_VARIANTS:
        raise BadInputError(
            field="data.sweep",
            given=f"{count} variants ({format_value(sweep)})",
            allowed=f"2 to {MOST_VARIANTS} variants, the product of all lists",
            fix="Give more values, or leave sweep out."
            if count < 2
            else "Give fewer values, or send several messages.",
        )
    combinations = list(itertools.product(*(values for _, _, values in axes)))
    first = next(index for index, name in enumerate(names) if name in sweep)
    return {
        stage: tuple(
            {name: value for (where, name, _), value in zip(axes, values, strict=True) if where == stage}
            for values in combinations
        )
        for stage in names[first:]
    }


def _stage(
    data: dict[str, Any], entry: Stage, variants: tuple[dict[str, Any], ...] | None, names: tuple[str, ...]
) -> StageOrder:
    given = data.get(entry.name, {})
    own = given.get("parameters", {})
    swept = data.get("sweep", {}).get(entry.name, {})
    set_by_hand = {parameter.lower() for parameter in (*own, *swept)}
    preset = entry.presets.get(data.get("preset", ""), {})
    parameters = {parameter: value for parameter, value in preset.items() if parameter not in set_by_hand} | own
    check_stage_parameters(entry, parameters, f"data.{entry.name}.parameters")
    for name, values in swept.items():
        _check_swept(entry, name, values)
    check_distinct_names({**parameters, **swept}, f"data.{entry.name}")
    defaults = {"compute_type": entry.compute_type, "timeout_seconds": entry.timeout_seconds}
    return StageOrder(
        name=entry.name,
        entry=entry,
        options=defaults | {option: value for option, value in given.items() if option != "parameters"},
        parameters=parameters,
        variants=variants,
        reads=tuple(name for name in names if name in entry.reads),
        reads_inputs=entry.name == names[0] or _reads_inputs(entry, names),
    )


def _check_swept(entry: Stage, name: str, values: list[Any]) -> None:
    path = f"data.sweep.{entry.name}"
    given: dict[Any, Any] = {}  # by value as the stage reads it: "7" and 7 are one
    for value in values:
        check_stage_parameters(entry, {name: value}, path)
        read = parameters_of(entry.parameters)[name.lower()].read(value)
        if read in given:
            raise BadInputError(
                field=f"{path}.{name}",
                given=f"{format_value(given[read])} and {format_value(value)}",
                allowed="values that differ for the stage",
                fix="Leave one of them out: each variant is a job that costs money.",
            )
        given[read] = value


def _reads_inputs(stage: Stage, names: Sequence[str]) -> bool:
    """Whether a stage reads the message's input if `names` run: the photos, or what a run that starts later lacks.

    Compression reads the dataset that training starts from, for its photos and for the direction of up.
    """
    left_out = [read for read in stage.reads if read not in names and not STAGES[read].optional]
    return bool(left_out) or not stage.reads


def label_of(location: str) -> str:
    """The beginning of a run's id, if the message does not set it."""
    last = location.rstrip("/").rpartition("/")[2]
    return slug(zip_stem(location) or last.removesuffix(".json"), "scene")
