"""Every command of the guide is one that the command line takes."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

GUIDE = Path(__file__).parents[3] / "docs" / "guides" / "command-line.md"
MESSAGE_COMMANDS = ("submit", "message")
OF_SUBMIT_ALONE = ("--watch", "--keep-others", "--replace")


def commands() -> list[str]:
    blocks = re.findall(r"```bash\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    return [line for line in lines if line.startswith("splatworks ")]


def test_the_guide_shows_every_command(splatworks: Callable[..., Any]) -> None:
    shown = {line.split()[1] for line in commands()}
    listed = set(re.findall(r"│ ([a-z-]+) +", splatworks("--help").out)) - {"--install-completion"}
    assert shown <= listed
    assert {"submit", "message", "plan", "status", "logs", "cancel", "open", "download", "run-local"} <= shown


@pytest.mark.parametrize("line", commands())
def test_a_command_of_the_guide_is_understood(splatworks: Callable[..., Any], line: str) -> None:
    before_pipe = re.split(r"[|>]", line)[0]
    _, command, *arguments = shlex.split(before_pipe, comments=True)
    if command in MESSAGE_COMMANDS:
        given = [each.replace("~", "photos").replace("$OUTPUT_BUCKET", "b") for each in arguments]
        ended = splatworks("message", *(each for each in given if each not in OF_SUBMIT_ALONE))
        assert ended.code == 0, ended.err
        return
    known = splatworks(command, "--help").out
    for option in (each for each in arguments if each.startswith("-")):
        assert re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", known), option
