"""build-and-push.sh with docker and aws replaced by programs that note how they were called."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
GOOD = ["us-east-1", "123456789012", "splatworks"]
REGISTRY = "123456789012.dkr.ecr.us-east-1.amazonaws.com"
DOCKER = """#!/bin/bash
echo "docker $*" >> "$CALLS"
[[ $1 == "${FAIL:-}" ]] && exit 1
[[ $1 == login ]] && echo "password $(cat)" >> "$CALLS"
exit 0
"""
AWS = """#!/bin/bash
echo "aws $*" >> "$CALLS"
[[ ${FAIL:-} == aws ]] && exit 255
echo the-password
"""


class Shell:
    def __init__(self, folder: Path) -> None:
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.calls_file = folder / "calls"
        for tool in ("bash", "dirname", "git", "date", "cat"):
            self.install(tool, f'#!/bin/bash\nexec {self.real(tool)} "$@"\n')
        self.install("docker", DOCKER)
        self.install("aws", AWS)

    def real(self, tool: str) -> str:
        return subprocess.run(["which", tool], capture_output=True, text=True, check=True).stdout.strip()

    def install(self, name: str, text: str) -> None:
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def run(self, *arguments: str, folder: str = "docker", **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["/bin/bash", "./build-and-push.sh", *arguments],
            cwd=ROOT / folder,
            env={"PATH": str(self.bin), "CALLS": str(self.calls_file), "HOME": os.environ["HOME"], **environment},
            capture_output=True,
            text=True,
        )

    @property
    def calls(self) -> list[str]:
        return self.calls_file.read_text().splitlines() if self.calls_file.exists() else []


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


@pytest.mark.parametrize("folder", ["docker", "modules/batch/docker"])
def test_one_image_is_built_from_the_root_and_pushed_under_commit_and_latest(shell: Shell, folder: str) -> None:
    done = shell.run(*GOOD, "ml-python-slim", folder=folder)
    assert done.returncode == 0, done.stderr
    assert "aws ecr get-login-password --region us-east-1" in shell.calls
    assert f"docker login --username AWS --password-stdin {REGISTRY}" in shell.calls
    assert "password the-password" in shell.calls
    [build] = [call for call in shell.calls if call.startswith("docker build ")]
    assert f"--file {ROOT}/docker/cpu.Dockerfile" in build and build.endswith(f" {ROOT}")
    pushed = [call.split()[-1] for call in shell.calls if call.startswith("docker push")]
    commit = subprocess.run(
        ["git", "-C", ROOT, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert pushed[0].startswith(f"{REGISTRY}/splatworks-ml-python-slim:{commit}")
    assert pushed[1] == f"{REGISTRY}/splatworks-ml-python-slim:latest"
    assert all(f"--tag {name}" in build for name in pushed)


def test_without_an_image_both_are_built(shell: Shell) -> None:
    assert shell.run(*GOOD).returncode == 0
    pushed = [call.split()[-1] for call in shell.calls if call.endswith(":latest") and "push" in call]
    assert pushed == [f"{REGISTRY}/splatworks-ml-python:latest", f"{REGISTRY}/splatworks-ml-python-slim:latest"]
    assert any("gpu.Dockerfile" in call for call in shell.calls)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["us-east", *GOOD[1:]], "REGION 'us-east'"),
        (["US-EAST-1", *GOOD[1:]], "REGION"),
        (["us-east-1;ls", *GOOD[1:]], "REGION"),
        ([GOOD[0], "1234", GOOD[2]], "12 digits"),
        ([GOOD[0], "", GOOD[2]], "12 digits"),
        ([*GOOD[:2], "Splat_Works"], "PROJECT 'Splat_Works'"),
        ([*GOOD, "ml-pyton"], "known are: ml-python ml-python-slim"),
        ([*GOOD, ""], "IMAGE ''"),
    ],
)
def test_a_wrong_argument_is_named_before_anything_is_called(shell: Shell, arguments: list[str], word: str) -> None:
    done = shell.run(*arguments)
    assert done.returncode == 1 and word in done.stderr
    assert shell.calls == []


@pytest.mark.parametrize("arguments", [[], GOOD[:2], [*GOOD, "ml-python", "more"]])
def test_another_number_of_arguments_shows_the_usage(shell: Shell, arguments: list[str]) -> None:
    done = shell.run(*arguments)
    assert done.returncode == 2 and "Usage: build-and-push.sh REGION ACCOUNT PROJECT [IMAGE]" in done.stderr


def test_help_is_not_an_error(shell: Shell) -> None:
    done = shell.run("--help")
    assert done.returncode == 0 and "Usage" in done.stdout


@pytest.mark.parametrize("tool", ["docker", "aws"])
def test_a_missing_tool_is_named(shell: Shell, tool: str) -> None:
    (shell.bin / tool).unlink()
    done = shell.run(*GOOD)
    assert done.returncode == 1 and "is not installed" in done.stderr and tool in done.stderr.lower()


@pytest.mark.parametrize(
    ("failing", "word"),
    [
        ("info", "daemon does not answer"),
        ("aws", "check your credentials"),
        ("login", "could not log in"),
        ("build", ""),
        ("push", "could not push"),
    ],
)
def test_a_step_that_fails_stops_the_script(shell: Shell, failing: str, word: str) -> None:
    done = shell.run(*GOOD, FAIL=failing)
    assert done.returncode != 0 and word in done.stderr
    assert "pushed" not in done.stdout
    steps = [call.split()[1] for call in shell.calls if call.startswith("docker")]
    assert failing == "aws" or steps[-1] == failing
