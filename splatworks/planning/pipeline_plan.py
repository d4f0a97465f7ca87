"""run.json: the whole run as it will be submitted, from the message and from what S3 told. Makes no AWS call."""

from dataclasses import dataclass, replace
from typing import Any

from splatworks.contract.content_keys import content_base, content_key, script_digest
from splatworks.planning.job_plan import JobPlan, kind_of, now, plan_order, sizes_of
from splatworks.planning.message import Request
from splatworks.planning.pipeline_order import PipelineOrder, StageOrder, job_order
from splatworks.planning.settings import DispatcherSettings


@dataclass(frozen=True)
class Sources:
    scripts: tuple[tuple[str, str], ...]  # key and ETag of each file below stages/
    images: dict[str, str]  # by compute type: the digest, or the name where the digest is not to be had
    inputs: tuple[str, ...]  # what each input is, for the content key
    origins: tuple[str, ...]  # the outputs of stages among the inputs, or those that they are copies of


@dataclass(frozen=True)
class Base:
    content_base: str
    script_digest: str  # a job downloads the scripts when it starts, and they may be others by then


def content_bases(order: PipelineOrder, sources: Sources, settings: DispatcherSettings) -> dict[str, Base]:
    bases = {}
    scripts = script_digest(sources.scripts)
    for stage in order.stages:
        kind = kind_of(stage.options)
        base = content_base(
            script_key=stage.script_key,
            script=sources.scripts,
            image=sources.images[kind],
            compute_type=kind,
            gpus=sizes_of(stage.options, settings.compute[kind])["gpus"],
        )
        bases[stage.stage] = Base(base, scripts)
    return bases


def content_keys_of(order: PipelineOrder, bases: dict[str, Base], inputs: tuple[str, ...]) -> dict[str, str]:
    """Of the first stages that are no arrays: each follows from what is before it."""
    keys: dict[str, str] = {}
    for index, stage in enumerate(order.stages):
        if stage.variants is not None:
            break
        made = [keys[name] for name in stage.entry.reads if name in keys]
        read = inputs if index == 0 else (*_carried(order, stage, inputs), *made)
        keys[stage.stage] = content_key(bases[stage.stage].content_base, stage.parameters, read)
    return keys


def run_document(
    request: Request,
    order: PipelineOrder,
    settings: DispatcherSettings,
    *,
    bases: dict[str, Base],
    keys: dict[str, str],
    reused: dict[str, str],
    scenes: int = 1,
) -> dict[str, Any]:
    """`reused`: output prefixes of earlier runs by stage; `scenes`: how many, in scenes.json where more than one."""
    scenes_key = f"{order.prefix}scenes.json" if scenes > 1 else None
    stages: list[dict[str, Any]] = []
    for stage in order.stages:
        size = scenes if scenes > 1 else len(stage.variants or [{}])
        carried = scenes_key if stages and order.carries_inputs(stage.entry) else None
        more = {
            "run_key": order.run_key,
            "scenes_key": None if stages else scenes_key,
            "carried_scenes_key": carried,
            "variants": stage.variants if size > 1 else None,
            "content_base": bases[stage.stage].content_base,
            "script_digest": bases[stage.stage].script_digest,
            "content_key": keys.get(stage.stage),
            "fresh": order.fresh,
        }
        job = job_order(order, stage, request)
        inputs, by_index = _inputs(order, stage, stages, settings.output_bucket)
        job = replace(
            job,
            inputs=inputs,
            input_layout="by_name" if len(inputs) > 1 or carried else "flat",
            array_size=size if size > 1 else None,
            more={**more, "input_by_index": by_index},
        )
        stages.append(_stage_entry(plan_order(job, request, settings), stage, size, more, reused.get(stage.stage)))
    return {
        "version": 1,
        "run_id": order.run_id,
        "project": order.project,
        "request_id": request.identity,
        "message": request.published,
        "submitted_at": now(),
        "scenes": {"count": scenes, "key": scenes_key},
        "max_cost_usd": request.data.get("max_cost_usd"),
        "stages": stages,
    }


def _inputs(
    order: PipelineOrder, stage: StageOrder, before: list[dict[str, Any]], output_bucket: str
) -> tuple[tuple[str, ...], list[bool]]:
    """Where a stage reads, and which of these places have one folder per child."""
    if not before:
        return order.inputs, [False] * len(order.inputs)
    carried = _carried(order, stage, order.inputs)
    read = [entry for entry in before if entry["stage"] in stage.entry.reads]
    places = [entry["reused_from"] or entry["output_prefix"] for entry in read]
    by_index = [False] * len(carried) + [entry["size"] > 1 for entry in read]
    return (*carried, *(f"s3://{output_bucket}/{place}" for place in places)), by_index


def _carried(order: PipelineOrder, stage: StageOrder, inputs: tuple[str, ...]) -> tuple[str, ...]:
    return inputs if order.carries_inputs(stage.entry) else ()


def _stage_entry(
    plan: JobPlan, stage: StageOrder, size: int, more: dict[str, Any], reused_from: str | None
) -> dict[str, Any]:
    return {
        "stage": stage.stage,
        "job_name": plan.name,
        "queue": plan.submission["jobQueue"],
        "compute_type": kind_of(stage.options),
        "size": size,
        "output_prefix": plan.job["output_prefix"],
        "variants": more["variants"],
        "content_key": more["content_key"],
        "reused_from": reused_from,
        "job": None if reused_from else plan.job,
        "submission": None if reused_from else plan.submission,
    }
