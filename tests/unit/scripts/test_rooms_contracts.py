"""import-linter's contracts in .importlinter: every room has one, and a forbidden import breaks it."""

import configparser
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("importlinter", reason="import-linter comes with the check extra")

ROOT = Path(__file__).resolve().parents[3]
PROGRAMS = (
    "jobs/splatkit",
    "docker/jobrunner",
    "local",
    *(f"modules/lambda/functions/{name}" for name in ("aws", "dispatch", "gather", "triggers")),
)
LINT = "from importlinter.cli import lint_imports_command as lint; lint()"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Empty packages with the names of the rooms."""
    rooms = [path.parent.relative_to(ROOT) for path in (ROOT / "splatworks").glob("*/__init__.py")]
    for folder in ("splatworks", *map(str, rooms), *PROGRAMS):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / "__init__.py").write_text("")
    contracts = (ROOT / ".importlinter").read_text()
    # Empty packages have none of the imports that a contract makes an exception for.
    contracts = contracts.replace("ignore_imports =", "unmatched_ignore_imports_alerting = none\nignore_imports =")
    (tmp_path / ".importlinter").write_text(contracts)
    return tmp_path


def lint(project: Path) -> subprocess.CompletedProcess[str]:
    folders = ("jobs", "docker", "modules/lambda/functions")
    path = ":".join(map(str, [project, *(project / folder for folder in folders)]))
    code = f"import sys; sys.path[:] = [each for each in sys.path if each != {str(ROOT)!r}]; {LINT}"
    return subprocess.run(
        [sys.executable, "-c", code, "--no-cache"],
        cwd=project,
        env={"PYTHONPATH": path},
        capture_output=True,
        text=True,
    )


def test_rooms_without_imports_keep_all_contracts(project: Path) -> None:
    ended = lint(project)
    assert ended.returncode == 0, ended.stdout
    assert "0 broken" in ended.stdout


@pytest.mark.parametrize(
    ("importer", "imported"),
    [
        ("splatworks/contract", "splatworks.planning"),
        ("splatworks/planning", "splatworks.lookup"),
        ("splatworks/lookup", "aws"),
        ("splatworks/report", "splatworks.planning"),
        ("splatworks/sandbox", "splatworks.cli"),
        ("splatworks/cli", "aws"),
        ("splatworks/planning", "splatworks.cli"),
        ("jobs/splatkit", "splatworks.report"),
        ("docker/jobrunner", "splatworks.lookup"),
        ("modules/lambda/functions/triggers", "gather"),
        ("modules/lambda/functions/dispatch", "splatworks.report"),
        ("modules/lambda/functions/gather", "splatworks.planning"),
        ("modules/lambda/functions/aws", "splatworks.planning"),
        ("splatworks/sandbox", "local"),
        ("local", "dispatch"),
    ],
)
def test_a_forbidden_import_breaks_a_contract(project: Path, importer: str, imported: str) -> None:
    (project / importer / "__init__.py").write_text(f"import {imported}\n")
    ended = lint(project)
    assert ended.returncode == 1
    assert f"not allowed to import {imported}" in " ".join(ended.stdout.split())


def test_an_import_through_a_third_room_breaks_a_contract(project: Path) -> None:
    (project / "modules/lambda/functions/triggers/__init__.py").write_text("import aws\n")
    (project / "modules/lambda/functions/aws/__init__.py").write_text("import gather\n")
    ended = lint(project)
    assert "triggers -> aws" in ended.stdout


def test_a_cycle_breaks_a_contract(project: Path) -> None:
    (project / "local" / "a.py").write_text("import local.b\n")
    (project / "local" / "b.py").write_text("import local.a\n")
    ended = lint(project)
    assert ended.returncode == 1 and "no import cycles BROKEN" in ended.stdout


def test_every_room_of_the_package_has_a_contract() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / ".importlinter")
    sources = {line for section in config.values() for line in section.get("source_modules", "").split()}
    rooms = {f"splatworks.{path.parent.name}" for path in (ROOT / "splatworks").glob("*/__init__.py")}
    assert rooms <= sources
