"""scripts/setup.sh: when it installs, and where Python cannot make a virtual environment, as Debian's often cannot."""

import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "scripts" / "setup.sh"
# `python -m venv FOLDER` leaves a python without pip and fails, from the time on that a file `broken` says FOLDER.
DEBIAN = """#!/bin/bash
case "$1 $2" in
  "--version "*) echo "Python 3.12" ;;
  "-c import pip") [ ! -e "$(dirname "$0")/no-pip" ] ;;
  "-m venv")
    mkdir -p "$3/bin" && cp "$0" "$3/bin/python"
    if [ "$3" = "$(cat broken)" ]; then touch "$3/bin/no-pip"; exit 1; fi
    rm -f "$3/bin/no-pip" ;;
  "-m pip") [ ! -e "$(dirname "$0")/no-pip" ] || { echo "No module named pip" >&2; exit 1; } ;;
esac
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "scripts").mkdir()
    shutil.copy(SCRIPT, tmp_path / "scripts")
    for name in ("pyproject.toml", "constraints.txt", "broken"):
        (tmp_path / name).touch()
    python = tmp_path / "python"
    python.write_text(DEBIAN)
    python.chmod(0o755)
    return tmp_path


def setup(checkout: Path, extra: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/bin:/bin", "PYTHON": str(checkout / "python")}
    return subprocess.run([checkout / "scripts" / "setup.sh", extra], env=environment, capture_output=True, text=True)


@pytest.mark.parametrize(("extra", "folder"), [("demo", ".venv"), ("check", ".venv-checkov")])
def test_a_half_made_environment_does_not_stay(checkout: Path, extra: str, folder: str) -> None:
    (checkout / "broken").write_text(folder)
    for _ in range(2):
        ended = setup(checkout, extra)
        assert (ended.returncode, "apt-get install python3-venv" in ended.stderr) == (1, True), ended.stderr
        assert not (checkout / folder).exists()
    (checkout / "broken").write_text("")
    assert setup(checkout, extra).returncode == 0
    assert (checkout / ".venv" / f".installed-{extra}").is_file()


def test_an_environment_that_an_earlier_failure_left_half_made_is_made_whole(checkout: Path) -> None:
    half = checkout / ".venv" / "bin"
    half.mkdir(parents=True)
    shutil.copy(checkout / "python", half)
    (half / "no-pip").touch()
    ended = setup(checkout, "demo")
    assert ended.returncode == 0, ended.stderr


def test_an_environment_of_the_users_own_is_not_removed(checkout: Path) -> None:
    (checkout / ".venv").mkdir()
    (checkout / ".venv" / "mine").touch()
    (checkout / "broken").write_text(".venv")
    assert setup(checkout, "demo").returncode == 1
    assert (checkout / ".venv" / "mine").exists()


def test_nothing_is_installed_where_a_larger_extra_is(checkout: Path) -> None:
    def installs(extra: str) -> bool:
        ended = setup(checkout, extra)
        assert ended.returncode == 0, ended.stderr
        return "installing the packages" in ended.stdout

    asked = ("demo", "test", "all", "test", "check", "demo", "test")
    assert [installs(extra) for extra in asked] == [True, True, False, False, True, False, False]
    (checkout / "constraints.txt").write_text("changed")
    assert [installs(extra) for extra in ("demo", "check")] == [True, True]
    (checkout / "constraints.txt").write_text("")
    assert installs("demo"), "other versions have been installed since"


def test_an_unknown_extra_is_refused_with_the_known_ones(checkout: Path) -> None:
    ended = setup(checkout, "tests")
    assert ended.returncode == 1 and "'tests' is none of demo, all, test and check" in ended.stderr
    assert not (checkout / ".venv").exists()
