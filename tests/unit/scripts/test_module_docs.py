"""READMEs of modules: written from the Terraform files, and told to be stale when these change."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("hcl2", reason="needs python-hcl2: scripts/setup.sh check")

ROOT = Path(__file__).resolve().parents[3]


def module_docs(modules: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / "module_docs.py"), "--modules", str(modules), *arguments]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture
def modules(tmp_path: Path) -> Path:
    module = tmp_path / "vpc"
    module.mkdir()
    (module / "variables.tf").write_text(
        'variable "zones" {\n  description = "Zones | one in each."\n  type = list(object({ name = string }))\n}\n'
    )
    (module / "outputs.tf").write_text('output "vpc_id" {\n  description = "The network."\n  value = 1\n}\n')
    (module / "README.md").write_text("# vpc\n\nBy hand.\n")
    return tmp_path


def test_tables_follow_what_was_written_by_hand(modules: Path) -> None:
    assert module_docs(modules).returncode == 0
    readme = (modules / "vpc" / "README.md").read_text()
    assert readme.startswith("# vpc\n\nBy hand.\n")
    assert "| `zones` | `list(object)` | Zones \\| one in each. |" in readme
    assert "| `vpc_id` | The network. |" in readme


def test_writing_twice_changes_nothing_and_keeps_what_follows(modules: Path) -> None:
    readme = modules / "vpc" / "README.md"
    module_docs(modules)
    readme.write_text(readme.read_text() + "\n## By hand, below\n")
    module_docs(modules)
    once = readme.read_text()
    module_docs(modules)
    assert readme.read_text() == once
    assert once.endswith("## By hand, below\n")


def test_a_changed_variable_makes_the_readme_stale(modules: Path) -> None:
    module_docs(modules)
    assert module_docs(modules, "--check").returncode == 0
    outputs = modules / "vpc" / "outputs.tf"
    outputs.write_text(outputs.read_text().replace("The network.", "Another."))
    checked = module_docs(modules, "--check")
    assert checked.returncode == 1
    assert "vpc/README.md" in checked.stderr and "python scripts/module_docs.py" in checked.stderr
    assert "Another." not in (modules / "vpc" / "README.md").read_text()


def test_a_variable_without_description_is_named(modules: Path) -> None:
    (modules / "vpc" / "variables.tf").write_text('variable "zones" {\n  type = string\n}\n')
    refused = module_docs(modules)
    assert refused.returncode == 1
    assert "without description: zones" in refused.stderr


def test_the_readmes_of_this_project_are_fresh() -> None:
    assert module_docs(ROOT / "modules", "--check").stderr == ""
