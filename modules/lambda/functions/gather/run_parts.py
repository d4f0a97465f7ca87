"""Read about the parts of a run that is made of arrays: one for each scene, or for each variant of a sweep."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from gather.documents import READ_AT_ONCE, file_keys, parse_files, read_texts
from gather.job_files import read_files
from gather.run_jobs import describe, failed_parts
from splatworks.contract.documents.result import ResultDocument
from splatworks.contract.documents.run import RunDocument, RunStage
from splatworks.contract.keys import child_prefix
from splatworks.report.failure_causes import FailureCause, failure_cause
from splatworks.report.job_facts import BatchJob
from splatworks.report.part_facts import FailedPart, Outcome, Part, PartFailure, make_part

FORGOTTEN = FailureCause(
    code="unknown", title="unknown", cause="AWS Batch no longer knows its job.", fix="Look at its job.json."
)


def read_outcomes(run: RunDocument, jobs: Mapping[str, BatchJob]) -> list[Outcome]:
    """How the parts of each array ended, in the order of the stages."""
    stages = [stage for stage in run.submitted if stage.is_array and stage.stage in jobs]
    with ThreadPoolExecutor(max(1, len(stages))) as pool:
        listed = list(pool.map(failed_parts, [jobs[stage.stage].id for stage in stages]))
    return [_outcome(stage, failed) for stage, failed in zip(stages, listed, strict=True)]


def read_failures(outcomes: Sequence[Outcome], most: int, region: str, bucket: str) -> list[PartFailure]:
    """Stage and cause of the first `most` parts that failed, in the order of their index."""
    failed = [(part.index, outcome.stage.stage, part.job_id) for outcome in outcomes for part in outcome.failed]
    wanted = sorted(failed)[:most]
    jobs = {job.id: job for job in describe([job_id for _, _, job_id in wanted], region)}
    found = [jobs.get(job_id) for _, _, job_id in wanted]
    with ThreadPoolExecutor(READ_AT_ONCE) as pool:
        causes = list(pool.map(partial(_cause, bucket), found))
    return [
        PartFailure(index, stage, job, cause)
        for (index, stage, _), job, cause in zip(wanted, found, causes, strict=True)
    ]


def read_parts(
    run: RunDocument,
    indexes: Sequence[int],
    bucket: str,
    *,
    failed: Mapping[int, str],
    shared: Mapping[str, ResultDocument],
) -> list[Part]:
    """`failed`: the stage in which a part failed, by index; `shared`: result.json of the stages that are not arrays."""
    places = {index: _places(run, index, failed.get(index)) for index in indexes}
    prefixes = [prefix for stages in places.values() for prefix in stages.values()]
    texts = read_texts(bucket, file_keys(prefixes))
    parts = []
    for index, stages in places.items():
        files = {name: parse_files(texts, prefix, f"{name}/{index}/") for name, prefix in stages.items()}
        parts.append(make_part(index, files, shared))
    return parts


def _places(run: RunDocument, index: int, failed_in: str | None) -> dict[str, str]:
    """The output prefixes of a part, by stage, up to the stage in which it failed."""
    places = {}
    for stage in run.stages:
        if stage.is_array:
            places[stage.stage] = child_prefix(stage.place, index)
        if stage.stage == failed_in:
            break
    return places


def _outcome(stage: RunStage, listed: Sequence[FailedPart]) -> Outcome:
    failed = tuple(part for part in listed if not part.dependency_failed)
    return Outcome(stage, failed, len(listed) - len(failed))


def _cause(bucket: str, job: BatchJob | None) -> FailureCause:
    return failure_cause(read_files(job, bucket)) if job else FORGOTTEN
