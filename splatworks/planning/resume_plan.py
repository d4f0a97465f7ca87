"""Plan the jobs of a run that resumes after it has lost its machines. Makes no AWS call."""

from dataclasses import replace
from typing import Any

from splatworks.contract.documents.request import JobRequest
from splatworks.contract.documents.run import RunDocument, RunStage
from splatworks.contract.environment import RUN_KEY
from splatworks.contract.keys import CHECKPOINTS, RUNS, stage_place
from splatworks.contract.resumes import document_key, resumed_name
from splatworks.planning.bad_input import BadInputError, format_value


def resumed_run(run: RunDocument, failed: RunStage, job_id: str, number: int) -> RunDocument:
    """The document of a resumption: the stages before `failed` are done, it and those after it are submitted again.

    `job_id` is the job that lost its machines; `number` is the resumption's.
    """
    key, index = document_key(run.key, number), run.stages.index(failed)
    stages = [replace(each, reused_from=each.place, job=None, submission=None) for each in run.stages[:index]]
    for each in run.stages[index:]:
        name = resumed_name(f"{run.run_id}-{each.stage}", number)
        job = each.job and replace(each.job, run_key=key, resumes_job=job_id if each is failed else None)
        if job is not None:
            check_places(job, run.project, run.run_id, each.stage)
        stages.append(replace(each, job_name=name, job=job, submission=_submission(each.submission, name, key)))
    return replace(run, resumed=number, stages=tuple(stages))


def check_places(job: JobRequest, project: str, run_id: str, stage: str) -> None:
    """Refuse a job whose output or checkpoints are not those of this stage of this run."""
    place = stage_place(project, run_id, stage)
    for name, given, allowed in (
        ("output_prefix", job.output_prefix, f"{RUNS}{place}"),
        ("checkpoint_prefix", job.checkpoint_prefix, f"{CHECKPOINTS}{place}"),
    ):
        if given != allowed:
            raise BadInputError(
                field=name, given=format_value(given), allowed=allowed, fix="Publish the run's own message again."
            )


def _submission(submission: dict[str, Any] | None, name: str, key: str) -> dict[str, Any] | None:
    if submission is None:
        return None
    overrides = submission.get("containerOverrides") or {}
    environment = [each for each in overrides.get("environment") or [] if each["name"] != RUN_KEY]
    environment.append({"name": RUN_KEY, "value": key})
    return {**submission, "jobName": name, "containerOverrides": {**overrides, "environment": environment}}
