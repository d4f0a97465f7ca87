"""The e-mail about a sweep: its variants from the best to the worst, here and as a table for a spreadsheet."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from splatworks.contract.documents.run import RunDocument
from splatworks.contract.keys import LEADERBOARD, child_prefix
from splatworks.report.email import Email, StoredFile, compose
from splatworks.report.email_text import table
from splatworks.report.page_links import PageView, page_fields
from splatworks.report.part_facts import (
    Part,
    PartFailure,
    columns,
    failure_lines,
    figure_cells,
    fix_lines,
    part_problems,
)
from splatworks.report.rerun import CSV, failed_again, run_again
from splatworks.report.run_facts import RunFacts
from splatworks.report.settings import ReportSettings
from splatworks.report.stage_figures import cell, lost_text, total_usd
from splatworks.report.stage_summary import (
    interruption_lines,
    stage_lines,
    stage_problems,
    summarize_stages,
    took_text,
)


@dataclass(frozen=True, kw_only=True)
class Variant:
    part: Part
    parameters: dict[str, Any]  # by stage and name: train.cap_max
    failure: PartFailure | None
    rank: tuple[float, ...]  # the smallest is the best

    @property
    def name(self) -> str:
        return f"variant {self.part.index}"


@dataclass(frozen=True, kw_only=True)
class SweepView(PageView):
    project: str
    headline: str
    took: str
    cost: str
    lost: str
    leaderboard: tuple[str, ...]
    failures: tuple[str, ...]
    fixes: tuple[str, ...]
    best: str
    stages: tuple[str, ...]
    interruptions: tuple[str, ...]
    problems: tuple[str, ...]
    folder: str
    leaderboard_command: str
    rerun_commands: tuple[str, ...]


def ranked_variants(run: RunDocument, parts: Sequence[Part], failures: Mapping[int, PartFailure]) -> list[Variant]:
    """Best first, by the ranked columns of the stages in their order; unknown figures and failures come last."""
    variants = [
        Variant(
            part=part,
            parameters=_parameters(run, part.index),
            failure=failures.get(part.index),
            rank=(part.index in failures, *_rank(run, part)),
        )
        for part in parts
    ]
    return sorted(variants, key=lambda variant: variant.rank)


def sweep_email(facts: RunFacts, ranked: Sequence[Variant], settings: ReportSettings) -> Email:
    """`facts.stages` are the stages that all variants share, `facts.links` lead to the best variant."""
    run, shared, best = facts.run, summarize_stages(facts), ranked[0]
    root = f"s3://{settings.output_bucket}/{run.folder}"
    named = {each.name: each.failure for each in ranked if each.failure}
    costs = {each.stage.stage: each.usd for each in shared} | {each.name: each.part.spent.usd for each in ranked}
    commands, files = run_again(failed_again(run), run, settings) if named else ((), ())
    view = SweepView(
        **page_fields(facts.links, run.run_id, settings.output_bucket, facts.region),
        project=settings.project_name,
        headline=_headline(run, ranked, len(named)),
        took=took_text(facts),
        cost=total_usd(costs),
        lost=lost_text([lost for each in ranked for lost in each.part.spent.lost]),
        leaderboard=_leaderboard(run, ranked),
        failures=failure_lines(named, settings),
        fixes=fix_lines(named.values()),
        best="" if best.failure else best.name,
        stages=stage_lines(shared),
        interruptions=interruption_lines(shared),
        problems=(*stage_problems(facts), *part_problems([each.part for each in ranked])),
        folder=root,
        leaderboard_command=f"aws s3 cp {root}{LEADERBOARD} -",
        rerun_commands=commands,
    )
    board = StoredFile(f"{run.folder}{LEADERBOARD}", _csv(run, ranked, settings), CSV)
    return compose("run_sweep", view, succeeded=not named, files=(board, *files))


def _parameters(run: RunDocument, index: int) -> dict[str, Any]:
    return {
        f"{stage.stage}.{name}": value
        for stage in run.stages
        for name, value in (stage.variants[index] if stage.variants else {}).items()
    }


def _rank(run: RunDocument, part: Part) -> list[float]:
    ranks = []
    for name, column in columns(run.stages):
        value = part.metrics.get((name, column.metric))
        if column.rank:
            ranks.append(float("inf") if value is None else -column.rank * value)
    return ranks


def _headline(run: RunDocument, ranked: Sequence[Variant], failed: int) -> str:
    if failed:
        return f"{run.run_id}: {failed} of {len(ranked)} variants FAILED"
    metrics = ranked[0].part.metrics
    figures = [
        f"{value:.{column.digits}f} {column.unit}"
        for name, column in columns(run.stages)
        if column.unit and (value := metrics.get((name, column.metric))) is not None
    ]
    return f"{run.run_id} is done: {len(ranked)} variants, the best with {' in '.join(figures) or 'unknown figures'}"


def _leaderboard(run: RunDocument, ranked: Sequence[Variant]) -> tuple[str, ...]:
    compared, names = columns(run.stages), list(ranked[0].parameters)
    header = ("Variant", *names, *(column.heading for _, column in compared), "minutes", "USD")
    failed = ("failed", *[""] * len(compared))
    rows = [
        (
            str(each.part.index),
            *(str(each.parameters[name]) for name in names),
            *(failed if each.failure else (*figure_cells(each.part, compared), cell(each.part.minutes, 1))),
            cell(each.part.spent.usd, 4),
        )
        for each in ranked
    ]
    return table(header, rows)


def _csv(run: RunDocument, ranked: Sequence[Variant], settings: ReportSettings) -> str:
    compared, names = columns(run.stages), list(ranked[0].parameters)
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    metrics = [column.metric for _, column in compared]
    writer.writerow(["variant", *names, *metrics, "minutes", "usd", "failed", "output"])
    for each in ranked:
        part = each.part
        minutes = None if part.minutes is None else round(part.minutes, 2)
        figures = [part.metrics.get((name, column.metric)) for name, column in compared]
        output = f"s3://{settings.output_bucket}/{child_prefix(run.stages[-1].output_prefix, part.index)}"
        why = f"{each.failure.stage}: {each.failure.failure.title}" if each.failure else ""
        parameters = [each.parameters[name] for name in names]
        writer.writerow([part.index, *parameters, *figures, minutes, part.spent.usd, why, output])
    return file.getvalue()
