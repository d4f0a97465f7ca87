"""The pieces of which e-mails about runs are made."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gather.run_facts import StageFacts
from gather.run_links import Links, renewing_command
from gather.run_parts import Failure
from splatworks.planning.settings import MonitorSettings
from splatworks.report.console_links import folder_link, log_link
from splatworks.report.email_text import bounded, duration
from splatworks.report.job_email import machine_text
from splatworks.report.run_record import Run
from splatworks.report.stage_figures import Interruption, seconds_run, usd, usd_text

PAGE, THUMBNAIL = "viewer/index.html", "thumbnail.png"
CAUSE_LIMIT = 300  # characters of one cause in a list
FIXES_SHOWN = 5


@dataclass(frozen=True)
class Email:
    subject: str
    body: str
    succeeded: bool


def as_email(settings: MonitorSettings, headline: str, parts: Sequence[str], *, succeeded: bool) -> Email:
    body = "\n\n".join(part for part in parts if part) + "\n"
    return Email(f"[{settings.project_name}] {headline}", body, succeeded)


def view_text(run: Run, prefix: str, links: Links, settings: MonitorSettings, region: str) -> str:
    page, thumbnail = links.urls
    renew = renewing_command(settings.output_bucket, f"{prefix}{PAGE}", region)
    return (
        f"See it in a browser:\n  {page}\n\nThumbnail:\n  {thumbnail}\n\n"
        f"Both links end at {links.expire:%Y-%m-%d %H:%M} UTC. Whoever has the link can open it until then.\n"
        f"A new one, which ends after a week or with the credentials that you sign it with, whichever is first:\n"
        f"  {renew}\n  splatworks open {run.id}"
    )


def view_keys(prefix: str) -> list[str]:
    return [f"{prefix}{PAGE}", f"{prefix}{THUMBNAIL}"]


def took(run: Run, stages: Sequence[StageFacts]) -> str:
    stops = [each.job.stopped_at for each in stages if each.job and each.job.stopped_at]
    return f"{duration(max(0.0, max(stops) - run.submitted_at))} from the message to the end" if stops else ""


def stages_text(stages: Sequence[StageFacts]) -> str:
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
        return "no job of it is known to AWS Batch"
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


def interruptions_text(stages: Sequence[StageFacts]) -> str:
    lost = {each.name: lost_text(each.interruptions) for each in stages}
    lines = [f"{name} was {text}: it went on from its last checkpoint." for name, text in lost.items() if text]
    return "\n".join(lines)


def lost_text(lost: Sequence[Interruption]) -> str:
    if not lost:
        return ""
    times = "once" if len(lost) == 1 else f"{len(lost)} times"
    known = [each.seconds for each in lost if each.seconds is not None]
    spent = f"{sum(known):.0f} s"
    if len(known) < len(lost):
        spent = f"{spent} and an unknown time" if known else "an unknown time"
    return f"interrupted {times}, with {spent} lost at most"


def failures_text(named: Mapping[str, Failure], settings: MonitorSettings) -> str:
    """What failed, by name, with its log, and each thing to do once."""
    lines = []
    for name, each in named.items():
        lines.append(f"  {name}, in {each.stage}: {each.cause.title}: {bounded(each.cause.text, CAUSE_LIMIT)}")
        job, last = each.job, each.job.last if each.job else None
        if job and last and last.log_stream:
            lines.append(f"    {log_link(job.queue_arn, job.region, settings.job_log_group, last.log_stream)}")
    fixes = dict.fromkeys(bounded(each.cause.fix, CAUSE_LIMIT) for each in named.values())
    return "\n".join([*lines, "To do:", *(f"  {fix}" for fix in list(fixes)[:FIXES_SHOWN])])


def cell(value: float | None, digits: int = 2) -> str:
    return "unknown" if value is None else f"{value:,.{digits}f}"


def outputs_text(title: str, stages: Sequence[StageFacts], settings: MonitorSettings) -> str:
    if not stages:
        return ""
    lines = [f"  {each.name + ':':<10}s3://{settings.output_bucket}/{each.stage.output_prefix}" for each in stages]
    return "\n".join([title, *lines])


def get_text(run: Run, stage: StageFacts, settings: MonitorSettings, region: str) -> str:
    uri = f"s3://{settings.output_bucket}/{stage.stage.output_prefix}"
    link = folder_link(stage.stage.queue, region, settings.output_bucket, stage.stage.output_prefix)
    return f"Get the scene:\n  aws s3 cp --recursive {uri} {run.id}/\n  {link}"
