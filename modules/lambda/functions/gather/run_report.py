"""Which e-mail a run gets, from the event that ended it."""

from gather import run_email, scenes_email, sweep_email
from gather.job_files import gather
from gather.run_facts import chain_facts, sfm_warnings
from gather.run_jobs import root_failure, stage_jobs
from gather.run_links import sign
from gather.run_text import Email, view_keys
from splatworks.planning.settings import MonitorSettings
from splatworks.report.job_facts import Job
from splatworks.report.run_record import Run, RunStage


def compose(run: Run, ended: Job | None, settings: MonitorSettings, region: str) -> Email:
    """`ended` is None where every stage was reused, so that no job has run."""
    jobs = stage_jobs(run, ended, region)
    if ended and not ended.succeeded:
        root = root_failure(run, jobs) or run.stage_of(ended.name)
        if root and not _failed_in_parts(root, jobs):
            return _failure(run, jobs[root.name], jobs, settings)
    if run.scene_count > 1:
        return scenes_email.compose(run, jobs, settings, region)
    if run.stages[-1].is_array:
        return sweep_email.compose(run, jobs, settings, region)
    return _success(run, jobs, settings, region)


def _failed_in_parts(stage: RunStage, jobs: dict[str, Job]) -> bool:
    """An array that was stopped before it had parts has failed as a whole."""
    return stage.is_array and jobs[stage.name].array_summary.get("FAILED", 0) > 0


def _failure(run: Run, failed: Job, jobs: dict[str, Job], settings: MonitorSettings) -> Email:
    stages = chain_facts(run, jobs, settings.output_bucket)
    return run_email.failure(run, gather(failed, settings), stages, settings)


def _success(run: Run, jobs: dict[str, Job], settings: MonitorSettings, region: str) -> Email:
    stages = chain_facts(run, jobs, settings.output_bucket)
    warnings = sfm_warnings(stages[0], settings.output_bucket) if stages[0].name == "sfm" else []
    links = sign(view_keys(run.stages[-1].output_prefix), run.id, settings, region)
    return run_email.success(run, stages, warnings, links, settings, region)
