"""The parts of a run that is made of arrays: one for each scene, or for each variant of a sweep."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from splatworks.contract.documents.result import ResultDocument
from splatworks.contract.documents.run import RunStage
from splatworks.contract.stage import Column, number
from splatworks.contract.stages import STAGES
from splatworks.report.email_text import bounded
from splatworks.report.failure_causes import FailureCause
from splatworks.report.job_email import job_log_link
from splatworks.report.job_facts import BatchJob, StageFiles
from splatworks.report.settings import ReportSettings
from splatworks.report.stage_figures import Spent, cell, spent, sum_of

CAUSE_LIMIT = 300  # characters of one cause in a list
FIXES_SHOWN = 5
PROBLEMS_SHOWN = 5


@dataclass(frozen=True)
class FailedPart:
    """A part of an array that failed, as ListJobs lists it."""

    index: int
    job_id: str
    dependency_failed: bool  # it never started, because the same part of the stage before failed


@dataclass(frozen=True)
class Outcome:
    """How the parts of one stage ended."""

    stage: RunStage
    failed: tuple[FailedPart, ...]  # in this stage
    not_started: int  # because the same part failed in a stage before

    @property
    def done(self) -> int:
        return self.stage.size - len(self.failed) - self.not_started


@dataclass(frozen=True)
class PartFailure:
    index: int
    stage: str
    job: BatchJob | None  # None if AWS Batch no longer knows it
    failure: FailureCause


@dataclass(frozen=True, kw_only=True)
class Part:
    """Figures of one scene or variant."""

    index: int
    metrics: Mapping[tuple[str, str], float | None]  # by stage and metric
    spent: Spent  # in the stages that are arrays
    reused: int  # stages whose result was copied from an earlier run
    problems: tuple[str, ...] = ()

    @property
    def minutes(self) -> float | None:
        return None if self.spent.seconds is None else self.spent.seconds / 60


def columns(stages: Iterable[RunStage]) -> list[tuple[str, Column]]:
    """The columns that compare the parts of a run, with their stage, in the order of the stages."""
    names = [stage.stage for stage in stages if stage.stage in STAGES]
    return [(name, column) for name in names for column in STAGES[name].columns]


def make_part(index: int, files: Mapping[str, StageFiles], shared: Mapping[str, ResultDocument]) -> Part:
    """`files`: by stage, of this part; `shared`: result.json of the stages that are not arrays."""
    spendings = [spent(each.report) for each in files.values()]
    results = {**shared, **{name: each.result for name, each in files.items()}}
    return Part(
        index=index,
        metrics={
            (name, column.metric): number(result.metrics.get(column.metric))
            for name, result in results.items()
            if name in STAGES
            for column in STAGES[name].columns
        },
        spent=Spent(
            seconds=sum_of(each.seconds for each in spendings),
            usd=sum_of(each.usd for each in spendings),
            lost=tuple(lost for each in spendings for lost in each.lost),
        ),
        reused=sum(bool(each.report.reused_from) for each in files.values()),
        problems=tuple(problem for each in files.values() for problem in each.problems),
    )


def stage_of_failure(outcomes: Iterable[Outcome]) -> dict[int, str]:
    """The stage in which each failed part has failed, in the order of their index."""
    return dict(sorted((part.index, outcome.stage.stage) for outcome in outcomes for part in outcome.failed))


def figure_cells(part: Part, compared: Sequence[tuple[str, Column]]) -> tuple[str, ...]:
    return tuple(cell(part.metrics.get((name, column.metric)), column.digits) for name, column in compared)


def failure_lines(named: Mapping[str, PartFailure], settings: ReportSettings) -> tuple[str, ...]:
    return tuple(line for name, each in named.items() for line in _failure_lines(name, each, settings))


def fix_lines(failures: Iterable[PartFailure]) -> tuple[str, ...]:
    """Each fix once."""
    return tuple(dict.fromkeys(bounded(each.failure.fix, CAUSE_LIMIT) for each in failures))[:FIXES_SHOWN]


def part_problems(parts: Iterable[Part]) -> tuple[str, ...]:
    problems = [problem for part in parts for problem in part.problems]
    more = len(problems) - PROBLEMS_SHOWN
    return (*problems[:PROBLEMS_SHOWN], *([f"{more} more files cannot be read"] if more > 0 else []))


def _failure_lines(name: str, part: PartFailure, settings: ReportSettings) -> Iterator[str]:
    yield f"{name}, in {part.stage}: {part.failure.title}: {bounded(part.failure.cause, CAUSE_LIMIT)}"
    if part.job and (link := job_log_link(part.job, settings)):
        yield f"  {link}"
