"""The e-mail about a sweep: its variants from the best to the worst, here and as a table for a spreadsheet."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gather import run_continue
from gather.run_facts import StageFacts, chain_facts
from gather.run_links import sign
from gather.run_parts import Failure, Part, ended_in, failures, outcomes, read_parts
from gather.run_text import (
    Email,
    as_email,
    cell,
    failures_text,
    interruptions_text,
    lost_text,
    stages_text,
    took,
    view_keys,
    view_text,
)
from splatworks.planning.settings import MonitorSettings
from splatworks.report.email_text import labelled, table
from splatworks.report.job_facts import Job
from splatworks.report.run_record import Run
from splatworks.report.stage_figures import total_usd

TABLE = "leaderboard.csv"


@dataclass(frozen=True)
class Variant:
    part: Part
    parameters: dict[str, Any]  # by stage and name: train.cap_max
    failure: Failure | None

    @property
    def rank(self) -> tuple[bool, float, float, float]:
        """Best first: PSNR, then the loss of compression, then size. What is not known comes last."""
        part = self.part
        psnr = part.psnr if part.psnr is not None else float("-inf")
        return self.failure is not None, -psnr, _or_last(part.loss_db), _or_last(part.megabytes)


def compose(run: Run, jobs: Mapping[str, Job], settings: MonitorSettings, region: str) -> Email:
    facts = chain_facts(run, dict(jobs), settings.output_bucket)
    shared = [each for each in facts if not each.stage.is_array]
    ranked = _ranked(run, jobs, shared, settings.output_bucket, region)
    failed = {f"variant {each.part.index}": each.failure for each in ranked if each.failure}
    run_continue.write(settings.output_bucket, f"{run.folder}{TABLE}", _csv(ranked, run, settings), "text/csv")
    headline = _headline(run, ranked, len(failed))
    costs = {each.name: each.usd for each in shared} | {f"variant {each.part.index}": each.part.usd for each in ranked}
    lost = [each for variant in ranked for each in variant.part.interruptions]
    text = [
        f"{headline}.",
        labelled({"Took": took(run, facts), "Cost": total_usd(costs), "Lost": lost_text(lost)}),
        _leaderboard(ranked),
        f"What failed:\n{failures_text(failed, settings)}" if failed else "",
        _best_text(run, ranked[0], settings, region),
        stages_text(shared) if shared else "",
        interruptions_text(shared),
        _where_text(run, settings),
        _again_text(run, settings) if failed else "",
    ]
    return as_email(settings, headline, text, succeeded=not failed)


def _ranked(run: Run, jobs: Mapping[str, Job], shared: Sequence[StageFacts], bucket: str, region: str) -> list[Variant]:
    found = outcomes(run, jobs)
    size = run.stages[-1].size
    failed = {each.index: each for each in failures(found, size, region, bucket)}
    results = {each.name: each.result for each in shared}
    parts = read_parts(run, range(size), bucket, ended_in=ended_in(found), shared=results)
    variants = [Variant(part, _parameters(run, part.index), failed.get(part.index)) for part in parts]
    return sorted(variants, key=lambda variant: variant.rank)


def _parameters(run: Run, index: int) -> dict[str, Any]:
    stages = [stage for stage in run.stages if stage.variants]
    return {f"{stage.name}.{name}": value for stage in stages for name, value in stage.variants[index].items()}


def _headline(run: Run, ranked: Sequence[Variant], failed: int) -> str:
    if failed:
        return f"{run.id}: {failed} of {len(ranked)} variants FAILED"
    best = ranked[0].part
    figures = [f"{best.psnr:.2f} dB"] if best.psnr is not None else []
    figures += [f"{best.megabytes:.2f} MB"] if best.megabytes is not None else []
    return f"{run.id} is done: {len(ranked)} variants, the best with {' in '.join(figures) or 'unknown figures'}"


def _leaderboard(ranked: Sequence[Variant]) -> str:
    names = list(ranked[0].parameters)
    header = ("Variant", *names, "PSNR", "loss dB", "MB", "Gaussians", "minutes", "USD")
    rows = [
        (
            str(each.part.index),
            *(str(each.parameters[name]) for name in names),
            *(("failed",) + ("",) * 4 if each.failure else _figures(each.part)),
            cell(each.part.usd, 4),
        )
        for each in ranked
    ]
    return table(header, rows)


def _figures(part: Part) -> tuple[str, ...]:
    minutes = part.seconds and part.seconds / 60
    return (
        cell(part.psnr),
        cell(part.loss_db, 3),
        cell(part.megabytes),
        cell(part.gaussians, 0),
        cell(minutes, 1),
    )


def _csv(ranked: Sequence[Variant], run: Run, settings: MonitorSettings) -> str:
    names = list(ranked[0].parameters)
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(
        ["variant", *names, "psnr", "loss_db", "megabytes", "gaussians", "minutes", "usd", "failed", "output"]
    )
    for each in ranked:
        part = each.part
        minutes = round(part.seconds / 60, 2) if part.seconds is not None else None
        figures = [part.psnr, part.loss_db, part.megabytes, part.gaussians, minutes, part.usd]
        output = f"s3://{settings.output_bucket}/{run.stages[-1].output_prefix}{part.index}/"
        why = f"{each.failure.stage}: {each.failure.cause.title}" if each.failure else ""
        writer.writerow([part.index, *(each.parameters[name] for name in names), *figures, why, output])
    return file.getvalue()


def _best_text(run: Run, best: Variant, settings: MonitorSettings, region: str) -> str:
    if best.failure:
        return ""  # none is there to look at
    prefix = f"{run.stages[-1].output_prefix}{best.part.index}/"
    links = sign(view_keys(prefix), run.id, settings, region)
    return f"The best, variant {best.part.index}.\n\n{view_text(run, prefix, links, settings, region)}"


def _where_text(run: Run, settings: MonitorSettings) -> str:
    root = f"s3://{settings.output_bucket}/{run.folder}"
    return f"Where:\n  {root}<stage>/<variant>/\n  aws s3 cp {root}{TABLE} -"


def _again_text(run: Run, settings: MonitorSettings) -> str:
    message = run_continue.again_where_it_failed(run)
    return "Run it again (variants that are done are not run again):\n" + run_continue.command(message, run, settings)


def _or_last(value: float | None) -> float:
    return float("inf") if value is None else value
