"""The parts of a run that is made of arrays: one for each scene, or for each variant of a sweep."""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from gather.job_files import read_files, read_json
from gather.run_jobs import FailedPart, describe, failed_parts
from splatworks.report.failure_causes import Cause, failure_cause
from splatworks.report.job_facts import Job
from splatworks.report.run_record import Run, RunStage
from splatworks.report.stage_figures import Interruption, interruptions, metric, seconds_run, sum_of, usd

READ_AT_ONCE = 10  # connections that a client keeps


@dataclass(frozen=True)
class Outcome:
    """How the parts of one stage ended."""

    stage: RunStage
    failed: tuple[FailedPart, ...]  # of themselves
    not_started: int  # because the same part failed in a stage before

    @property
    def done(self) -> int:
        return self.stage.size - len(self.failed) - self.not_started


@dataclass(frozen=True)
class Failure:
    index: int
    stage: str
    job: Job | None  # None where AWS Batch has forgotten it
    cause: Cause


@dataclass(frozen=True, kw_only=True)
class Part:
    """Figures of one scene or variant; None where its files do not tell."""

    index: int
    psnr: float | None
    loss_db: float | None
    megabytes: float | None
    gaussians: float | None
    seconds: float | None  # of the stages that are arrays
    usd: float | None
    interruptions: tuple[Interruption, ...]
    reused: int  # stages whose result was copied from an earlier run


def outcomes(run: Run, jobs: Mapping[str, Job]) -> list[Outcome]:
    """Of the stages that are arrays, in their order."""
    stages = [stage for stage in run.submitted if stage.is_array and stage.name in jobs]
    with ThreadPoolExecutor(max(1, len(stages))) as pool:
        listed = list(pool.map(lambda stage: failed_parts(jobs[stage.name].id), stages))
    return [_outcome(stage, failed) for stage, failed in zip(stages, listed, strict=True)]


def failures(found: Sequence[Outcome], most: int, region: str, bucket: str) -> list[Failure]:
    """Stage and cause of the first `most` parts that failed, in the order of their index."""
    wanted = sorted((part.index, outcome.stage.name, part.job_id) for outcome in found for part in outcome.failed)[
        :most
    ]
    jobs = {job.id: job for job in describe([job_id for _, _, job_id in wanted], region)}
    with ThreadPoolExecutor(READ_AT_ONCE) as pool:
        causes = list(pool.map(lambda each: _cause(jobs.get(each[2]), bucket), wanted))
    return [
        Failure(index, stage, jobs.get(job_id), cause)
        for (index, stage, job_id), cause in zip(wanted, causes, strict=True)
    ]


def ended_in(found: Iterable[Outcome]) -> dict[int, str]:
    """The stage in which each part that failed has failed, in the order of their index."""
    failed = [(part.index, outcome.stage.name) for outcome in found for part in outcome.failed]
    return dict(sorted(failed))


def read_parts(
    run: Run,
    indexes: Sequence[int],
    bucket: str,
    *,
    ended_in: Mapping[int, str],
    shared: Mapping[str, dict[str, Any]],
) -> list[Part]:
    """`ended_in`: the stage where a part failed, by index; `shared`: result.json of the stages that are no arrays."""
    stages = {index: _stages_run(run, ended_in.get(index)) for index in indexes}
    keys = [
        f"{stage.output_prefix}{index}/{name}"
        for index in indexes
        for stage in stages[index]
        for name in ("job.json", "result.json")
    ]
    with ThreadPoolExecutor(READ_AT_ONCE) as pool:
        files = dict(zip(keys, pool.map(lambda key: read_json(bucket, key), keys), strict=True))
    return [_part(index, stages[index], files, shared) for index in indexes]


def _stages_run(run: Run, ended_in: str | None) -> list[RunStage]:
    stages = [stage for stage in run.stages if stage.is_array]
    names = [stage.name for stage in stages]
    return stages[: names.index(ended_in) + 1] if ended_in else stages


def _outcome(stage: RunStage, listed: Sequence[FailedPart]) -> Outcome:
    of_themselves = tuple(part for part in listed if not part.dependency_failed)
    return Outcome(stage, of_themselves, len(listed) - len(of_themselves))


def _cause(job: Job | None, bucket: str) -> Cause:
    if job is None:
        return Cause("unknown", "AWS Batch has forgotten its job.", "Look at its job.json.")
    return failure_cause(read_files(job, bucket))


def _part(
    index: int,
    stages: Sequence[RunStage],
    files: Mapping[str, dict[str, Any]],
    shared: Mapping[str, dict[str, Any]],
) -> Part:
    reports = [files[f"{stage.output_prefix}{index}/job.json"] for stage in stages]
    results = dict(shared) | {stage.name: files[f"{stage.output_prefix}{index}/result.json"] for stage in stages}
    train, compress = results.get("train", {}), results.get("compress", {})
    return Part(
        index=index,
        psnr=metric(train, "psnr"),
        loss_db=metric(compress, "loss_db"),
        megabytes=metric(compress, "megabytes"),
        gaussians=metric(train, "gaussians"),
        seconds=sum_of(seconds_run(report) for report in reports),
        usd=sum_of(usd(report) for report in reports),
        interruptions=tuple(lost for report in reports for lost in interruptions(report)),
        reused=sum(bool(report.get("reused_from")) for report in reports),
    )
