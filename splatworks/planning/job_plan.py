"""What one Batch job will be: its names, its places in S3, the arguments of its submission. Makes no AWS call."""

import hashlib
import re
import unicodedata
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

from splatworks.planning.bad_input import BadInputError
from splatworks.planning.job_checks import (
    check_cost_limit,
    check_parameters,
    check_script_key,
    check_size,
    resolve_inputs,
)
from splatworks.planning.message import Request
from splatworks.planning.settings import Compute, DispatcherSettings
from splatworks.planning.stage_checks import check_stage_parameters, stage_of_script

PEOPLE = ("user", "project", "experiment")
TAG_LIMIT = 128  # characters; ECS fails a task whose overrides exceed 8,192 characters, after Batch has accepted it


@dataclass(frozen=True, kw_only=True)
class JobOrder:
    """What one job is to do, before a queue is chosen for it."""

    run_id: str
    stage: str
    name: str  # of the Batch job
    script_key: str
    inputs: tuple[str, ...]
    input_layout: str  # flat or by_name
    # compute_type, vcpus, memory, gpus, spot, timeout_seconds and attempts, where the message sets them
    options: dict[str, Any]
    path: str = "data"  # where these options stand in the message
    args: tuple[str, ...] = ()
    parameters: dict[str, Any] = field(default_factory=dict)
    operation: str | None = None
    max_cost_usd: float | None = None
    priority: int | None = None
    array_size: int | None = None
    depends_on: tuple[str, ...] = ()
    more: dict[str, Any] = field(default_factory=dict)  # further fields of request.json's job
    environment: dict[str, str] = field(default_factory=dict)  # further variables of the container


@dataclass(frozen=True, kw_only=True)
class JobPlan:
    name: str
    script_key: str
    inputs: tuple[str, ...]
    request_key: str  # where request.json goes in the output bucket
    job: dict[str, Any]  # the `job` of request.json
    submission: dict[str, Any]  # the arguments of SubmitJob


def plan_job(request: Request, settings: DispatcherSettings) -> JobPlan:
    """The job of a batch_job message; BadInputError where it asks for what cannot be."""
    data = request.data
    check_script_key(data["script_key"])
    if entry := stage_of_script(data["script_key"]):
        check_stage_parameters(entry, data.get("parameters", {}), "data.parameters", "batch_job")
    stage = slug(PurePosixPath(data["script_key"]).stem, "job")
    name = name_of(request, data.get("job_name", stage))
    given = data.get("input", [])
    order = JobOrder(
        run_id=name,
        stage=stage,
        name=name,
        script_key=data["script_key"],
        inputs=resolve_inputs(given, settings.input_bucket, settings.readable_buckets),
        input_layout="flat" if isinstance(given, str) else "by_name",
        options=data,
        args=tuple(data.get("args", ())),
        parameters=data.get("parameters", {}),
        operation=data.get("operation"),
        max_cost_usd=data.get("max_cost_usd"),
        priority=data.get("priority"),
        array_size=data.get("array_size"),
        depends_on=tuple(data.get("depends_on", ())),
    )
    return plan_order(order, request, settings)


def plan_order(order: JobOrder, request: Request, settings: DispatcherSettings) -> JobPlan:
    """Decide everything about the job; raise BadInputError where no machine can run it."""
    compute = check_order(order, settings)
    job = _job(order, project_of(request))
    request_key = f"{job['output_prefix']}request.json"
    return JobPlan(
        name=order.name,
        script_key=order.script_key,
        inputs=order.inputs,
        request_key=request_key,
        job=job,
        submission=_submission(order, request, settings, compute, request_key, job["output_prefix"]),
    )


def check_order(order: JobOrder, settings: DispatcherSettings) -> Compute:
    check_parameters(order.parameters, order.path)
    kind = kind_of(order.options)
    compute = settings.compute[kind]
    check_size(kind, compute, **sizes_of(order.options, compute), path=order.path)
    check_cost_limit(order.max_cost_usd, kind, compute, order.options.get("spot", True), order.path)
    return compute


def request_document(job: dict[str, Any], identity: str, message: dict[str, Any], submitted_at: str) -> dict[str, Any]:
    """request.json, which the runner and the monitor read."""
    return {"version": 1, "request_id": identity, "message": message, "job": job, "submitted_at": submitted_at}


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def kind_of(options: dict[str, Any]) -> str:
    kind: str = options.get("compute_type", "gpu")
    return kind


def sizes_of(options: dict[str, Any], compute: Compute) -> dict[str, int]:
    return {name: int(options.get(name, getattr(compute, name))) for name in ("vcpus", "memory", "gpus")}


def name_of(request: Request, label: str) -> str:
    """<label>-<hash of the request's identity>: the same request always has the same name."""
    return f"{label}-{hashlib.sha256(request.identity.encode()).hexdigest()[:12]}"


def project_of(request: Request) -> str:
    return slug(request.metadata.get("project", ""), "default")


def slug(text: str, otherwise: str) -> str:
    """A name that is safe as one part of a key and as a Batch job name."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", text)[:64].strip("-_") or otherwise


def _job(order: JobOrder, project: str) -> dict[str, Any]:
    place = f"{project}/{order.run_id}/{order.stage}/"
    return {
        "run_id": order.run_id,
        "stage": order.stage,
        "project": project,
        "script_key": order.script_key,
        "input": list(order.inputs),
        "input_layout": order.input_layout,
        "args": list(order.args),
        "parameters": order.parameters,
        "operation": order.operation,
        "max_cost_usd": order.max_cost_usd,
        "output_prefix": f"runs/{place}",
        "checkpoint_prefix": f"checkpoints/{place}",
        **order.more,
    }


def _submission(
    order: JobOrder,
    request: Request,
    settings: DispatcherSettings,
    compute: Compute,
    request_key: str,
    output_prefix: str,
) -> dict[str, Any]:
    people = {name: _tag(request.metadata[name]) for name in PEOPLE if name in request.metadata}
    tags = {**people, "run_id": order.run_id, "stage": order.stage}
    environment: dict[str, str] = {
        "REQUEST_KEY": request_key,
        "OUTPUT_PREFIX": output_prefix,
        "RUN_ID": order.run_id,
        "STAGE": order.stage,
        **order.environment,
        **{f"TRIGGER_{name.upper()}": people.get(name, "") for name in PEOPLE},
    }
    submission = {
        "jobName": order.name,
        "jobQueue": _queue(order, compute),
        "jobDefinition": compute.job_definition,
        "shareIdentifier": re.sub(r"[^A-Za-z0-9]", "", request.metadata.get("project", ""))[:64] or "default",
        "containerOverrides": {
            "environment": [{"name": name, "value": value} for name, value in environment.items()],
            "resourceRequirements": _resources(order.options),
        },
        "tags": {name: value for name, value in tags.items() if value},
        "propagateTags": True,
    }
    return submission | _options(order, settings.retry_rules)


def _options(order: JobOrder, retry_rules: list[dict[str, str]]) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if "timeout_seconds" in order.options:
        options["timeout"] = {"attemptDurationSeconds": int(order.options["timeout_seconds"])}
    if "attempts" in order.options:
        # A strategy in a submission replaces the job definition's as a whole, so that the rules must come along.
        options["retryStrategy"] = {"attempts": int(order.options["attempts"]), "evaluateOnExit": retry_rules}
    if order.priority is not None:
        options["schedulingPriorityOverride"] = int(order.priority)
    if order.array_size is not None:
        options["arrayProperties"] = {"size": int(order.array_size)}
    if order.depends_on:
        options["dependsOn"] = [{"jobId": job_id} for job_id in order.depends_on]
    return options


def _queue(order: JobOrder, compute: Compute) -> str:
    if order.options.get("spot", True):
        return compute.queue
    if compute.on_demand_queue is None:
        raise BadInputError(
            field=f"{order.path}.spot",
            given="false",
            allowed=f"true: this platform has no on-demand queue for {kind_of(order.options)}",
            fix="Leave spot out, or have the on-demand queues made in Terraform.",
        )
    return compute.on_demand_queue


def _resources(options: dict[str, Any]) -> list[dict[str, str]]:
    """Only what the message sets; the job definition has the rest. No GPU is asked for by leaving GPU out."""
    types = {"vcpus": "VCPU", "memory": "MEMORY", "gpus": "GPU"}
    return [{"type": types[name], "value": str(int(options[name]))} for name in types if options.get(name)]


def _tag(text: str) -> str:
    """What a tag's value may be: letters, digits, spaces and _ . : / = + - @, without AWS's own prefix."""
    clean = re.sub(r"[^\w .:/=+@-]", "-", unicodedata.normalize("NFC", text)).strip()
    return re.sub(r"^(aws:)+", "", clean, flags=re.IGNORECASE)[:TAG_LIMIT].strip()
