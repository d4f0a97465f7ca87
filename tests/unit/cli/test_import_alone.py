"""`import splatworks` in a folder with modules of the same names as the project's: each gets its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from test_wheel_of_splatworks import installed

__all__ = ["installed"]  # a fixture, built once per module

ROOT = Path(__file__).resolve().parents[3]
# Modules and packages of the project that are not in the package splatworks, and its rooms.
FILES = ("settings", "message", "bad_input", "aws_clients", "dispatcher", "monitor", "runner", "stage", "keys")
PACKAGES = (
    *("local", "bench", "scripts", "aws", "gather", "dispatch", "triggers", "jobrunner", "splatkit"),
    *("contract", "planning", "lookup", "report", "sandbox", "cli"),
)
NAMES = (*FILES, *PACKAGES)
CODE = f"""
import sys
path = list(sys.path)
import splatworks, splatworks.cli.app
assert sys.path == path, "sys.path was changed"
assert not set({NAMES!r}) & set(sys.modules), "a module of the user was taken for one of ours"
for name in {NAMES!r}:
    assert __import__(name).OWNER == "user", name
from local import inner
print(splatworks.__file__, inner.OWNER)
"""


@pytest.fixture
def own_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "own"
    for name in PACKAGES:
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text('OWNER = "user"\n')
    (folder / "local" / "inner.py").write_text('OWNER = "user"\n')
    for name in FILES:
        (folder / f"{name}.py").write_text('OWNER = "user"\n')
    return folder


def run(folder: Path, path: Path, *command: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PYTHON"))}
    environment = {**kept, "PYTHONPATH": str(path), "COLUMNS": "200"}
    return subprocess.run([sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True)


def test_a_checkout_leaves_the_users_modules_alone(own_folder: Path) -> None:
    ended = run(own_folder, ROOT, "-c", CODE)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.split() == [str(ROOT / "splatworks" / "__init__.py"), "user"]


def test_an_installed_wheel_leaves_the_users_modules_alone(own_folder: Path, installed: Path) -> None:
    ended = run(own_folder, installed, "-c", CODE)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.split() == [str(installed / "splatworks" / "__init__.py"), "user"]


def test_a_command_runs_next_to_the_users_modules(own_folder: Path, installed: Path) -> None:
    for path in (ROOT, installed):
        ended = run(own_folder, path, "-m", "splatworks", "message", "photos/harbour/", "--preset", "draft")
        assert ended.returncode == 0, ended.stderr
        assert '"photos/harbour/"' in ended.stdout


def test_the_wheel_holds_the_package_alone(installed: Path) -> None:
    entries = {path.name for path in installed.iterdir() if not path.name.endswith(".dist-info")}
    assert entries == {"splatworks"}
