"""What one Batch job will be: its names, its places in S3, the arguments of its submission. Makes no AWS call."""

import hashlib
import re
import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

from bad_input import BadInputError
from job_checks import check_cost_limit, check_parameters, check_script_key, check_size, resolve_inputs
from message import Request
from settings import Compute, DispatcherSettings

PEOPLE = ("user", "project", "experiment")
TAG_LIMIT = 128  # characters; ECS fails a task whose overrides exceed 8,192 characters, after Batch has accepted it


@dataclass(frozen=True, kw_only=True)
class JobPlan:
    name: str  # <label>-<hash of the request's identity>: the same request always has the same
    script_key: str
    inputs: tuple[str, ...]
    request_key: str  # where request.json goes in the output bucket
    job: dict[str, Any]  # the `job` of request.json
    submission: dict[str, Any]  # the arguments of SubmitJob

    def document(self, request: Request) -> dict[str, Any]:
        """request.json, which the runner and the monitor read."""
        return {
            "version": 1,
            "request_id": request.identity,
            "message": request.published,
            "job": self.job,
            "submitted_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }


def plan_job(request: Request, settings: DispatcherSettings) -> JobPlan:
    """Decide everything about the job; raise BadInputError where the message asks for what cannot be."""
    data = request.data
    check_cost_limit(data)
    check_script_key(data["script_key"])
    check_parameters(data.get("parameters", {}))
    kind = data.get("compute_type", "gpu")
    compute = settings.compute[kind]
    size = {name: int(data.get(name, getattr(compute, name))) for name in ("vcpus", "memory", "gpus")}
    check_size(kind, compute, **size)

    stage = _slug(PurePosixPath(data["script_key"]).stem, "job")
    digest = hashlib.sha256(request.identity.encode()).hexdigest()[:12]
    name = f"{data.get('job_name', stage)}-{digest}"
    job = _job(request, settings, name, stage)
    request_key = f"{job['output_prefix']}request.json"
    return JobPlan(
        name=name,
        script_key=data["script_key"],
        inputs=tuple(job["input"]),
        request_key=request_key,
        job=job,
        submission=_submission(request, settings, compute, kind, job, request_key),
    )


def _job(request: Request, settings: DispatcherSettings, run_id: str, stage: str) -> dict[str, Any]:
    data = request.data
    project = _slug(request.metadata.get("project", ""), "default")
    inputs = resolve_inputs(data.get("input", []), settings.input_bucket, settings.readable_buckets)
    return {
        "run_id": run_id,
        "stage": stage,
        "project": project,
        "script_key": data["script_key"],
        "input": list(inputs),
        "input_layout": "flat" if isinstance(data.get("input"), str) else "by_name",
        "args": data.get("args", []),
        "parameters": data.get("parameters", {}),
        "operation": data.get("operation"),
        "output_prefix": f"runs/{project}/{run_id}/{stage}/",
        "checkpoint_prefix": f"checkpoints/{project}/{run_id}/{stage}/",
    }


def _submission(
    request: Request,
    settings: DispatcherSettings,
    compute: Compute,
    kind: str,
    job: dict[str, Any],
    request_key: str,
) -> dict[str, Any]:
    data = request.data
    people = {name: _tag(request.metadata[name]) for name in PEOPLE if name in request.metadata}
    tags = {**people, "run_id": job["run_id"], "stage": job["stage"]}
    environment: dict[str, str] = {
        "REQUEST_KEY": request_key,
        "OUTPUT_PREFIX": job["output_prefix"],
        "RUN_ID": job["run_id"],
        "STAGE": job["stage"],
        **{f"TRIGGER_{name.upper()}": people.get(name, "") for name in PEOPLE},
    }
    submission = {
        "jobName": job["run_id"],
        "jobQueue": _queue(data, compute, kind),
        "jobDefinition": compute.job_definition,
        "shareIdentifier": re.sub(r"[^A-Za-z0-9]", "", request.metadata.get("project", ""))[:64] or "default",
        "containerOverrides": {
            "environment": [{"name": name, "value": value} for name, value in environment.items()],
            "resourceRequirements": _resources(data),
        },
        "tags": {name: value for name, value in tags.items() if value},
        "propagateTags": True,
    }
    return submission | _options(data, settings.retry_rules)


def _options(data: dict[str, Any], retry_rules: list[dict[str, str]]) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if "timeout_seconds" in data:
        options["timeout"] = {"attemptDurationSeconds": int(data["timeout_seconds"])}
    if "attempts" in data:
        # A strategy in a submission replaces the job definition's as a whole, so that the rules must come along.
        options["retryStrategy"] = {"attempts": int(data["attempts"]), "evaluateOnExit": retry_rules}
    if "priority" in data:
        options["schedulingPriorityOverride"] = int(data["priority"])
    if "array_size" in data:
        options["arrayProperties"] = {"size": int(data["array_size"])}
    if "depends_on" in data:
        options["dependsOn"] = [{"jobId": job_id} for job_id in data["depends_on"]]
    return options


def _queue(data: dict[str, Any], compute: Compute, kind: str) -> str:
    if data.get("spot", True):
        return compute.queue
    if compute.on_demand_queue is None:
        raise BadInputError(
            field="data.spot",
            given="false",
            allowed=f"true: this platform has no on-demand queue for {kind}",
            fix="Leave spot out, or have the on-demand queues made in Terraform.",
        )
    return compute.on_demand_queue


def _resources(data: dict[str, Any]) -> list[dict[str, str]]:
    """Only what the message sets; the job definition has the rest. No GPU is asked for by leaving GPU out."""
    types = {"vcpus": "VCPU", "memory": "MEMORY", "gpus": "GPU"}
    return [{"type": types[name], "value": str(int(data[name]))} for name in types if data.get(name)]


def _slug(text: str, otherwise: str) -> str:
    """A name that is safe as one part of a key and as a Batch job name."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", text)[:64].strip("-_") or otherwise


def _tag(text: str) -> str:
    """What a tag's value may be: letters, digits, spaces and _ . : / = + - @, without AWS's own prefix."""
    clean = re.sub(r"[^\w .:/=+@-]", "-", unicodedata.normalize("NFC", text)).strip()
    return re.sub(r"^(aws:)+", "", clean, flags=re.IGNORECASE)[:TAG_LIMIT].strip()
