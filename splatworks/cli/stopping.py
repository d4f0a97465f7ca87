"""Ends a run: each of its jobs that has not ended gets SIGTERM, and uploads what it has."""

from splatworks.cli.platform import Platform
from splatworks.cli.run_states import RunStatus, StageStatus

REASON = "cancelled with splatworks cancel"


def stoppable(run: RunStatus) -> list[StageStatus]:
    return [stage for stage in run.stages if stage.job_id and not stage.ended]


def stop(platform: Platform, stages: list[StageStatus]) -> None:
    batch = platform.client("batch")
    for stage in stages:  # in their order: the e-mail then names the one that was stopped, not one that waited for it
        batch.terminate_job(jobId=stage.job_id, reason=REASON)
