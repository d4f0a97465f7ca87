"""Plan a message with the dispatcher's own code. Nothing is submitted, nothing is written."""

from dataclasses import dataclass
from typing import Any

from splatworks.cli.platform import Platform
from splatworks.lookup.buckets import require_input, require_script
from splatworks.lookup.decision import decide
from splatworks.planning.bad_input import BadInputError, format_value, nearest
from splatworks.planning.job_plan import plan_job
from splatworks.planning.message import Request
from splatworks.planning.pipeline_order import order_pipeline
from splatworks.planning.placement import Placement


@dataclass(frozen=True, kw_only=True)
class PlannedStage:
    stage: str
    script_key: str
    parameters: dict[str, Any]
    size: int  # of the array; 1 is none
    reused_from: str | None
    queue: str
    compute_type: str
    spot: bool
    vcpus: int
    memory: int  # MiB
    gpus: int
    instances: tuple[str, ...]  # types of the queue's machines that hold it
    timeout_seconds: int  # per attempt
    attempts: int


@dataclass(frozen=True, kw_only=True)
class RunPlan:
    run_id: str
    output: str
    reuse_known: bool  # False if the input is not uploaded yet: earlier results can't be looked for
    stages: tuple[PlannedStage, ...]


def plan_run(platform: Platform, request: Request, *, uploaded: bool, scenes: int = 1) -> RunPlan:
    """Raises BadInputError where the dispatcher would refuse the message.

    `uploaded`: its input has to be in S3, and is checked. If not, `scenes` is the number of scenes that it will be.
    """
    planners = {"batch_job": _script_plan, "splat_pipeline": _pipeline_plan}
    if request.trigger_type not in planners:
        raise BadInputError(
            field="trigger_type",
            given=format_value(request.trigger_type),
            allowed=f"one of {', '.join(planners)}",
            fix=nearest(request.trigger_type, list(planners)),
        )
    return planners[request.trigger_type](platform, request, uploaded, scenes)


def _script_plan(platform: Platform, request: Request, uploaded: bool, _scenes: int) -> RunPlan:
    settings = platform.settings
    plan = plan_job(request, settings)
    require_script(platform.client, settings.input_bucket, plan.job.script_key)
    for uri in plan.job.input if uploaded else ():
        require_input(platform.client, uri)
    size = int(request.data.get("array_size", 1))
    stage = _planned(
        platform, plan.placement, plan.job.stage, plan.job.script_key, plan.job.parameters, size=size, reused_from=None
    )
    output = f"s3://{settings.output_bucket}/{plan.job.output_prefix}"
    return RunPlan(run_id=plan.name, output=output, reuse_known=True, stages=(stage,))


def _pipeline_plan(platform: Platform, request: Request, uploaded: bool, scenes: int) -> RunPlan:
    order = order_pipeline(request, platform.settings)
    decided = decide(platform.client, request, order, platform.settings).run.stages if uploaded else ()
    found = {stage.stage: stage for stage in decided}
    stages = []
    for stage in order.stages:
        known = found.get(stage.name)
        planned = _planned(
            platform,
            order.placements[stage.name],
            stage.name,
            stage.entry.script_key,
            stage.parameters,
            size=known.size if known else max(len(stage.variants or []), scenes),
            reused_from=known.reused_from if known else None,
        )
        stages.append(planned)
    output = f"s3://{platform.settings.output_bucket}/{order.folder}"
    return RunPlan(run_id=order.run_id, output=output, reuse_known=uploaded, stages=tuple(stages))


def _planned(
    platform: Platform,
    placement: Placement,
    stage: str,
    script_key: str,
    parameters: dict[str, Any],
    *,
    size: int,
    reused_from: str | None,
) -> PlannedStage:
    defaults = platform.environment
    return PlannedStage(
        stage=stage,
        script_key=script_key,
        parameters=parameters,
        size=size,
        reused_from=reused_from,
        queue=placement.queue,
        compute_type=placement.compute_type,
        spot=placement.is_spot,
        vcpus=placement.vcpus,
        memory=placement.memory,
        gpus=placement.gpus,
        instances=placement.instances,
        timeout_seconds=placement.timeout_seconds or int(defaults["JOB_TIMEOUT_SECONDS"]),
        attempts=placement.attempts or int(defaults["JOB_ATTEMPTS"]),
    )
