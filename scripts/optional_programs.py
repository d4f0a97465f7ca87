#!/usr/bin/env python3
"""Programs that the tests use if they are installed: which are missing, how to get them, and a run without them.

    python3 scripts/optional_programs.py list                   # each program: found, or how to get it
    python3 scripts/optional_programs.py packages               # Debian packages of those that are missing
    python3 scripts/optional_programs.py hide COMMAND [ARG...]  # run COMMAND as if none of them were installed

Uses only the standard library, because CI calls it before .venv exists.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Program:
    title: str
    commands: tuple[str, ...]  # any one of them is enough
    used_for: str
    how_to_get: str
    package: str = ""  # in Debian and Ubuntu; empty if CI does without the program
    version: str = ""  # regular expression that the output of --version must match; empty accepts every version


PROGRAMS = {
    "bwrap": Program(
        title="bubblewrap (bwrap)",
        commands=("bwrap",),
        used_for="gives local jobs /workspace and /opt/models as real paths",
        how_to_get="apt-get install bubblewrap",
        package="bubblewrap",
    ),
    "aws": Program(
        title="version 2 of the AWS CLI",
        commands=("aws",),
        used_for="runs the README's commands",
        how_to_get="apt-get install awscli, or https://aws.amazon.com/cli",
        package="awscli",
        version=r"aws-cli/([2-9]|\d\d)",
    ),
    "chromium": Program(
        title="Chromium or Chrome",
        commands=("chromium", "chromium-browser", "google-chrome"),
        used_for="opens the pages that the stages and the demo write",
        how_to_get="apt-get install chromium",
        package="chromium",
    ),
    "npm": Program(
        title="npm",
        commands=("npm",),
        used_for="fetches third-party viewers to compare with (make peers)",
        how_to_get="apt-get install npm",
        package="npm",
    ),
    "node": Program(
        title="Node.js",
        commands=("node",),
        used_for="runs the converter to compare with",
        how_to_get="apt-get install nodejs, or https://nodejs.org",
    ),
    "gcc": Program(
        title="a C compiler (gcc)",
        commands=("gcc",),
        used_for="compiles the library that replaces NVIDIA's driver in tests of the probe",
        how_to_get="apt-get install build-essential",
    ),
    "docker": Program(
        title="Docker",
        commands=("docker",),
        used_for="builds the images",
        how_to_get="https://docs.docker.com/engine/install",
    ),
}
# Installed together with the commands above and useless without them.
COMPANIONS = ("aws_completer", "npx", "nodejs", "chromedriver")


def search_path() -> list[Path]:
    return [Path(folder) for folder in os.get_exec_path() if folder]


def find(name: str) -> Path | None:
    """The first of the program's commands on the PATH that has the version needed, or None."""
    program = PROGRAMS[name]
    for folder in search_path():
        for command in program.commands:
            path = folder / command
            if os.access(path, os.X_OK) and path.is_file() and _has_version(path, program.version):
                return path
    return None


def reason_missing(name: str) -> str | None:
    """Return None if the program is there, else what is missing and how to get it: the reason to skip a test."""
    if find(name):
        return None
    program = PROGRAMS[name]
    return f"needs {program.title}, which is not on the PATH: {program.how_to_get}"


def path_without(folder: Path) -> str:
    """Return a PATH without the optional programs.

    A folder of the PATH that has some of them is replaced by one below `folder`, with links to everything else. The
    others stay, because an interpreter of a virtual environment does not work through a link.
    """
    hidden = {command for program in PROGRAMS.values() for command in program.commands} | set(COMPANIONS)
    shown = []
    for number, place in enumerate(search_path()):
        if not any((place / command).exists() for command in hidden):
            shown.append(str(place))
            continue
        links = folder / str(number)
        links.mkdir()
        for path in place.iterdir():
            if path.name not in hidden:
                (links / path.name).symlink_to(path.absolute())
        shown.append(str(links))
    return os.pathsep.join(shown)


def _has_version(path: Path, pattern: str) -> bool:
    if not pattern:
        return True
    try:
        done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=60)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return False
    return re.search(pattern, done.stdout + done.stderr) is not None


def _run_without(command: list[str]) -> int:
    with tempfile.TemporaryDirectory(prefix="without-optional-programs-") as folder:
        environment = {**os.environ, "PATH": path_without(Path(folder))}
        process = subprocess.Popen(command, env=environment)  # noqa: S603
        signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the command by itself
        code = process.wait()
    return code if code >= 0 else 128 - code  # as a shell reports a signal


def _list() -> None:
    for name, program in PROGRAMS.items():
        found = find(name)
        print(f"{program.title} {program.used_for}: {found or f'not found. To get it: {program.how_to_get}'}")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n\n")[0], formatter_class=argparse.RawDescriptionHelpFormatter
    )
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("list", help="each program: found, or how to get it")
    actions.add_parser("packages", help="Debian packages of those that are missing")
    hiding = actions.add_parser("hide", help="run a command as if none of them were installed")
    hiding.add_argument("command", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    if arguments.action == "list":
        _list()
    elif arguments.action == "packages":
        print(*(program.package for name, program in PROGRAMS.items() if program.package and not find(name)))
    elif not arguments.command:
        parser.error("hide needs a command: scripts/optional_programs.py hide make test")
    else:
        return _run_without(arguments.command)
    return 0


if __name__ == "__main__":
    sys.exit(main())
