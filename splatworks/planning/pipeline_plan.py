"""run.json: the complete run as it will be submitted, from the message and from what S3 holds. Makes no AWS call."""

from dataclasses import dataclass

from splatworks.contract.content_keys import content_base, content_key
from splatworks.contract.documents.request import BY_NAME, FLAT, JobRequest
from splatworks.contract.documents.run import RunDocument, RunStage, Scenes
from splatworks.contract.keys import CHECKPOINTS, RUNS, stage_place
from splatworks.planning.job_plan import now, submission
from splatworks.planning.message import Request
from splatworks.planning.pipeline_order import PipelineOrder, StageOrder
from splatworks.planning.settings import DispatcherSettings


@dataclass(frozen=True)
class Sources:
    scripts: tuple[tuple[str, str], ...]  # key and ETag of each file below stages/
    images: dict[str, str]  # by compute type: the digest, or the name if the digest is not known
    inputs: tuple[str, ...]  # content of each input, for the content key
    origins: tuple[str, ...]  # the outputs of stages among the inputs, or those that they are copies of


@dataclass(frozen=True, kw_only=True)
class Findings:
    """The facts from S3 and ECR that a run depends on. Dictionaries are by stage."""

    bases: dict[str, str]  # content bases
    script_digest: str  # a job downloads the scripts when it starts, and they may have changed by then
    keys: dict[str, str]  # content keys, if known
    reused: dict[str, str]  # output prefixes of earlier runs
    scenes: Scenes


def content_bases(order: PipelineOrder, sources: Sources) -> dict[str, str]:
    bases = {}
    for stage in order.stages:
        placement = order.placements[stage.name]
        bases[stage.name] = content_base(
            script_key=stage.entry.script_key,
            script=sources.scripts,
            image=sources.images[placement.compute_type],
            compute_type=placement.compute_type,
            gpus=placement.gpus,
        )
    return bases


def content_keys_of(order: PipelineOrder, bases: dict[str, str], inputs: tuple[str, ...]) -> dict[str, str]:
    """Content keys of the first stages that are not arrays: each follows from what is before it."""
    keys: dict[str, str] = {}
    for stage in order.stages:
        if stage.variants is not None:
            break
        read = inputs if stage.reads_inputs else ()
        made = [keys[name] for name in stage.reads]
        keys[stage.name] = content_key(bases[stage.name], stage.parameters, [*read, *made])
    return keys


def run_document(
    request: Request, order: PipelineOrder, settings: DispatcherSettings, findings: Findings
) -> RunDocument:
    stages: list[RunStage] = []
    for stage in order.stages:
        size = findings.scenes.count if findings.scenes.count > 1 else len(stage.variants or [{}])
        job = _job(stage, order, request, settings, findings, before=stages, size=size)
        name = f"{order.run_id}-{stage.name}"
        placement = order.placements[stage.name]
        reused_from = findings.reused.get(stage.name)
        arguments = submission(job, placement, request, settings, name=name, array_size=size)
        stages.append(
            RunStage(
                stage=stage.name,
                job_name=name,
                queue=placement.queue,
                compute_type=placement.compute_type,
                size=size,
                output_prefix=job.output_prefix,
                variants=job.variants,
                content_key=job.content_key,
                reused_from=reused_from,
                job=None if reused_from else job,
                submission=None if reused_from else arguments,
            )
        )
    return RunDocument(
        run_id=order.run_id,
        project=order.project,
        request_id=request.identity,
        message=request.published,
        submitted_at=now(),
        scenes=findings.scenes,
        max_cost_usd=request.data.get("max_cost_usd"),
        stages=tuple(stages),
    )


def _job(
    stage: StageOrder,
    order: PipelineOrder,
    request: Request,
    settings: DispatcherSettings,
    findings: Findings,
    *,
    before: list[RunStage],
    size: int,
) -> JobRequest:
    """The job of a stage; `before` are the stages before it, whose output it may read."""
    scenes_key = findings.scenes.key if stage.reads_inputs else None
    carried_scenes_key = scenes_key if stage.reads else None
    inputs, by_index = _inputs(order, stage, before, settings.output_bucket)
    place = stage_place(order.project, order.run_id, stage.name)
    return JobRequest(
        run_id=order.run_id,
        stage=stage.name,
        project=order.project,
        script_key=stage.entry.script_key,
        input=inputs,
        input_layout=BY_NAME if len(inputs) > 1 or carried_scenes_key else FLAT,
        parameters=stage.parameters,
        max_cost_usd=request.data.get("max_cost_usd"),
        output_prefix=f"{RUNS}{place}",
        checkpoint_prefix=f"{CHECKPOINTS}{place}",
        run_key=order.run_key,
        scenes_key=None if stage.reads else scenes_key,
        carried_scenes_key=carried_scenes_key,
        input_by_index=by_index,
        variants=stage.variants if size > 1 else None,
        content_base=findings.bases[stage.name],
        content_key=findings.keys.get(stage.name),
        script_digest=findings.script_digest,
        fresh=order.fresh,
    )


def _inputs(
    order: PipelineOrder, stage: StageOrder, before: list[RunStage], output_bucket: str
) -> tuple[tuple[str, ...], tuple[bool, ...]]:
    """The locations that a stage reads, and for each whether it has one folder per child."""
    own = order.inputs if stage.reads_inputs else ()
    read = [each for each in before if each.stage in stage.reads]
    places = (f"s3://{output_bucket}/{each.place}" for each in read)
    return (*own, *places), (*(False for _ in own), *(each.is_array for each in read))
