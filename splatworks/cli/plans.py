"""What a message would run, decided by the dispatcher's own code. Nothing is submitted and nothing is written."""

from dataclasses import dataclass
from typing import Any

from splatworks.cli.platform import Platform
from splatworks.lookup.buckets import require_input, require_script
from splatworks.lookup.decision import decide
from splatworks.planning.bad_input import BadInputError, format_value, nearest
from splatworks.planning.job_plan import JobPlan, kind_of, plan_job, plan_order, sizes_of
from splatworks.planning.message import Request
from splatworks.planning.pipeline_order import job_order, order_pipeline
from splatworks.planning.settings import Instance


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
    reuse_known: bool  # False where the input is not uploaded yet: whether its results are there cannot be told
    stages: tuple[PlannedStage, ...]


def plan_run(platform: Platform, request: Request, *, uploaded: bool, scenes: int = 1) -> RunPlan:
    """Raises BadInputError where the dispatcher would refuse the message.

    `uploaded`: its input has to be there, and is looked into. Where it is not, it will be so many `scenes`.
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
    plan: JobPlan = plan_job(request, settings)
    require_script(platform.client, settings.input_bucket, plan.script_key)
    for uri in plan.inputs if uploaded else ():
        require_input(platform.client, uri)
    size = int(request.data.get("array_size", 1))
    stage = _planned(platform, plan.job["stage"], plan.script_key, request.data, plan.job["parameters"], size, None)
    output = f"s3://{settings.output_bucket}/{plan.job['output_prefix']}"
    return RunPlan(run_id=plan.name, output=output, reuse_known=True, stages=(stage,))


def _pipeline_plan(platform: Platform, request: Request, uploaded: bool, scenes: int) -> RunPlan:
    order = order_pipeline(request, platform.settings)
    for each in order.stages:  # that its queue exists, which `decide` tells only of what is uploaded
        plan_order(job_order(order, each, request), request, platform.settings)
    run = decide(platform.client, request, order, platform.settings).run if uploaded else {"stages": []}
    found = {stage["stage"]: stage for stage in run["stages"]}
    stages = [
        _planned(
            platform,
            stage.stage,
            stage.script_key,
            stage.options,
            stage.parameters,
            found.get(stage.stage, {}).get("size") or max(len(stage.variants or []), scenes),
            found.get(stage.stage, {}).get("reused_from"),
        )
        for stage in order.stages
    ]
    output = f"s3://{platform.settings.output_bucket}/{order.prefix}"
    return RunPlan(run_id=order.run_id, output=output, reuse_known=uploaded, stages=tuple(stages))


def _planned(
    platform: Platform,
    stage: str,
    script_key: str,
    options: dict[str, Any],
    parameters: dict[str, Any],
    size: int,
    reused_from: str | None,
) -> PlannedStage:
    kind = kind_of(options)
    compute = platform.settings.compute[kind]
    needs = sizes_of(options, compute)
    spot = bool(options.get("spot", True)) and compute.queue != compute.on_demand_queue
    defaults = platform.environment
    return PlannedStage(
        stage=stage,
        script_key=script_key,
        parameters=parameters,
        size=size,
        reused_from=reused_from,
        queue=compute.queue if options.get("spot", True) else str(compute.on_demand_queue),
        compute_type=kind,
        spot=spot,
        **needs,
        instances=tuple(each.type for each in compute.instances if _holds(each, **needs)),
        timeout_seconds=int(options.get("timeout_seconds", defaults["JOB_TIMEOUT_SECONDS"])),
        attempts=int(options.get("attempts", defaults["JOB_ATTEMPTS"])),
    )


def _holds(instance: Instance, *, vcpus: int, memory: int, gpus: int) -> bool:
    return instance.vcpus >= vcpus and instance.memory >= memory and instance.gpus >= gpus
