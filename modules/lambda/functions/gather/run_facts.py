"""What is known about each stage of a run: from run.json, its Batch job and its files in S3."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from gather.job_files import read_files, read_json, read_report
from splatworks.report.job_facts import Job
from splatworks.report.run_record import Run, RunStage
from splatworks.report.stage_figures import Interruption, interruptions, seconds_run, usd

REPORT_LIMIT = 16_000_000  # bytes of sfm's report.json, which lists each photo and each pair
WARNINGS_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class StageFacts:
    stage: RunStage
    job: Job | None  # None where an earlier run's result is used, or where Batch has forgotten the job
    report: dict[str, Any]  # job.json, or what it would have been
    result: dict[str, Any]  # result.json
    waited_seconds: float | None = None  # for a machine, from the moment that the stage before had ended

    @property
    def name(self) -> str:
        return self.stage.name

    @property
    def is_done(self) -> bool:
        """Its output is there, whole."""
        return self.job.succeeded if self.job else bool(self.stage.reused_from) or self.report.get("ended") == "done"

    @property
    def was_started(self) -> bool:
        return bool(self.job.attempts) if self.job else bool(self.report)

    @property
    def seconds(self) -> float | None:
        """From its first start to its end, with what interruptions took."""
        job = self.job
        if job and job.started_at and job.stopped_at:
            return max(0.0, job.stopped_at - job.started_at)
        return seconds_run(self.report)

    @property
    def usd(self) -> float | None:
        """What this run paid for it."""
        if self.stage.reused_from or (self.job and not self.job.attempts):
            return 0.0
        return usd(self.report, self.job.attempts if self.job else ())

    @property
    def interruptions(self) -> list[Interruption]:
        return interruptions(self.report, self.job.attempts if self.job else ())


def chain_facts(run: Run, jobs: dict[str, Job], bucket: str) -> list[StageFacts]:
    with ThreadPoolExecutor(len(run.stages)) as pool:
        facts = list(pool.map(lambda stage: _stage_facts(stage, jobs.get(stage.name), bucket), run.stages))
    stopped = run.submitted_at
    for index, each in enumerate(facts):
        if each.job and each.job.started_at:
            ready = max(stopped, each.job.created_at or stopped)
            facts[index] = replace(each, waited_seconds=max(0.0, each.job.started_at - ready))
            stopped = each.job.stopped_at or stopped
    return facts


def sfm_warnings(stage: StageFacts, bucket: str) -> list[str]:
    report = read_json(bucket, f"{stage.stage.output_prefix}report.json", REPORT_LIMIT)
    found = report.get("warnings")
    return [str(warning) for warning in found[:WARNINGS_SHOWN]] if isinstance(found, list) else []


def _stage_facts(stage: RunStage, job: Job | None, bucket: str) -> StageFacts:
    if job and not job.attempts:
        return StageFacts(stage=stage, job=job, report={}, result={})
    if job:
        files = read_files(job, bucket)
        # A host that went without notice has left its last sign of life, with what it had cost until then.
        report = files.report or read_report(job, bucket, "_RUNNING")
        return StageFacts(stage=stage, job=job, report=report, result=files.result)
    report = read_json(bucket, f"{stage.output_prefix}job.json")
    result = read_json(bucket, f"{stage.output_prefix}result.json")
    return StageFacts(stage=stage, job=None, report=report, result=result)
