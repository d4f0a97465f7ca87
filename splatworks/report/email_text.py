"""How e-mails write times, tables, log lines and commands."""

import json
import re
import shlex
from collections.abc import Iterable, Sequence
from typing import Any

TEXT_LIMIT = 2000  # characters of one cause or fix
LINE_LIMIT = 400  # characters of one line of the log
COMMAND_LIMIT = 20_000  # characters of a message in a shell command
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
NUMBER = re.compile(r"[-\d.,]+")


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> tuple[str, ...]:
    """Lines with columns side by side; numbers are aligned to the right."""
    cells = [header, *rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return tuple(
        "  ".join(
            cell.rjust(width) if row is not header and NUMBER.fullmatch(cell) else cell.ljust(width)
            for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in cells
    )


def publish_command(topic_arn: str, message: dict[str, Any]) -> str:
    return f"aws sns publish --topic-arn {shlex.quote(topic_arn)} --message {shlex.quote(json.dumps(message))}"


def without_request_id(message: dict[str, Any]) -> dict[str, Any]:
    """With its request_id the message would be taken for the same request and not run."""
    data = {name: value for name, value in message["data"].items() if name != "request_id"}
    return {**message, "data": data}


def duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def log_line(line: str) -> str:
    """One line as a terminal would show it: progress bars overwrite themselves, colours are gone."""
    visible = ESCAPES.sub("", line).rstrip("\r\n").rsplit("\r", 1)[-1]
    return visible[:LINE_LIMIT]


def bounded(text: str, limit: int = TEXT_LIMIT) -> str:
    return text if len(text) <= limit else f"{text[:limit]}…"
