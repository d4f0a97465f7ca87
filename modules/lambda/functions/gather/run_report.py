"""Choose and compose the e-mail for a finished run."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from gather.documents import file_keys, parse_files, read_scenes, read_texts
from gather.job_files import last_sign_of_life, log_tail
from gather.run_jobs import root_failure, stage_jobs
from gather.run_links import sign
from gather.run_parts import read_failures, read_outcomes, read_parts
from gather.settings import MonitorSettings
from splatworks.contract.documents.run import RunDocument, RunStage
from splatworks.report.email import Email
from splatworks.report.job_facts import BatchJob, JobFacts, StageFiles
from splatworks.report.page_links import Links, page_keys
from splatworks.report.part_facts import Outcome, stage_of_failure
from splatworks.report.resumes import resume_of, resumes_email
from splatworks.report.run_email import done_email, failed_email
from splatworks.report.run_facts import RunFacts, StageFacts
from splatworks.report.scenes_email import ScenesFacts, scenes_email
from splatworks.report.stage_figures import total_usd
from splatworks.report.stage_summary import summarize_stages
from splatworks.report.sweep_email import ranked_variants, sweep_email

FAILURES_SHOWN = 20
SCENES_SHOWN = 50  # finished scenes that are listed one by one
SCENES_READ = 500  # scenes whose files are read: six each, within the function's minute


def compose_run(run: RunDocument, ended: BatchJob | None, settings: MonitorSettings, region: str) -> Email:
    """`ended` is None if every stage was reused, so that no job has run."""
    jobs = stage_jobs(run, ended, region)
    if ended and not ended.succeeded:
        root = root_failure(run, jobs) or run.stage_of_job(ended.name)
        if root and not _failed_in_parts(root, jobs):
            return _failure(run, root, jobs, settings, region)
    if run.scenes.count > 1:
        return _scenes(run, jobs, settings, region)
    if run.stages[-1].is_array:
        return _sweep(run, jobs, settings, region)
    facts = RunFacts(
        run=run,
        region=region,
        jobs=jobs,
        stages=read_stages(run.stages, jobs, settings.output_bucket),
        links=_links(run, None, settings, region),
    )
    return done_email(facts, settings)


def read_stages(stages: Sequence[RunStage], jobs: Mapping[str, BatchJob], bucket: str) -> tuple[StageFacts, ...]:
    """Read the files of all stages at once; a job without attempts has none."""
    places = {stage.stage: stage.place for stage in stages if stage.stage not in jobs or jobs[stage.stage].attempts}
    texts = read_texts(bucket, file_keys(places.values()))
    facts = []
    for stage in stages:
        name, job, files = stage.stage, jobs.get(stage.stage), StageFiles()
        if name in places:
            files = parse_files(texts, places[name], f"{name}/", job)
        if name in places and job and not files.report.ended:
            last = last_sign_of_life(job, bucket, f"{name}/")
            files = replace(last, problems=(*files.problems, *last.problems))
        facts.append(StageFacts(stage=stage, job=job, files=files))
    return tuple(facts)


def _failed_in_parts(stage: RunStage, jobs: Mapping[str, BatchJob]) -> bool:
    """An array that was stopped before it had parts has failed as one job."""
    return stage.is_array and jobs[stage.stage].array_summary.get("FAILED", 0) > 0


def _failure(
    run: RunDocument, failed: RunStage, jobs: Mapping[str, BatchJob], settings: MonitorSettings, region: str
) -> Email:
    stages = read_stages(run.stages, jobs, settings.output_bucket)
    files = next(each.files for each in stages if each.stage is failed)
    job = jobs[failed.stage]
    facts = JobFacts(
        job=job,
        message=run.message,
        report=files.report,
        result=files.result,
        log_tail=log_tail(job, settings.job_log_group),
    )
    found = RunFacts(run=run, region=region, jobs=jobs, stages=stages)
    if resume := resume_of(facts, run, jobs.values()):
        costs = {each.stage.stage: each.usd for each in summarize_stages(found)}
        return resumes_email(facts, resume, settings, cost=f"{total_usd(costs)}, so far", run=run)
    return failed_email(found, facts, settings)


def _scenes(run: RunDocument, jobs: Mapping[str, BatchJob], settings: MonitorSettings, region: str) -> Email:
    bucket = settings.output_bucket
    outcomes = read_outcomes(run, jobs)
    failed = stage_of_failure(outcomes)
    sample = read_parts(run, _sampled(run.scenes.count, failed), bucket, failed=failed, shared={})
    done = [index for index in range(run.scenes.count) if index not in failed]
    shown = {part.index: part for part in sample}
    if len(done) <= SCENES_SHOWN:
        missing = [index for index in done if index not in shown]
        shown |= {part.index: part for part in read_parts(run, missing, bucket, failed={}, shared={})}
    found = ScenesFacts(
        scenes=read_scenes(bucket, str(run.scenes.key)),
        outcomes=outcomes,
        failed=failed,
        failures=read_failures(outcomes, FAILURES_SHOWN, region, bucket),
        sample=sample,
        shown=[shown[index] for index in done] if len(done) <= SCENES_SHOWN else [],
    )
    return scenes_email(RunFacts(run=run, region=region, jobs=jobs), found, settings)


def _sampled(count: int, failed: Mapping[int, str]) -> list[int]:
    """All scenes, or at most SCENES_READ finished ones at even distances (failed ones if none is finished)."""
    if count <= SCENES_READ:
        return list(range(count))
    several = [index for index in range(count) if index not in failed] or list(failed)
    taken = min(len(several), SCENES_READ)
    return [several[number * len(several) // taken] for number in range(taken)]


def _sweep(run: RunDocument, jobs: Mapping[str, BatchJob], settings: MonitorSettings, region: str) -> Email:
    bucket, size = settings.output_bucket, run.stages[-1].size
    stages = read_stages([stage for stage in run.stages if not stage.is_array], jobs, bucket)
    outcomes: list[Outcome] = read_outcomes(run, jobs)
    failures = {each.index: each for each in read_failures(outcomes, size, region, bucket)}
    shared = {each.stage.stage: each.files.result for each in stages}
    parts = read_parts(run, range(size), bucket, failed=stage_of_failure(outcomes), shared=shared)
    ranked = ranked_variants(run, parts, failures)
    links = None if ranked[0].failure else _links(run, ranked[0].part.index, settings, region)
    return sweep_email(RunFacts(run=run, region=region, jobs=jobs, stages=stages, links=links), ranked, settings)


def _links(run: RunDocument, index: int | None, settings: MonitorSettings, region: str) -> Links | None:
    keys = page_keys(run.stages, index)
    return sign(keys, run.run_id, settings, region) if keys else None
