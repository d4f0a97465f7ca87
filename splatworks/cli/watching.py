"""Looks again and again until a run has ended: live bars on a terminal, a line per change elsewhere."""

import time
from collections.abc import Callable

from rich.console import Console
from rich.live import Live
from rich.text import Text

from splatworks.cli.platform import Platform
from splatworks.cli.problems import Problem
from splatworks.cli.run_states import RunStatus
from splatworks.cli.runs import days_ago, find_run, list_runs
from splatworks.cli.status_view import one_line, run_picture, show_run, show_runs, stages_in_words

EVERY = 3.0  # seconds between two looks
BEGINS_WITHIN = 60.0  # seconds after the publish in which a run has to be seen


def watch_run(platform: Platform, run_id: str, *, begins: bool = False) -> RunStatus:
    """Until it has ended. `begins`: it was submitted a moment ago."""
    console, bucket = Console(), platform.settings.output_bucket
    look = _patient(platform, run_id) if begins else lambda: find_run(platform, run_id)
    if not console.is_terminal:
        return _told_in_lines(look, console, bucket)
    run = look()
    with Live(run_picture(run, bucket), console=console, refresh_per_second=4) as live:
        while not run.ended:
            time.sleep(EVERY)
            run = look()
            live.update(run_picture(run, bucket))
    return run


def watch_runs(platform: Platform, days: float, limit: int) -> None:
    """All runs, until Ctrl-C."""
    console = Console()
    while True:
        runs = list_runs(platform, days_ago(days))
        if console.is_terminal:
            console.clear()
        show_runs(console, runs[: limit or len(runs)])
        console.print(Text(f"{len(runs)} runs, {time.strftime('%H:%M:%S')}; Ctrl-C ends", style="dim"))
        time.sleep(EVERY)


def _told_in_lines(look: Callable[[], RunStatus], console: Console, bucket: str) -> RunStatus:
    said = ""
    while True:
        run = look()
        if (words := stages_in_words(run)) != said:
            print(f"{time.strftime('%H:%M:%S')} {one_line(run)}", flush=True)
            said = words
        if run.ended:
            show_run(console, run, bucket)
            return run
        time.sleep(EVERY)


def _patient(platform: Platform, run_id: str) -> Callable[[], RunStatus]:
    deadline = time.monotonic() + BEGINS_WITHIN

    def look() -> RunStatus:
        while True:
            try:
                return find_run(platform, run_id)
            except Problem as nothing:
                if time.monotonic() > deadline:
                    raise Problem(
                        f"{run_id} was published, but no run was seen in {BEGINS_WITHIN:.0f} seconds.",
                        "If the message was refused, an e-mail says why; else see the dispatcher's log: aws logs tail "
                        f"/aws/lambda/{platform.project}-ml-trigger-dispatcher",
                    ) from nothing
                time.sleep(1)

    return look
