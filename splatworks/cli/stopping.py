"""Ends a run: each of its jobs that has not ended gets SIGTERM, and uploads what it has."""

from splatworks.cli.platform import Platform
from splatworks.cli.run_states import FAILED, RunStatus, StageStatus
from splatworks.contract.keys import REQUEST, RUN, run_folder
from splatworks.contract.resumes import schedule_group, schedule_name

REASON = "cancelled with splatworks cancel"


def stoppable(run: RunStatus) -> list[StageStatus]:
    return [stage for stage in run.stages if stage.job_id and not stage.ended]


def stop(platform: Platform, stages: list[StageStatus]) -> None:
    batch = platform.client("batch")
    for stage in stages:  # in their order: the e-mail then names the one that was stopped, not one that waited for it
        batch.terminate_job(jobId=stage.job_id, reason=REASON)


def may_resume(run: RunStatus) -> bool:
    """Whether the platform may be waiting to start it again."""
    return run.status == FAILED and bool((run.message.get("data") or {}).get("auto_resume"))


def stop_resumption(platform: Platform, run: RunStatus) -> bool:
    """Delete the schedule that would resume the run; return whether there was one."""
    scheduler, found = platform.client("scheduler"), False
    key = resumption_key(run)
    for number in range(1, int(run.message["data"]["auto_resume"]) + 1):
        try:
            scheduler.delete_schedule(GroupName=schedule_group(platform.project), Name=schedule_name(key, number))
            found = True
        except scheduler.exceptions.ResourceNotFoundException:
            continue
    return found


def resumption_key(run: RunStatus) -> str:
    """run.json of a pipeline's run, request.json of a job."""
    if run.message.get("trigger_type") == "splat_pipeline":
        return f"{run_folder(run.project, run.id)}{RUN}"
    return f"{run.stages[0].output_prefix}{REQUEST}"
