"""Each rule of scripts/code_rules.py finds its fault, and leaves alone what is meant."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.code_rules import Source, sources, violations

ROOT = Path(__file__).resolve().parents[3]


def found(**files: str) -> list[str]:
    """Violations in files, whose names are given with `__` for a slash."""
    return [
        str(each)
        for each in violations(
            [Source(f"{name.replace('__', '/')}.py", ast.parse(text)) for name, text in files.items()]
        )
    ]


def test_a_class_name_that_is_used_twice_is_named_with_both_places() -> None:
    (told,) = found(splatworks__cli__a="class Run: ...", docker__b="\nclass Run: ...", jobs__c="class Other: ...")
    assert "splatworks/cli/a.py:1" in told and "docker/b.py:2" in told and "class Run" in told


def test_a_class_inside_a_function_counts_too() -> None:
    assert len(found(splatworks__cli__a="def f():\n class Run: ...", docker__b="class Run: ...")) == 1


@pytest.mark.parametrize(
    "text", ['x = "train"', 'x = ["sfm"]', 'f("stages/train.py")', 'f"{a}/compress/"', 'x = "train.a=1"']
)
def test_a_stage_name_outside_the_table_is_found(text: str) -> None:
    (told,) = found(splatworks__cli__a=text)
    assert "splatworks/cli/a.py:1" in told and "STAGE_NAMES_MEANT" in told


@pytest.mark.parametrize(
    "text",
    [
        '"""train"""',
        "def f():\n  'sfm'",
        'x = "photos to train on"',
        "train = 1",
        'x = "training"',
        "# train",
        'x = "splat_train"',
    ],
)
def test_prose_docstrings_and_other_words_are_no_stage_names(text: str) -> None:
    assert found(splatworks__cli__a=text) == []


@pytest.mark.parametrize("name", ["splatworks__contract__stages__train", "jobs__train", "jobs__splatkit__train__loop"])
def test_the_table_and_the_stages_may_name_themselves(name: str) -> None:
    assert found(**{name: 'x = "train"'}) == []


@pytest.mark.parametrize("text", ['x = "job.json"', 'f"{prefix}_SUCCESS"', 'f"{a}/run.json"', 'x = ("_RUNNING",)'])
def test_a_document_name_outside_the_contract_is_found(text: str) -> None:
    (told,) = found(docker__a=text)
    assert "docker/a.py:1" in told and "splatworks.contract.keys" in told


@pytest.mark.parametrize(
    ("text", "module"),
    [
        ('x = "_READY"', "keys"),
        ('x = "leaderboard.csv"', "keys"),
        ('x == "by_name"', "documents.request"),
        ('ended = "input_error"', "documents.job"),
        ('f"PARAM_{name}"', "environment"),
        ('{"DetailType": "Pipeline Run Settled"}', "events"),
    ],
)
def test_a_word_of_the_contract_outside_it_is_found(text: str, module: str) -> None:
    (told,) = found(docker__a=text)
    assert told.startswith("docker/a.py:1") and told.endswith(f"Use splatworks.contract.{module}.")


@pytest.mark.parametrize("text", ['"""job.json"""', 'x = "see job.json"', 'x = "myjob.json"', "# job.json"])
def test_text_about_a_document_is_allowed(text: str) -> None:
    assert found(docker__a=text) == []


def test_the_contract_may_name_documents() -> None:
    assert found(splatworks__contract__keys='JOB = "job.json"') == []


@pytest.mark.parametrize(
    "text",
    [
        "sys.path.insert(0, 'x')",
        "sys.path.append('x')",
        "sys.path[:0] = ['x']",
        "sys.path = []",
        "sys.path += ['x']",
        "del sys.path[0]",
        "site.addsitedir('x')",
        "from sys import path",
    ],
)
def test_a_change_of_the_path_is_found(text: str) -> None:
    (told,) = found(bench__a=text)
    assert "bench/a.py:1: sys.path is changed" in told


@pytest.mark.parametrize(
    "text", ["x = sys.path[0]", "for each in sys.path: ...", "os.path.join('a')", "self.path = 1", "a.append(sys.path)"]
)
def test_reading_the_path_is_allowed(text: str) -> None:
    assert found(bench__a=text) == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("splatworks__contract__a", "import numpy"),
        ("splatworks__contract__a", "from splatworks.planning import message"),
        ("modules__lambda__functions__monitor", "from splatworks.planning.settings import MonitorSettings"),
        ("modules__lambda__functions__dispatcher", "import gather.run_email"),
        ("docker__runner", "from splatworks.lookup import results"),
        ("jobs__train", "import local"),
    ],
)
def test_an_import_from_a_foreign_room_is_found(name: str, text: str) -> None:
    (told,) = found(**{name: text})
    assert told.startswith(f"{name.replace('__', '/')}.py:1: imports ")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("splatworks__contract__a", "import json\nfrom splatworks.contract.keys import JOB"),
        ("modules__lambda__functions__monitor", "from splatworks.report.job_email import x\nimport boto3"),
        ("docker__runner", "from jobrunner.budget import Budget\nfrom splatworks.contract import keys"),
        ("jobs__train", "from splatkit.stage import run_stage\nimport numpy"),
    ],
)
def test_an_import_of_the_own_room_is_allowed(name: str, text: str) -> None:
    assert found(**{name: text}) == []


def test_the_files_are_those_of_the_project_without_tests(tmp_path: Path) -> None:
    names = {each.name for each in sources(ROOT)}
    assert {"docker/runner.py", "splatworks/contract/keys.py", "scripts/code_rules.py"} <= names
    assert not any(name.startswith("tests/") or "/tests/" in name for name in names)


def test_the_command_names_each_violation_and_fails(tmp_path: Path) -> None:
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker" / "a.py").write_text("x = 1\n")
    command = [sys.executable, "-m", "scripts.code_rules", "--root", str(tmp_path)]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == 0
    (tmp_path / "docker" / "a.py").write_text('x = "_SUCCESS"\n')
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (ended.returncode, "docker/a.py:1" in ended.stderr) == (1, True)
