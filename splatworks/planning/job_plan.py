"""One Batch job: its names, its request.json, the arguments of its submission. Makes no AWS call."""

import hashlib
import re
import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

from splatworks.contract.documents.request import BY_NAME, FLAT, JobRequest
from splatworks.contract.environment import OUTPUT_PREFIX, REQUEST_KEY, RUN_ID, RUN_KEY, STAGE_NAME, label_variable
from splatworks.contract.keys import CHECKPOINTS, RUNS, stage_place
from splatworks.contract.message_schema import METADATA_FIELDS
from splatworks.planning.bad_input import BadInputError, format_value
from splatworks.planning.job_checks import check_distinct_names, check_script_key, resolve_inputs
from splatworks.planning.message import Request
from splatworks.planning.placement import Placement, place_job
from splatworks.planning.settings import DispatcherSettings
from splatworks.planning.stage_checks import check_stage_arguments, check_stage_parameters, stage_of_script

TAG_LIMIT = 128  # characters; ECS fails a task whose overrides exceed 8,192 characters, after Batch has accepted it
MAX_SLUG = 64  # characters
RESOURCES = {"vcpus": "VCPU", "memory": "MEMORY", "gpus": "GPU"}  # AWS Batch's names


@dataclass(frozen=True, kw_only=True)
class JobPlan:
    name: str
    placement: Placement
    job: JobRequest
    submission: dict[str, Any]  # the arguments of SubmitJob

    @property
    def request_key(self) -> str:
        """Key of request.json in the output bucket."""
        return self.job.request_key


def plan_job(request: Request, settings: DispatcherSettings) -> JobPlan:
    """Decide everything about the job of a batch_job message; raise BadInputError if it cannot run."""
    data = request.data
    parameters = data.get("parameters", {})
    check_job(data)
    given = data.get("input", [])
    inputs = resolve_inputs(given, settings.input_bucket, settings.readable_buckets)
    placement = place_job(data, settings.compute, data.get("max_cost_usd"))
    stage = slug(PurePosixPath(data["script_key"]).stem, "job")
    name, project = name_of(request, data.get("job_name", stage)), project_of(request)
    place = stage_place(project, name, stage)
    job = JobRequest(
        run_id=name,
        stage=stage,
        project=project,
        script_key=data["script_key"],
        input=inputs,
        input_layout=FLAT if isinstance(given, str) else BY_NAME,
        args=tuple(data.get("args", ())),
        parameters=parameters,
        operation=data.get("operation"),
        max_cost_usd=data.get("max_cost_usd"),
        output_prefix=f"{RUNS}{place}",
        checkpoint_prefix=f"{CHECKPOINTS}{place}",
    )
    arguments = submission(job, placement, request, settings, name=name, array_size=int(data.get("array_size", 1)))
    if dependencies := data.get("depends_on"):
        arguments["dependsOn"] = [{"jobId": job_id} for job_id in dependencies]
    return JobPlan(name=name, placement=placement, job=job, submission=arguments)


def check_job(data: dict[str, Any]) -> None:
    """Refuse what is wrong with a batch_job's data on any platform."""
    check_script_key(data["script_key"])
    parameters = data.get("parameters", {})
    if stage := stage_of_script(data["script_key"]):
        check_stage_parameters(stage, parameters, "data.parameters", "batch_job")
        check_stage_arguments(stage, data.get("args", ()))
    check_distinct_names(parameters)
    check_auto_resume(data, "array_size")


def check_auto_resume(data: dict[str, Any], *arrays: str) -> None:
    """Refuse it for arrays: parts that are done would run again with those that failed."""
    found = [name for name in arrays if name in data]
    if data.get("auto_resume") and found:
        raise BadInputError(
            field="data.auto_resume",
            given=format_value(data["auto_resume"]),
            allowed=f"0 in a message with {found[0]}",
            fix="Leave it out: after the end, the same message runs only the parts that failed."
            if found[0] != "array_size"
            else "Leave it out, or send one message per part.",
        )


def submission(
    job: JobRequest,
    placement: Placement,
    request: Request,
    settings: DispatcherSettings,
    *,
    name: str,
    array_size: int = 1,
) -> dict[str, Any]:
    """The arguments of SubmitJob without dependsOn; `name` is the Batch job's, `array_size` 1 means a single job."""
    people = _tags(request.metadata)
    variables = {
        REQUEST_KEY: job.request_key,
        OUTPUT_PREFIX: job.output_prefix,
        RUN_ID: job.run_id,
        STAGE_NAME: job.stage,
        **({RUN_KEY: job.run_key} if job.run_key else {}),
        **{label_variable(label): people.get(label, "") for label in METADATA_FIELDS},
    }
    tags = {**people, "run_id": job.run_id, "stage": job.stage}
    return {
        "jobName": name,
        "jobQueue": placement.queue,
        "jobDefinition": placement.job_definition,
        "shareIdentifier": re.sub(r"[^A-Za-z0-9]", "", request.metadata.get("project", ""))[:64] or "default",
        "containerOverrides": {
            "environment": [{"name": variable, "value": value} for variable, value in variables.items()],
            "resourceRequirements": [
                {"type": RESOURCES[each], "value": str(value)} for each, value in placement.resources.items()
            ],
        },
        "tags": {tag: value for tag, value in tags.items() if value},
        "propagateTags": True,
        **_limits(placement, request, settings),
        **({"arrayProperties": {"size": array_size}} if array_size > 1 else {}),
    }


def _limits(placement: Placement, request: Request, settings: DispatcherSettings) -> dict[str, Any]:
    """Timeout, attempts and priority, if the message or the stage sets them; the job definition has the rest."""
    arguments: dict[str, Any] = {}
    if placement.timeout_seconds is not None:
        arguments["timeout"] = {"attemptDurationSeconds": placement.timeout_seconds}
    if placement.attempts is not None:
        # A strategy in a submission replaces all of the job definition's, so that the rules must be repeated.
        arguments["retryStrategy"] = {"attempts": placement.attempts, "evaluateOnExit": settings.retry_rules}
    if "priority" in request.data:
        arguments["schedulingPriorityOverride"] = int(request.data["priority"])
    return arguments


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def name_of(request: Request, label: str) -> str:
    """<label>-<hash of the request's identity>: the same request always has the same name."""
    return f"{label}-{hashlib.sha256(request.identity.encode()).hexdigest()[:12]}"


def project_of(request: Request) -> str:
    return slug(request.metadata.get("project", ""), "default")


def slug(text: str, otherwise: str) -> str:
    """A name that is safe as one part of a key and as a Batch job name."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", text)[:MAX_SLUG].strip("-_") or otherwise


def _tags(metadata: dict[str, str]) -> dict[str, str]:
    """The labels, cleaned: letters, digits, spaces and _ . : / = + - @, without the prefix that AWS reserves."""
    tags = {}
    for label in METADATA_FIELDS:
        if label in metadata:
            clean = re.sub(r"[^\w .:/=+@-]", "-", unicodedata.normalize("NFC", metadata[label])).strip()
            tags[label] = re.sub(r"^(aws:)+", "", clean, flags=re.IGNORECASE)[:TAG_LIMIT].strip()
    return tags
