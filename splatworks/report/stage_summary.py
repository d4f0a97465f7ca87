"""The stages of a run, each summed up once."""

from collections.abc import Sequence
from dataclasses import dataclass

from splatworks.contract.documents.job import LostAttempt
from splatworks.contract.documents.run import RunStage
from splatworks.contract.keys import run_of_prefix
from splatworks.contract.stages import STAGES
from splatworks.report.email_text import LINE_LIMIT, bounded, duration
from splatworks.report.job_email import machine_text
from splatworks.report.run_facts import RunFacts, StageFacts
from splatworks.report.stage_figures import Spent, lost_text, spent, usd_text

WARNINGS_SHOWN = 5
WARNING_LIMIT = 300  # characters of one warning


@dataclass(frozen=True, kw_only=True)
class StageSummary:
    stage: RunStage
    state: str  # one line: how it ended, how long it took, on which machine, for how much
    is_done: bool
    was_started: bool
    usd: float | None  # cost in this run
    lost: tuple[LostAttempt, ...]
    figures: dict[str, str]  # by label
    subject_figures: tuple[str, ...]
    warnings: tuple[str, ...]


def summarize_stages(facts: RunFacts) -> list[StageSummary]:
    summaries = []
    ready = facts.run.submitted_seconds  # the stage before has ended
    for each in facts.stages:
        summaries.append(_summarize(each, ready))
        if each.job and each.job.started_at:
            ready = each.job.stopped_at or ready
    return summaries


def stage_lines(stages: Sequence[StageSummary]) -> tuple[str, ...]:
    return tuple([f"{each.stage.stage + ':':<10}{each.state}" for each in stages])


def interruption_lines(stages: Sequence[StageSummary]) -> tuple[str, ...]:
    return tuple(
        [
            f"{each.stage.stage} was {lost_text(each.lost)}: it continued from its last checkpoint."
            for each in stages
            if each.lost
        ]
    )


def output_lines(stages: Sequence[StageSummary], bucket: str) -> tuple[str, ...]:
    return tuple([f"{each.stage.stage + ':':<10}s3://{bucket}/{each.stage.place}" for each in stages])


def stage_problems(facts: RunFacts) -> tuple[str, ...]:
    return tuple([problem for each in facts.stages for problem in each.files.problems])


def took_text(facts: RunFacts) -> str:
    stops = [job.stopped_at for job in facts.jobs.values() if job.stopped_at]
    if not stops:
        return ""
    return f"{duration(max(0.0, max(stops) - facts.run.submitted_seconds))} from the message to the end"


def _summarize(facts: StageFacts, ready: float) -> StageSummary:
    stage, job, report = facts.stage, facts.job, facts.files.report
    total = spent(report, job.attempts if job else ())
    is_done = job.succeeded if job else bool(stage.reused_from) or report.is_done
    is_free = stage.is_of_another_run or (job is not None and not job.attempts)
    figures, in_subject = _figures(facts)
    warnings = facts.files.result.metrics.get("warnings")
    return StageSummary(
        stage=stage,
        state=_state(facts, total, ready, is_done=is_done),
        is_done=is_done,
        was_started=bool(job.attempts) if job else report.is_known,
        usd=0.0 if is_free else total.usd,
        lost=() if stage.is_of_another_run else total.lost,
        figures=figures,
        subject_figures=in_subject,
        warnings=tuple([bounded(str(each), WARNING_LIMIT) for each in warnings[:WARNINGS_SHOWN]])
        if isinstance(warnings, list)
        else (),
    )


def _figures(facts: StageFacts) -> tuple[dict[str, str], tuple[str, ...]]:
    """The stage's key figures by label, and those of them that the subject shows."""
    definition = STAGES.get(facts.stage.stage)
    figures, in_subject = {}, []
    for figure in definition.figures if definition else ():
        if text := figure.of(facts.files.result.metrics):
            figures[figure.label] = text[:LINE_LIMIT]
            if figure.in_subject:
                in_subject.append(text)
    return figures, tuple(in_subject)


def _state(facts: StageFacts, total: Spent, ready: float, *, is_done: bool) -> str:
    job = facts.job
    if facts.stage.is_of_another_run:
        return _reused_state(facts.stage.place, total)
    cost = "cost unknown" if total.usd is None else usd_text(total.usd)
    if job is None:
        took = "done" if total.seconds is None else f"done after {duration(total.seconds)}"
        # Batch keeps a job for a week; job.json is kept for longer.
        return "; ".join([took, machine_text(facts.files.report), cost]) if is_done else "AWS Batch knows no job of it"
    if not is_done and not job.has_ended:
        return f"{job.status} when this was written"
    if not job.attempts:
        return "not started"
    words = ["done" if is_done else "FAILED"]
    seconds = total.seconds
    if job.started_at:
        waited = duration(max(0.0, job.started_at - max(ready, job.created_at or ready)))
        words.append(f"waited {waited} for a machine")
        seconds = max(0.0, job.stopped_at - job.started_at) if job.stopped_at else seconds
    words[0] += f" after {duration(seconds or 0.0)}"
    return "; ".join([*words, machine_text(facts.files.report), cost])


def _reused_state(prefix: str, total: Spent) -> str:
    saved = [duration(total.seconds)] if total.seconds is not None else []
    saved += [usd_text(total.usd)] if total.usd is not None else []
    return f"reused from {run_of_prefix(prefix)}" + (f" (saved {' and '.join(saved)})" if saved else "")
