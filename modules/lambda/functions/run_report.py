"""Which e-mail a run gets, from the event that ended it."""

import run_email
from job_facts import Job, gather
from run_email import Email
from run_facts import chain_facts, sfm_warnings
from run_jobs import root_failure, stage_jobs
from run_links import sign
from run_record import Run
from settings import MonitorSettings


def compose(run: Run, ended: Job | None, settings: MonitorSettings, region: str) -> Email:
    """`ended` is None where every stage was reused, so that no job has run."""
    jobs = stage_jobs(run, ended, region)
    if ended and not ended.succeeded:
        failed = root_failure(run, jobs)
        return _failure(run, jobs[failed.name] if failed else ended, jobs, settings)
    return _success(run, jobs, settings, region)


def _failure(run: Run, failed: Job, jobs: dict[str, Job], settings: MonitorSettings) -> Email:
    stages = chain_facts(run, jobs, settings.output_bucket)
    return run_email.failure(run, gather(failed, settings), stages, settings)


def _success(run: Run, jobs: dict[str, Job], settings: MonitorSettings, region: str) -> Email:
    stages = chain_facts(run, jobs, settings.output_bucket)
    warnings = sfm_warnings(stages[0], settings.output_bucket) if stages[0].name == "sfm" else []
    links = sign(run_email.view_keys(run.stages[-1]), run.id, settings, region)
    return run_email.success(run, stages, warnings, links, settings, region)
