"""The e-mail about a run of one scene: what came of it, where to look at it, or what to do now."""

from collections.abc import Sequence

from gather import run_continue
from gather.run_facts import StageFacts
from gather.run_links import Links
from gather.run_text import (
    Email,
    as_email,
    get_text,
    interruptions_text,
    outputs_text,
    stages_text,
    took,
    view_text,
)
from splatworks.planning.settings import MonitorSettings
from splatworks.report.email_text import bounded, labelled
from splatworks.report.failure_causes import failure_cause
from splatworks.report.job_email import log_text
from splatworks.report.job_facts import JobFacts
from splatworks.report.run_record import Run
from splatworks.report.stage_figures import metric, total_usd

SHOWN_IN_SUBJECT = ("Photos", "PSNR", "Size")


def success(
    run: Run,
    stages: Sequence[StageFacts],
    warnings: Sequence[str],
    links: Links,
    settings: MonitorSettings,
    region: str,
) -> Email:
    figures = _figures(stages)
    short = ", ".join(figures[name] for name in SHOWN_IN_SUBJECT if name in figures)
    headline = f"{run.id} is done"
    compress = stages[-1]
    cost = total_usd({each.name: each.usd for each in stages})
    parts = [
        f"{headline}.",
        labelled({**figures, "Took": took(run, stages), "Cost": cost}),
        view_text(run, compress.stage.output_prefix, links, settings, region),
        stages_text(stages),
        interruptions_text(stages),
        "\n".join(["Warnings of sfm:", *(f"  {bounded(warning, 300)}" for warning in warnings)]) if warnings else "",
        outputs_text("Output:", stages, settings),
        get_text(run, compress, settings, region),
    ]
    return as_email(settings, f"{headline}: {short}" if short else headline, parts, succeeded=True)


def failure(run: Run, failed: JobFacts, stages: Sequence[StageFacts], settings: MonitorSettings) -> Email:
    stage = next(each for each in stages if each.stage.job_name == failed.job.name)
    cause = failure_cause(failed)
    headline = f"{run.id} FAILED in {stage.name}: {cause.title}"
    message = run_continue.from_stage(run, stage.stage)
    first = stage.stage == run.stages[0]
    paid = stages[: stages.index(stage) + 1]
    parts = [
        f"{headline}." + ("" if stage is stages[-1] else " The stages after it were not run."),
        f"Why:    {bounded(cause.text)}\nTo do:  {bounded(cause.fix)}",
        labelled({"Took": took(run, stages), "Cost": f"{total_usd({each.name: each.usd for each in paid})}, so far"}),
        stages_text(stages),
        interruptions_text(stages),
        outputs_text("What stands:", [each for each in stages if each.is_done], settings),
        f"What {stage.name} left:  s3://{settings.output_bucket}/{stage.stage.output_prefix}"
        if stage.was_started
        else "",
        log_text(failed, settings),
        ("Start again, once that is mended:" if first else f"Go on from {stage.name}, once that is mended:")
        + f"\n{run_continue.command(message, run, settings)}",
    ]
    return as_email(settings, headline, parts, succeeded=False)


def _figures(stages: Sequence[StageFacts]) -> dict[str, str]:
    by_name = {each.name: each.result for each in stages}
    sfm, train, compress = (by_name.get(name, {}) for name in ("sfm", "train", "compress"))
    figures = {}
    photos, registered = metric(sfm, "photos"), metric(sfm, "registered")
    if photos is not None and registered is not None:
        figures["Photos"] = f"{registered:,} of {photos:,} registered"
    if (psnr := metric(train, "psnr")) is not None:
        figures["PSNR"] = f"{psnr:.2f} dB"
    if (gaussians := metric(train, "gaussians")) is not None:
        figures["Gaussians"] = f"{gaussians:,}"
    if (megabytes := metric(compress, "megabytes")) is not None:
        figures["Size"] = f"{megabytes:.2f} MB"
    if (loss := metric(compress, "loss_db")) is not None:
        how = compress["metrics"].get("loss_is")
        figures["Loss"] = f"{loss:.3f} dB by compression" + (f", {bounded(how, 100)}" if isinstance(how, str) else "")
    return figures
