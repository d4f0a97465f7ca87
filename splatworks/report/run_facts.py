"""Facts about a run: its run.json, the Batch jobs of its stages and their files in S3."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from splatworks.contract.documents.run import RunDocument, RunStage
from splatworks.report.job_facts import BatchJob, StageFiles
from splatworks.report.page_links import Links


@dataclass(frozen=True, kw_only=True)
class StageFacts:
    stage: RunStage
    job: BatchJob | None  # None if an earlier run's result is used, or if Batch no longer knows the job
    files: StageFiles = field(default_factory=StageFiles)


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    run: RunDocument
    region: str
    jobs: Mapping[str, BatchJob]  # by stage
    stages: tuple[StageFacts, ...] = ()
    links: Links | None = None


def ends_run(run: RunDocument, stage: RunStage, *, failed: bool) -> bool:
    """Whether a run is over when this stage's job has ended.

    A failed part of an array stops its own scene or variant only, so an array before the last does not end the run.
    """
    return stage == run.submitted[-1] or (failed and not stage.is_array)
