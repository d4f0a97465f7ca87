"""Show the demo on a terminal or in a log file."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from local.delivery.outbox import SentEmail
from local.demo.results import PAGE


def step(console: Console, number: int, title: str) -> None:
    console.print(f"\n[bold]{number}/6 {title}[/]")


def bars(console: Console) -> Progress:
    columns = (TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console)


class TerraformBar:
    """Turn the log lines `3/133 <resource>` of the embedded AWS into a bar (in a file: every 20th line)."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar: Progress | None = None

    def __call__(self, line: str) -> None:
        count = re.match(r"(\d+)/(\d+) ", line)
        if not count:
            self._console.print(f"  {line}", highlight=False, markup=False)
        elif self._console.is_terminal:
            self._advance(int(count[1]), int(count[2]))
        elif int(count[1]) % 20 == 0 or count[1] == count[2]:
            self._console.print(f"  {line}", highlight=False, markup=False)

    def _advance(self, done: int, total: int) -> None:
        if self._bar is None:
            self._bar = bars(self._console)
            self._bar.add_task("terraform apply", total=total)
            self._bar.start()
        self._bar.update(self._bar.task_ids[0], completed=done)
        if done == total:
            self._bar.stop()


def show_publish(message: dict[str, Any], outputs: dict[str, str], console: Console) -> None:
    console.print("  On your own account you would type the same:")
    text = shlex.quote(json.dumps(message))
    command = f"aws sns publish --topic-arn {outputs['trigger_events_topic_arn']} --message {text}"
    console.print(f"  {command}", style="cyan", highlight=False, markup=False, soft_wrap=True)


def show_email(email: SentEmail, console: Console) -> None:
    """Print the e-mail unwrapped: a link broken into lines cannot be clicked, and a command cannot be copied."""
    console.rule(Text(email.subject))
    console.print(f"To: {email.to}\n\n{email.body}", highlight=False, markup=False, soft_wrap=True)
    console.rule()
    console.print("  Its links lead to the AWS on this machine, which ends with the demo; below is what stays.")


def show_results(folder: Path, index: Path, ended: str, console: Console) -> None:
    console.print(f"\n{ended} Look at:")
    page = folder / PAGE
    if page.is_file():
        console.print(f"  {page}  the scene, in any browser", style="bold", highlight=False, markup=False)
    else:
        console.print(f"  no {PAGE}: the e-mail above says what to do", style="bold red", highlight=False)
    console.print(f"  {index}  what is where", highlight=False, markup=False)
