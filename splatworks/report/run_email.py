"""The e-mail about a run of one scene: its result and where to look at it, or why it failed and what to do."""

import shlex
from dataclasses import dataclass

from splatworks.report.attempts import exit_code_in_words
from splatworks.report.console_links import folder_link
from splatworks.report.email import Email, compose
from splatworks.report.email_text import bounded, log_line
from splatworks.report.failure_causes import failure_cause
from splatworks.report.job_email import job_log_link
from splatworks.report.job_facts import JobFacts
from splatworks.report.page_links import PageView, page_fields
from splatworks.report.rerun import from_stage, run_again
from splatworks.report.run_facts import RunFacts
from splatworks.report.settings import ReportSettings
from splatworks.report.stage_figures import total_usd
from splatworks.report.stage_summary import (
    StageSummary,
    interruption_lines,
    output_lines,
    stage_lines,
    stage_problems,
    summarize_stages,
    took_text,
)


@dataclass(frozen=True, kw_only=True)
class DoneRunView(PageView):
    project: str
    run_id: str
    summary: str
    figures: tuple[str, ...]
    took: str
    cost: str
    stages: tuple[str, ...]
    interruptions: tuple[str, ...]
    warnings: tuple[str, ...]
    problems: tuple[str, ...]
    outputs: tuple[str, ...]
    copy_command: str
    output_link: str


@dataclass(frozen=True, kw_only=True)
class FailedRunView:
    project: str
    run_id: str
    stage: str
    title: str
    not_run: str
    cause: str
    fix: str
    took: str
    cost: str
    exit_code: str
    stages: tuple[str, ...]
    interruptions: tuple[str, ...]
    problems: tuple[str, ...]
    outputs: tuple[str, ...]
    partial_output: str
    log_link: str
    log_lines: tuple[str, ...]
    restart_commands: tuple[str, ...]
    continue_from: str
    continue_commands: tuple[str, ...]


def done_email(facts: RunFacts, settings: ReportSettings) -> Email:
    run, bucket = facts.run, settings.output_bucket
    stages = summarize_stages(facts)
    last = stages[-1]
    short = [text for each in stages for text in each.subject_figures]
    view = DoneRunView(
        **page_fields(facts.links, run.run_id, bucket, facts.region),
        project=settings.project_name,
        run_id=run.run_id,
        summary=f": {', '.join(short)}" if short else "",
        figures=tuple([f"{label + ':':<12}{text}" for each in stages for label, text in each.figures.items()]),
        took=took_text(facts),
        cost=total_usd({each.stage.stage: each.usd for each in stages}),
        stages=stage_lines(stages),
        interruptions=interruption_lines(stages),
        warnings=tuple([f"{each.stage.stage}: {warning}" for each in stages for warning in each.warnings]),
        problems=stage_problems(facts),
        outputs=output_lines(stages, bucket),
        copy_command=f"aws s3 cp --recursive {shlex.quote(f's3://{bucket}/{last.stage.place}')} {run.run_id}/",
        output_link=folder_link(last.stage.queue, facts.region, bucket, last.stage.place),
    )
    return compose("run_done", view, succeeded=True)


def failed_email(facts: RunFacts, failed: JobFacts, settings: ReportSettings) -> Email:
    run, bucket = facts.run, settings.output_bucket
    stages = summarize_stages(facts)
    index = next(i for i, each in enumerate(stages) if each.stage.job_name == failed.job.name)
    stage = stages[index].stage
    failure = failure_cause(failed)
    commands, files = run_again(from_stage(run, stage), run, settings)
    is_first = stage == run.stages[0]
    view = FailedRunView(
        project=settings.project_name,
        run_id=run.run_id,
        stage=stage.stage,
        title=failure.title,
        not_run=", ".join([each.stage.stage for each in stages[index + 1 :]]),
        cause=bounded(failure.cause),
        fix=bounded(failure.fix),
        took=took_text(facts),
        cost=f"{total_usd({each.stage.stage: each.usd for each in stages[: index + 1]})}, so far",
        exit_code=exit_code_in_words(failed),
        stages=stage_lines(stages),
        interruptions=interruption_lines(stages),
        problems=tuple(dict.fromkeys((*failed.problems, *stage_problems(facts)))),
        outputs=output_lines([each for each in stages if each.is_done], bucket),
        partial_output=_partial_output(stages[index], bucket),
        log_link=job_log_link(failed.job, settings),
        log_lines=tuple(map(log_line, failed.log_tail)),
        restart_commands=commands if is_first else (),
        continue_from="" if is_first else stage.stage,
        continue_commands=() if is_first else commands,
    )
    return compose("run_failed", view, succeeded=False, files=files)


def _partial_output(stage: StageSummary, bucket: str) -> str:
    if not stage.was_started:
        return ""
    return f"Unfinished output of {stage.stage.stage}:  s3://{bucket}/{stage.stage.place}"
