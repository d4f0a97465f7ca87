"""scripts/optional_programs.py: what is missing and how to get it, and a run without what is there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from scripts import check_page
from scripts.optional_programs import PROGRAMS, find, reason_missing
from tests import optional_programs

ROOT = Path(__file__).parents[3]
SCRIPT = ROOT / "scripts" / "optional_programs.py"


def install(folder: Path, name: str, output: str = "") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{output}'\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Two empty folders, which are the PATH."""
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
    monkeypatch.setenv("PATH", f"{first}:{second}")
    monkeypatch.setattr(optional_programs, "_reason", reason_missing)  # without the cache
    return first, second


def script(*arguments: str, path: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *arguments]
    return subprocess.run(command, env={"PATH": path}, capture_output=True, text=True)


def test_an_older_aws_does_not_hide_a_newer_one_and_is_not_enough_alone(folders: tuple[Path, Path]) -> None:
    first, second = folders
    install(first, "aws", "aws-cli/1.45.11 Python/3.11.7")
    reason = reason_missing("aws")
    assert reason and "version 2 of the AWS CLI" in reason and "apt-get install awscli" in reason
    newer = install(second, "aws", "aws-cli/2.9.19 Python/3.11.2")
    assert find("aws") == newer and reason_missing("aws") is None


@pytest.mark.parametrize("command", ["chromium", "chromium-browser", "google-chrome"])
def test_any_of_a_programs_commands_is_enough(command: str, folders: tuple[Path, Path]) -> None:
    assert reason_missing("chromium")
    install(folders[1], command)
    assert reason_missing("chromium") is None


@pytest.mark.parametrize("name", PROGRAMS)
def test_each_missing_program_is_listed_with_how_to_get_it(name: str, folders: tuple[Path, Path]) -> None:
    with pytest.raises(pytest.skip.Exception, match=r"^needs .*: .*(apt-get install|https://)"):
        optional_programs.need_program(name)
    listed = script("list", path=os.environ["PATH"]).stdout
    assert f"not found. To get it: {PROGRAMS[name].how_to_get}" in listed


def test_packages_are_those_of_what_is_missing(folders: tuple[Path, Path]) -> None:
    install(folders[0], "bwrap")
    install(folders[0], "aws", "aws-cli/1.22.1")
    assert script("packages", path=os.environ["PATH"]).stdout.split() == ["awscli", "chromium", "npm"]


def test_a_command_runs_as_if_no_optional_program_were_installed(folders: tuple[Path, Path], tmp_path: Path) -> None:
    first, second = folders
    for program in PROGRAMS.values():
        for command in program.commands:
            install(first, command)
    install(first, "git", "first git")
    install(second, "git", "second git")
    untouched = install(second, "terraform", "Terraform v1.11.4")
    path = f"{first}:{second}:/nowhere"
    asked = "import os, shutil, sys; print([shutil.which(name) for name in sys.argv[1:]], os.environ['PATH'])"
    names = [command for program in PROGRAMS.values() for command in program.commands]

    hidden = script("hide", sys.executable, "-c", asked, *names, path=path)
    assert hidden.stdout.startswith(str([None] * len(names))), hidden.stdout + hidden.stderr

    shown = script("hide", sys.executable, "-c", asked, "git", "terraform", path=path).stdout
    assert f"/0/git', '{untouched}'" in shown, "of a folder without optional programs nothing is a link"
    assert script("hide", "git", path=path).stdout == "first git\n"


def test_the_commands_own_exit_code_is_that_of_the_run_and_nothing_is_left(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    install(folders[0], "bwrap")
    path = str(folders[0])
    left = "import os, pathlib; print(os.environ['PATH']); raise SystemExit(7)"
    done = script("hide", sys.executable, "-c", left, path=path)
    assert done.returncode == 7
    assert not Path(done.stdout.strip()).exists() and (folders[0] / "bwrap").exists()
    killed = script("hide", sys.executable, "-c", "import os; os.kill(os.getpid(), 9)", path=path)
    assert killed.returncode == 128 + 9
    assert "hide needs a command" in script("hide", path=path).stderr


def test_a_command_is_stopped_with_the_run(folders: tuple[Path, Path]) -> None:
    waiting = "import time; print('begun', flush=True); time.sleep(600)"
    command = [sys.executable, str(SCRIPT), "hide", sys.executable, "-c", waiting]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout and run.stdout.readline() == "begun\n"
        run.terminate()
        assert run.wait(60) == 128 + 15
        assert run.stdout.read() == "", "the pipe is closed, as the command has ended too"


def test_the_page_check_names_the_same_way_to_get_a_browser(folders: tuple[Path, Path]) -> None:
    with pytest.raises(check_page.NoBrowserError) as error, check_page.browser_page((100, 100)):
        pass
    assert PROGRAMS["chromium"].how_to_get in str(error.value)
