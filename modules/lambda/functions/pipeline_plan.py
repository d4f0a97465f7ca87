"""run.json: the whole run as it will be submitted, from the message and from what S3 told. Makes no AWS call."""

from dataclasses import dataclass, replace
from typing import Any

from content_keys import content_base, content_key, script_digest
from job_plan import JobPlan, kind_of, now, plan_order, sizes_of
from message import Request
from pipeline_order import PipelineOrder, StageOrder, job_order
from pipeline_sources import Sources
from settings import DispatcherSettings


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
        read = inputs if index == 0 else (*_carried(order, inputs), *keys.values())
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
        carried = scenes_key if stages and order.carries_dataset else None
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
        inputs, by_index = _inputs(order, stages, settings.output_bucket)
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
    order: PipelineOrder, before: list[dict[str, Any]], output_bucket: str
) -> tuple[tuple[str, ...], list[bool]]:
    """Where a stage reads, and which of these places have one folder per child."""
    if not before:
        return order.inputs, [False] * len(order.inputs)
    carried = _carried(order, order.inputs)
    places = [entry["reused_from"] or entry["output_prefix"] for entry in before]
    by_index = [False] * len(carried) + [entry["size"] > 1 for entry in before]
    return (*carried, *(f"s3://{output_bucket}/{place}" for place in places)), by_index


def _carried(order: PipelineOrder, inputs: tuple[str, ...]) -> tuple[str, ...]:
    return inputs if order.carries_dataset else ()


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
