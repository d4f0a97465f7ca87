"""The e-mail about a run of one scene: what came of it, where to look at it, or what to do now."""

from collections.abc import Sequence
from dataclasses import dataclass

import run_continue
from console_links import folder_link
from email_text import bounded, duration, labelled
from failure_causes import failure_cause
from job_email import log_text, machine_text
from job_facts import JobFacts
from run_facts import StageFacts
from run_links import Links, renewing_command
from run_record import Run, RunStage
from settings import MonitorSettings
from stage_figures import metric, seconds_run, total_usd, usd, usd_text

SHOWN_IN_SUBJECT = ("Photos", "PSNR", "Size")
PAGE, THUMBNAIL = "viewer/index.html", "thumbnail.png"


@dataclass(frozen=True)
class Email:
    subject: str
    body: str
    succeeded: bool


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
        labelled({**figures, "Took": _took(run, stages), "Cost": cost}),
        view_text(run, compress.stage, links, settings, region),
        _stages_text(stages),
        _interruptions_text(stages),
        "\n".join(["Warnings of sfm:", *(f"  {bounded(warning, 300)}" for warning in warnings)]) if warnings else "",
        _outputs_text("Output:", stages, settings),
        _get_text(run, compress, settings, region),
    ]
    return _email(settings, f"{headline}: {short}" if short else headline, parts, succeeded=True)


def failure(run: Run, failed: JobFacts, stages: Sequence[StageFacts], settings: MonitorSettings) -> Email:
    stage = next(each for each in stages if each.stage.job_name == failed.job.name)
    cause = failure_cause(failed)
    headline = f"{run.id} FAILED in {stage.name}: {cause.title}"
    message = run_continue.from_stage(run, stage.stage)
    first = stage.stage == run.stages[0]
    parts = [
        f"{headline}." + ("" if stage is stages[-1] else " The stages after it were not run."),
        f"Why:    {bounded(cause.text)}\nTo do:  {bounded(cause.fix)}",
        labelled(
            {"Took": _took(run, stages), "Cost": f"{total_usd({each.name: each.usd for each in stages})}, so far"}
        ),
        _stages_text(stages),
        _interruptions_text(stages),
        _outputs_text("What stands:", [each for each in stages if each.is_done], settings),
        f"What {stage.name} left:  s3://{settings.output_bucket}/{stage.stage.output_prefix}"
        if stage.was_started
        else "",
        log_text(failed, settings),
        ("Start again, once that is mended:" if first else f"Go on from {stage.name}, once that is mended:")
        + f"\n{run_continue.command(message, run, settings)}",
    ]
    return _email(settings, headline, parts, succeeded=False)


def view_text(run: Run, stage: RunStage, links: Links, settings: MonitorSettings, region: str) -> str:
    page, thumbnail = links.urls
    renew = renewing_command(settings.output_bucket, f"{stage.output_prefix}{PAGE}", region)
    return (
        f"See it in a browser:\n  {page}\n\nThumbnail:\n  {thumbnail}\n\n"
        f"Both links end at {links.expire:%Y-%m-%d %H:%M} UTC. Whoever has the link can open it until then.\n"
        f"A new one, which ends after a week or with the credentials that you sign it with, whichever is first:\n"
        f"  {renew}\n  splatworks open {run.id}"
    )


def view_keys(stage: RunStage) -> list[str]:
    return [f"{stage.output_prefix}{PAGE}", f"{stage.output_prefix}{THUMBNAIL}"]


def _email(settings: MonitorSettings, headline: str, parts: Sequence[str], *, succeeded: bool) -> Email:
    body = "\n\n".join(part for part in parts if part) + "\n"
    return Email(f"[{settings.project_name}] {headline}", body, succeeded)


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
        figures["Loss"] = f"{loss:.3f} dB by compression"
    return figures


def _took(run: Run, stages: Sequence[StageFacts]) -> str:
    stops = [each.job.stopped_at for each in stages if each.job and each.job.stopped_at]
    return f"{duration(max(0.0, max(stops) - run.submitted_at))} from the message to the end" if stops else ""


def _stages_text(stages: Sequence[StageFacts]) -> str:
    return "Stages:\n" + "\n".join(f"  {each.name + ':':<10}{_stage_text(each)}" for each in stages)


def _stage_text(stage: StageFacts) -> str:
    if stage.stage.reused_from:
        return _reused_text(stage)
    job = stage.job
    if job is None:
        return _forgotten_text(stage)
    if not job.has_ended:
        return f"{job.status} when this was written"
    if not job.attempts:
        return "not started"
    words = [f"{'done' if job.succeeded else 'FAILED'} after {duration(stage.seconds or 0.0)}"]
    if stage.waited_seconds is not None:
        words.append(f"waited {duration(stage.waited_seconds)} for a machine")
    return "; ".join([*words, *_machine_and_cost(stage)])


def _forgotten_text(stage: StageFacts) -> str:
    """Batch keeps a job for a week; job.json is there for longer."""
    if not stage.is_done:
        return "unknown: AWS Batch has forgotten its job"
    known = [f"done after {duration(stage.seconds)}"] if stage.seconds is not None else ["done"]
    return "; ".join([*known, *_machine_and_cost(stage)])


def _machine_and_cost(stage: StageFacts) -> list[str]:
    return [machine_text(stage.report), usd_text(stage.usd) if stage.usd is not None else "cost unknown"]


def _reused_text(stage: StageFacts) -> str:
    run = str(stage.stage.reused_from).split("/")[2]
    seconds, cost = seconds_run(stage.report), usd(stage.report)
    saved = [duration(seconds)] if seconds is not None else []
    saved += [usd_text(cost)] if cost is not None else []
    return f"reused from {run}" + (f" (saved {' and '.join(saved)})" if saved else "")


def _interruptions_text(stages: Sequence[StageFacts]) -> str:
    lines = []
    for each in stages:
        if lost := each.interruptions:
            lines.append(_interruption_text(each.name, lost))
    return "\n".join(lines)


def _interruption_text(stage: str, lost: Sequence[float | None]) -> str:
    times = "once" if len(lost) == 1 else f"{len(lost)} times"
    known = [seconds for seconds in lost if seconds is not None]
    spent = f"{sum(known):.0f} s"
    if len(known) < len(lost):
        spent = f"{spent} and an unknown time" if known else "an unknown time"
    return f"{stage} was interrupted {times}: {spent} in attempts that did not end, less what their checkpoints kept."


def _outputs_text(title: str, stages: Sequence[StageFacts], settings: MonitorSettings) -> str:
    if not stages:
        return ""
    lines = [f"  {each.name + ':':<10}s3://{settings.output_bucket}/{each.stage.output_prefix}" for each in stages]
    return "\n".join([title, *lines])


def _get_text(run: Run, stage: StageFacts, settings: MonitorSettings, region: str) -> str:
    uri = f"s3://{settings.output_bucket}/{stage.stage.output_prefix}"
    link = folder_link(stage.stage.queue, region, settings.output_bucket, stage.stage.output_prefix)
    return f"Get the scene:\n  aws s3 cp --recursive {uri} {run.id}/\n  {link}"
