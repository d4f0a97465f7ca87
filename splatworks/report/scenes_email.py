"""The e-mail about a run of several scenes: counts, failures with their causes, and figures of the others."""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from splatworks.contract.documents.run import RunDocument
from splatworks.contract.documents.scenes import SceneEntry, scenes_json
from splatworks.contract.keys import FAILED_SCENES, JOB, SCENES
from splatworks.report.email import Email, StoredFile, compose
from splatworks.report.email_text import table
from splatworks.report.page_links import page_keys, renew_command
from splatworks.report.part_facts import (
    Outcome,
    Part,
    PartFailure,
    columns,
    failure_lines,
    figure_cells,
    fix_lines,
    part_problems,
)
from splatworks.report.rerun import JSON, failed_again, run_again
from splatworks.report.run_facts import RunFacts
from splatworks.report.settings import ReportSettings
from splatworks.report.stage_figures import cell, lost_text, usd_text
from splatworks.report.stage_summary import took_text

COST_PROGRAM = "[.[].cost.usd] | {usd: add, unknown: map(select(. == null)) | length}"


@dataclass(frozen=True, kw_only=True)
class ScenesFacts:
    scenes: Sequence[SceneEntry]
    outcomes: Sequence[Outcome]
    failed: Mapping[int, str]  # stage of the failure, by index
    failures: Sequence[PartFailure]  # the first ones
    sample: Sequence[Part]  # the scenes whose files were read for sums and medians
    shown: Sequence[Part]  # the finished scenes that the e-mail lists; empty if there are too many


@dataclass(frozen=True, kw_only=True)
class ScenesView:
    project: str
    headline: str
    took: str
    cost: str
    medians: tuple[str, ...]
    reused: str
    lost: str
    counts: tuple[str, ...]
    failures_title: str
    failures: tuple[str, ...]
    fixes: tuple[str, ...]
    all_failures_command: str
    scenes: tuple[str, ...]
    problems: tuple[str, ...]
    folder: str
    scenes_command: str
    look_command: str
    cost_commands: tuple[str, ...]
    rerun_commands: tuple[str, ...]


def scenes_email(facts: RunFacts, found: ScenesFacts, settings: ReportSettings) -> Email:
    run, count = facts.run, facts.run.scenes.count
    root = f"s3://{settings.output_bucket}/{run.folder}"
    sampled = "" if len(found.sample) == count else f" (of {len(found.sample)} scenes that were sampled)"
    reused = sum(part.reused for part in found.sample)
    lost = lost_text([lost for part in found.sample for lost in part.spent.lost])
    named = {f"{found.scenes[each.index].name} (number {each.index})": each for each in found.failures}
    is_complete = len(found.failures) == len(found.failed)
    commands, files = _rerun(run, found, settings)
    view = ScenesView(
        project=settings.project_name,
        headline=_headline(run, found.failed),
        took=took_text(facts),
        cost=_cost_text(found.sample, count),
        medians=tuple(f"{line}{sampled}" for line in _median_lines(run, found)),
        reused=f"{reused} results of earlier runs{sampled}" if reused else "",
        lost=f"{lost}{sampled}" if lost else "",
        counts=_counts_table(found.outcomes),
        failures_title=_failures_title(found),
        failures=failure_lines(named, settings),
        fixes=fix_lines(found.failures),
        all_failures_command="" if is_complete else f"aws s3 cp {root}{FAILED_SCENES} -",
        scenes=_scenes_table(run, found),
        problems=part_problems(found.sample),
        folder=root,
        scenes_command=f"aws s3 cp {root}{SCENES} -      (names each number, the first is 0)",
        look_command=_look_command(facts, found.failed, settings),
        cost_commands=_cost_commands(run, root) if sampled else (),
        rerun_commands=commands,
    )
    return compose("run_scenes", view, succeeded=not found.failed, files=files)


def _headline(run: RunDocument, failed: Mapping[int, str]) -> str:
    if not failed:
        return f"{run.run_id} is done: {run.scenes.count:,} scenes"
    return f"{run.run_id}: {len(failed):,} of {run.scenes.count:,} scenes FAILED"


def _failures_title(found: ScenesFacts) -> str:
    shown, count = len(found.failures), len(found.failed)
    if not count:
        return ""
    return "What failed:" if shown == count else f"The first {shown} of {count:,} that failed:"


def _cost_text(sample: Sequence[Part], count: int) -> str:
    known = [part.spent.usd for part in sample if part.spent.usd is not None]
    if not known:
        return "unknown"
    if len(sample) < count:
        mean = usd_text(sum(known) / len(known))
        return f"{mean} per scene, the mean of {len(known)} that were sampled; the command for the sum is below"
    unknown = len(sample) - len(known)
    scenes = "1 scene" if unknown == 1 else f"{unknown} scenes"
    return f"at least {usd_text(sum(known))}; that of {scenes} is unknown" if unknown else usd_text(sum(known))


def _median_lines(run: RunDocument, found: ScenesFacts) -> list[str]:
    """Columns that have a unit."""
    lines = []
    for name, column in columns(run.stages):
        values = [part.metrics.get((name, column.metric)) for part in found.sample if part.index not in found.failed]
        known = [value for value in values if value is not None]
        if known and column.unit:
            middle, least, most = (f"{each:.{column.digits}f}" for each in (median(known), min(known), max(known)))
            lines.append(f"{column.heading + ':':<12}median {middle} {column.unit}, from {least} to {most}")
    return lines


def _counts_table(outcomes: Sequence[Outcome]) -> tuple[str, ...]:
    rows = [
        (outcome.stage.stage, f"{outcome.done:,}", f"{len(outcome.failed):,}", f"{outcome.not_started:,}")
        for outcome in outcomes
    ]
    return table(("Stage", "done", "failed", "not started"), rows)


def _scenes_table(run: RunDocument, found: ScenesFacts) -> tuple[str, ...]:
    if not found.shown:
        return ()
    compared = columns(run.stages)
    header = ("Scene", *(column.heading for _, column in compared), "minutes", "USD")
    rows = [
        (
            found.scenes[part.index].name,
            *figure_cells(part, compared),
            cell(part.minutes, 1),
            cell(part.spent.usd, 4),
        )
        for part in found.shown
    ]
    return table(header, rows)


def _look_command(facts: RunFacts, failed: Mapping[int, str], settings: ReportSettings) -> str:
    """The page of the first scene that is done."""
    index = next((index for index in range(facts.run.scenes.count) if index not in failed), None)
    keys = None if index is None else page_keys(facts.run.stages, index)
    return renew_command(keys.page, settings.output_bucket, facts.region) if keys else ""


def _cost_commands(run: RunDocument, root: str) -> tuple[str, str]:
    return (
        f"aws s3 cp --recursive --exclude '*' --include '*/{JOB}' {root} {run.run_id}/",
        f"find {run.run_id} -name {JOB} -exec cat {{}} + | jq -s {shlex.quote(COST_PROGRAM)}",
    )


def _rerun(
    run: RunDocument, found: ScenesFacts, settings: ReportSettings
) -> tuple[tuple[str, ...], tuple[StoredFile, ...]]:
    """Commands for the scenes that failed, and the list of these scenes."""
    if not found.failed:
        return (), ()
    key = f"{run.folder}{FAILED_SCENES}"
    left = json.dumps(scenes_json([found.scenes[index] for index in found.failed]), indent=1)
    commands, files = run_again(failed_again(run, f"s3://{settings.output_bucket}/{key}"), run, settings)
    return commands, (StoredFile(key, left, JSON), *files)
