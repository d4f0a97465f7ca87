"""Runs as tables: bars and colours on a terminal, plain columns in a file or a pipe, JSON for programs."""

import time
from dataclasses import fields
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from splatworks.cli.run_states import FAILED, FORGOTTEN, REUSED, RUNNING, SUCCEEDED, RunStatus, StageStatus
from splatworks.contract.documents.codec import to_json
from splatworks.contract.keys import LEADERBOARD, run_folder
from splatworks.contract.stage import number
from splatworks.contract.stages import STAGES
from splatworks.report.email_text import duration

WORDS = {
    "SUBMITTED": "submitted",
    "PENDING": "waiting",
    "RUNNABLE": "queued",
    "STARTING": "starting",
    "RUNNING": "running",
    "SUCCEEDED": "done",
    "FAILED": "failed",
    "REUSED": "reused",
    "UNSENT": "not submitted",
    "FORGOTTEN": "forgotten by Batch",
}
STYLES = {SUCCEEDED: "green", REUSED: "green", FAILED: "bold red", "RUNNING": "cyan"}
BAR = 24
METRICS = tuple(name for stage in STAGES.values() for figure in stage.figures for name in figure.metrics)
METRICS_SHOWN = 6
PAGES = [stage.name for stage in STAGES.values() if stage.page]  # the stages that `splatworks open` shows
CAUSE_LIMIT = 1000  # characters

Row = tuple[str, ...]


def show_runs(console: Console, runs: list[RunStatus]) -> None:
    """One line per run."""
    heads: Row = ("RUN", "STATE", "STAGES", "SUBMITTED", "TOOK")
    rows = [_overview_row(run) for run in runs]
    if not console.is_terminal:
        print_columns([heads, *rows])
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for head in heads:
        table.add_column(head, no_wrap=head != "STAGES", overflow="fold")
    for run, row in zip(runs, rows, strict=True):
        table.add_row(row[0], Text(row[1], style=STYLES.get(run.status, "")), *row[2:])
    console.print(table, highlight=False, markup=False)


def show_run(console: Console, run: RunStatus, bucket: str) -> None:
    if console.is_terminal:
        console.print(run_picture(run, bucket), highlight=False)
    else:
        print_columns([("STAGE", "STATE", "DONE", "TIME", "MESSAGE"), *(_stage_row(stage) for stage in run.stages)])
        print("\n".join(["", *_lines_below(run, bucket)]))


def run_picture(run: RunStatus, bucket: str) -> RenderableType:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for head in (run.id, "", "", "", ""):
        table.add_column(head, overflow="fold")
    for stage in run.stages:
        name, state, percent, took, message = _stage_row(stage)
        failed = stage.status == FAILED
        bar = ProgressBar(
            total=1.0,
            completed=stage.fraction or 0.0,
            width=BAR,
            complete_style="red" if failed else "cyan",
            finished_style="red" if failed else "green",
        )
        words = Text(f"{took}  {message}".strip())  # a script's own: no markup
        table.add_row(Text(name), bar, percent, Text(state, style=STYLES.get(stage.status, "")), words)
    return Group(table, Text("\n".join(["", *_lines_below(run, bucket)])))


def print_columns(rows: list[Row]) -> None:
    """Columns as wide as their longest cell; nothing is cut, so that it can be searched."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def as_json(run: RunStatus) -> dict[str, Any]:
    return {
        "run_id": run.id,
        "project": run.project or None,
        "status": run.status,
        "ended": run.ended,
        "created": run.created,
        "stages": [_stage_as_json(stage) for stage in run.stages],
    }


def _stage_as_json(stage: StageStatus) -> dict[str, Any]:
    """Each field, and the stage's documents: {} for one that is missing."""
    facts = {each.name: getattr(stage, each.name) for each in fields(stage)}
    del facts["report"]
    documents = {"job": stage.report, "progress": stage.progress, "result": stage.result}
    facts |= {name: to_json(document) if document else {} for name, document in documents.items()}
    return {**facts, "fraction": stage.fraction, "seconds": stage.seconds, "script_exit_code": _own_code(stage)}


def _own_code(stage: StageStatus) -> int | None:
    return stage.exit_code if stage.script_exit_code is None else stage.script_exit_code


def one_line(run: RunStatus) -> str:
    """One line for a log: everything that changes during a run."""
    return f"{run.id}: {stages_in_words(run)}"


def stages_in_words(run: RunStatus) -> str:
    return ", ".join(f"{stage.name} {_in_words(stage)}".strip() for stage in run.stages)


def _overview_row(run: RunStatus) -> Row:
    started = [stage.started for stage in run.stages if stage.started is not None]
    stopped = [stage.stopped for stage in run.stages if stage.stopped is not None]
    ended = max(stopped, default=None) if run.ended else time.time()
    took = duration(ended - min(started)) if started and ended else ""
    submitted = time.strftime("%Y-%m-%d %H:%M", time.localtime(run.created)) if run.created else ""
    return (run.id, WORDS.get(run.status, run.status), stages_in_words(run), submitted, took)


def _in_words(stage: StageStatus) -> str:
    fraction = stage.fraction
    return f"{fraction:.0%}" if fraction is not None and not stage.ended else _state(stage)


def _state(stage: StageStatus) -> str:
    never_began = stage.status == FAILED and stage.started is None and not stage.report
    return "not started" if never_began else WORDS.get(stage.status, stage.status)


def _stage_row(stage: StageStatus) -> Row:
    fraction = stage.fraction
    percent = "" if fraction is None else f"{fraction:.0%}"
    return (stage.name or stage.job_name, _state(stage), percent, _time(stage), _message(stage))


def _time(stage: StageStatus) -> str:
    if stage.seconds is not None:
        return duration(stage.seconds)
    seconds = stage.report.seconds.total if stage.report else None
    return duration(seconds) if seconds is not None and stage.status != REUSED else ""


def _message(stage: StageStatus) -> str:
    if stage.size > 1:
        counts = ", ".join(f"{count} {WORDS.get(status, status)}" for status, count in stage.counts.items() if count)
        return f"{stage.size} parts: {counts}" if counts else f"{stage.size} parts"
    if stage.reused_from:
        return f"from {stage.reused_from}"
    if stage.status in (SUCCEEDED, FAILED):
        return _facts(stage)
    message = stage.progress.message if stage.progress else ""
    return one_row(message or (stage.reason if stage.status != RUNNING else ""))


def _facts(stage: StageStatus) -> str:
    known = {name: number(stage.metrics.get(name)) for name in METRICS}
    words = [f"{name} {_number(value)}" for name, value in known.items() if value is not None]
    cost = stage.report.cost if stage.report else None
    spent = [f"{cost.usd:.4f} USD"] if cost and cost.usd is not None else []
    return ", ".join([*words[:METRICS_SHOWN], *spent])


def _number(value: float) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def _lines_below(run: RunStatus, bucket: str) -> list[str]:
    lines = []
    failed = next((stage for stage in run.stages if stage.status == FAILED), None)
    if failed:
        failure = failed.failure
        cause = failure.cause if failure else ""
        lines.append(f"Why:    {one_row(cause or failed.reason or 'Batch gives no reason')}")
        if failure and failure.fix:
            lines.append(f"To do:  {one_row(failure.fix)}")
        if failed.script_exit_code is not None:
            lines.append(f"Code:   {failed.script_exit_code} of the script; the container's is {failed.exit_code}")
        lines.append(f"Log:    splatworks logs {run.id} {failed.name}".rstrip())
    if run.project:
        lines.append(f"Output: s3://{bucket}/{run_folder(run.project, run.id)}")
    if run.status == FORGOTTEN:
        lines.append("        Batch forgets a job about a week after its end; its output is there")
    if run.ended and (run.message.get("data") or {}).get("sweep"):
        lines.append(f"        variants compared: s3://{bucket}/{run_folder(run.project, run.id)}{LEADERBOARD}")
    if run.status == SUCCEEDED:
        lines.append(f"        splatworks download {run.id}")
        if any(stage.name in PAGES and stage.size == 1 for stage in run.stages):
            lines.append(f"Viewer: splatworks open {run.id}")
    return lines


def one_row(text: Any) -> str:
    """Put a script's text on one line, without characters that control a terminal."""
    printable = "".join(character if character.isprintable() else " " for character in str(text))
    return " ".join(printable.split())[:CAUSE_LIMIT]
