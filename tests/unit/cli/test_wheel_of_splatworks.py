"""The wheel: installed anywhere, without a checkout, every command works."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PARTS = ("splatworks", "docker")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds what pip would install. Built from a copy: setuptools leaves its own folders beside."""
    source, wheels, site = (tmp_path_factory.mktemp(name) for name in ("source", "wheels", "site"))
    for name in ("pyproject.toml", "setup.py", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in PARTS:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet"]
    subprocess.run([*build, "--disable-pip-version-check", "--wheel-dir", wheels, source], check=True)
    (wheel,) = wheels.iterdir()
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    return site


def run(installed: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PYTHON"))}
    environment = {**kept, "PYTHONPATH": str(installed), "XDG_CACHE_HOME": str(folder / "cache"), "COLUMNS": "200"}
    command = [sys.executable, "-m", "splatworks", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_nothing_of_the_checkout_is_used(installed: Path, tmp_path: Path) -> None:
    code = "import splatworks.cli.app as a, splatworks.cli.shipped as s; print(a.__file__, s.runner_script())"
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    told = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert all(path.startswith(str(installed)) for path in told.stdout.split())


def test_messages_are_checked_by_the_schema_that_came_along(installed: Path, tmp_path: Path) -> None:
    done = run(installed, tmp_path, "message", "photos/harbour/", "--preset", "draft")
    assert json.loads(done.stdout)["data"]["preset"] == "draft"
    refused = run(installed, tmp_path, "message", "photos/harbour/", "--preset", "drafty")
    assert (refused.returncode, "data.preset" in refused.stderr) == (2, True)


def test_plan_comes_as_far_as_the_missing_region(installed: Path, tmp_path: Path) -> None:
    ended = run(installed, tmp_path, "plan", "photos/harbour/")
    assert (ended.returncode, "Traceback" in ended.stderr) == (2, False)
    assert "AWS" in ended.stderr


def test_a_script_runs_through_the_runner_that_came_along(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text("import os; open(os.environ['OUTPUT_DIR'] + '/x.txt', 'w').write('made')")
    ended = run(installed, tmp_path, "run-local", "job.py", "--output", "out")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert (tmp_path / "out" / "x.txt").read_text() == "made"
    assert "is done" in ended.stderr


def test_without_its_packages_it_says_what_to_install(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("raise ModuleNotFoundError(\"No module named 'typer'\", name='typer')")
    ended = run(installed, tmp_path, "--help")
    assert ended.returncode == 1
    assert "pip install 'splatworks[cli]'" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_every_module_that_is_imported_came_along(installed: Path, tmp_path: Path) -> None:
    package = installed / "splatworks"
    files = [path for path in package.rglob("[!_]*.py") if "shipped" not in path.parts]
    modules = sorted(".".join(path.relative_to(installed).with_suffix("").parts) for path in files)
    assert "splatworks.sandbox.process" in modules
    code = "import importlib, sys; [importlib.import_module(name) for name in sys.argv[1:]]"
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    command = [sys.executable, "-c", code, *modules]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True)
