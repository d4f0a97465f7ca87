""".ci/run with stand-ins for make and .venv/bin/python: what runs, and how the second lane's failure is reported."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PATIENCE = 240  # seconds; a run takes one or two on a machine with nothing else to do
# Notes how it was called, and fails if the file `fail` holds a part of that. With a file `slow`, flow tests take long.
# `make check` lasts until the flow tests have begun.
STAND_IN = """#!/bin/bash
call="$(basename "$0") $*"
echo "$call npm=$(command -v npm) cpu=${NUMBA_CPU_NAME:-native},${ATEN_CPU_CAPABILITY:-native}" >> calls
echo "output of $call"
if [ "$call" = "make check" ]; then until grep -q tests/flow calls; do sleep 0.1; done; fi
if [[ "$call" = *tests/flow* && -e slow ]]; then sleep 900; fi
[[ "$call" != *"$(cat fail)"* ]]
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout"
    for name in (".ci/run", "scripts/optional_programs.py"):
        (folder / name).parent.mkdir(parents=True)
        shutil.copy(ROOT / name, folder / name)
    tools = [folder / "bin" / name for name in ("make", "npm", "apt-get", "id")]
    for path in (*tools, folder / ".venv" / "bin" / "python", folder / "scripts" / "setup.sh"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(STAND_IN)
        path.chmod(0o755)
    (folder / "fail").write_text("nothing")
    (folder / "bin" / "python3").write_text(f'#!/bin/bash\nexec "{sys.executable}" "$@"\n')
    (folder / "bin" / "python3").chmod(0o755)
    return folder


def start(checkout: Path) -> "subprocess.Popen[str]":
    environment = {**os.environ, "PATH": f"{checkout / 'bin'}:/usr/bin:/bin"}
    environment.pop("NUMBA_CPU_NAME", None)
    environment.pop("ATEN_CPU_CAPABILITY", None)
    pipe = subprocess.PIPE
    return subprocess.Popen([checkout / ".ci" / "run"], env=environment, stdout=pipe, stderr=pipe, text=True)


def calls(checkout: Path, word: str) -> list[str]:
    return [line for line in (checkout / "calls").read_text().splitlines() if f" {word} " in line]


def test_flow_tests_run_without_optional_programs_and_quality_tests_with_another_instruction_set(
    checkout: Path,
) -> None:
    run = start(checkout)
    output, errors = run.communicate(timeout=PATIENCE)
    assert run.returncode == 0, output + errors
    (flow,) = calls(checkout, "tests/flow")
    (quality,) = calls(checkout, "quality")
    assert "npm= cpu=native,native" in flow
    assert f"npm={checkout / 'bin' / 'npm'} cpu=generic,default" in quality
    for target in ("check", "demo", "test"):
        (made,) = [line for line in calls(checkout, target) if line.startswith("make ")]
        assert f"npm={checkout / 'bin' / 'npm'} cpu=native,native" in made
    assert "bare_machine: passed" in output and "output of python -m pytest tests/flow" in output


@pytest.mark.parametrize(("part", "name"), [("tests/flow", "bare_machine"), ("quality", "other_instruction_set")])
def test_a_failure_of_the_second_lane_is_one_of_the_run(part: str, name: str, checkout: Path) -> None:
    (checkout / "fail").write_text(part)
    run = start(checkout)
    output, _ = run.communicate(timeout=PATIENCE)
    assert run.returncode == 1
    assert f"{name}: FAILED" in output
    assert "output of python -m pytest tests/flow" in output and "output of python -m pytest tests/unit" in output
    assert len(calls(checkout, "quality")) == 1, "both parts run, so that one run shows all that fails"


def test_a_failed_check_ends_the_run_and_the_second_lane(checkout: Path) -> None:
    (checkout / "fail").write_text("make check")
    (checkout / "slow").touch()
    run = start(checkout)
    run.communicate(timeout=PATIENCE)  # the pipes are closed when all that it started has ended
    assert run.returncode == 1
    assert not calls(checkout, "demo") and not calls(checkout, "quality")
