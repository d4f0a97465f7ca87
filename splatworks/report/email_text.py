"""How the e-mails about jobs and runs write things: so that any mail program and any shell can show and take them."""

import json
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

TEXT_LIMIT = 2000  # characters of one cause or fix
LINE_LIMIT = 400  # characters of one line of the log
COMMAND_LIMIT = 20_000  # characters of a message that a shell command can hold in comfort
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def labelled(lines: Mapping[str, str]) -> str:
    """`Name:   value` for each that has a value."""
    return "\n".join(f"{name + ':':<12}{clean(value)}" for name, value in lines.items() if value)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns side by side; numbers keep to the right."""
    cells = [list(header), *([clean(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    lines = []
    for row in cells:
        padded = [_padded(cell, width, row is cells[0]) for cell, width in zip(row, widths, strict=True)]
        lines.append("  " + "  ".join(padded).rstrip())
    return "\n".join(lines)


def _padded(cell: str, width: int, is_header: bool) -> str:
    number = not is_header and re.fullmatch(r"[-\d.,]+", cell)
    return cell.rjust(width) if number else cell.ljust(width)


def publish_command(topic_arn: str, message: dict[str, Any]) -> str:
    return f"aws sns publish --topic-arn {shlex.quote(topic_arn)} --message {shlex.quote(json.dumps(message))}"


def without_request_id(message: dict[str, Any]) -> dict[str, Any]:
    """With its request_id it would be taken for the same request and not run."""
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
    return clean(visible)[:LINE_LIMIT]


def clean(text: str) -> str:
    return re.sub(r"[\x00-\x1f\x7f\ud800-\udfff]", " ", text)


def bounded(text: str, limit: int = TEXT_LIMIT) -> str:
    whole = clean(text)
    return whole if len(whole) <= limit else f"{whole[:limit]}…"
