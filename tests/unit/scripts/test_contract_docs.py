"""message.schema.json and the docs' tables are written from the contract, and reported as stale if they differ."""

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from scripts.contract_docs import BEGIN, END, OF_STAGE, PARAMETERS, SCHEMA
from scripts.contract_tables import TABLES, document_rows, table
from splatworks.contract.comments import comments_of
from splatworks.contract.exit_codes import ContainerCode, ExitCode
from splatworks.contract.message_defaults import JOB_DEFAULTS, PIPELINE_DEFAULTS
from splatworks.contract.message_schema import message_schema
from splatworks.contract.stages import STAGES

ROOT = Path(__file__).resolve().parents[3]


def contract_docs(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "scripts.contract_docs", "--root", str(root), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@pytest.fixture
def pages(tmp_path: Path) -> Path:
    """One page with all tables, still empty."""
    (tmp_path / SCHEMA).parent.mkdir(parents=True)
    places = "\n\n".join(f"{BEGIN.format(name)}\n{END}" for name in TABLES)
    (tmp_path / "README.md").write_text(f"# Title\n\nBy hand.\n\n{places}\n\nBelow.\n")
    return tmp_path


def test_tables_and_schema_are_written_and_the_rest_is_kept(pages: Path) -> None:
    assert contract_docs(pages).returncode == 0
    readme = (pages / "README.md").read_text()
    assert readme.startswith("# Title\n\nBy hand.\n") and readme.endswith("\n\nBelow.\n")
    assert "| `cap_max` | a whole number from 100 to 100000000 or 0 | `0` |" in readme
    assert json.loads((pages / SCHEMA).read_text()) == message_schema()
    assert contract_docs(pages, "--check").returncode == 0


def test_a_stale_table_is_named_with_the_command_and_left_as_it_is(pages: Path) -> None:
    contract_docs(pages)
    readme = pages / "README.md"
    edited = readme.read_text().replace("| `cap_max` | a whole number", "| `cap_max` | any number")
    readme.write_text(edited)
    checked = contract_docs(pages, "--check")
    assert checked.returncode == 1
    assert "README.md is stale" in checked.stderr and "make docs" in checked.stderr
    assert readme.read_text() == edited


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_text("{}")], ids=["missing", "changed"])
def test_a_stale_schema_is_named(pages: Path, spoil: object) -> None:
    contract_docs(pages)
    spoil(pages / SCHEMA)  # type: ignore[operator]
    checked = contract_docs(pages, "--check")
    assert checked.returncode == 1
    assert str(SCHEMA) in checked.stderr and "README.md" not in checked.stderr


def test_an_unknown_table_is_answered_with_the_known_ones(pages: Path) -> None:
    readme = pages / "README.md"
    readme.write_text(readme.read_text() + f"\n{BEGIN.format('nonsense')}\n{END}\n")
    refused = contract_docs(pages)
    assert refused.returncode == 1
    assert "no table nonsense" in refused.stderr and "splat_pipeline" in refused.stderr


def test_a_table_on_no_page_is_named(pages: Path) -> None:
    readme = pages / "README.md"
    readme.write_text(readme.read_text().replace(f"{BEGIN.format('exit codes')}\n{END}", ""))
    refused = contract_docs(pages, "--check")
    assert refused.returncode == 1
    assert "on no page: exit codes" in refused.stderr


def test_the_files_of_this_project_are_fresh() -> None:
    assert contract_docs(ROOT, "--check").stderr == ""


def test_the_repository_is_not_changed_by_tables_of_another_folder(tmp_path: Path) -> None:
    for name in ("README.md", "docs", str(SCHEMA)):
        source, target = ROOT / name, tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)
    (tmp_path / SCHEMA).write_text("{}")
    assert contract_docs(tmp_path).returncode == 0
    assert json.loads((tmp_path / SCHEMA).read_text()) == message_schema()


def test_pipes_and_angle_brackets_do_not_break_a_table() -> None:
    assert table(("a",), [("x|y <b> `<c>|`",)]).splitlines()[-1] == r"| x\|y &lt;b> `<c>\|` |"


@dataclass(frozen=True, kw_only=True)
class Uncommented:
    name: str = ""


def test_a_field_without_a_comment_is_refused() -> None:
    with pytest.raises(SystemExit, match=r"Uncommented\.name has no comment"):
        list(document_rows(Uncommented))


def test_every_field_of_a_message_has_a_default_in_the_docs() -> None:
    definitions = message_schema()["definitions"]
    assert set(JOB_DEFAULTS) == set(definitions["batch_job"]["properties"])
    assert set(PIPELINE_DEFAULTS) == set(definitions["splat_pipeline"]["properties"]) - set(STAGES)


def test_each_exit_code_has_a_meaning_in_the_docs() -> None:
    for kind in (ExitCode, ContainerCode):
        assert all(comments_of(kind)[code.name] for code in kind)


def test_the_page_of_parameters_gets_a_section_for_a_new_stage(pages: Path) -> None:
    page, name = pages / PARAMETERS, f"{OF_STAGE}train"
    page.parent.mkdir(parents=True)
    page.write_text("# Parameters\n")
    readme = pages / "README.md"
    readme.write_text(readme.read_text().replace(f"{BEGIN.format(name)}\n{END}", ""))
    ended = contract_docs(pages)
    assert ended.returncode == 0, ended.stderr
    assert page.read_text().startswith(f"# Parameters\n\n## train\n\n{BEGIN.format(name)}\n\n| parameter |")
    assert "| `cap_max` |" in page.read_text()
    assert contract_docs(pages, "--check").returncode == 0
