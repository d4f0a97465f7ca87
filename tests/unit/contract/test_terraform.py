"""The contract's names that Terraform repeats, because it cannot read them: they must be the same."""

import re
from pathlib import Path

import pytest

from splatworks.contract import keys
from splatworks.contract.environment import FOLDERS
from splatworks.contract.events import RUN_SETTLED

MODULES = Path(__file__).parents[3] / "modules"


def strings(file: str, pattern: str) -> list[str]:
    """The strings in the first place of a file that the pattern finds."""
    found = re.search(pattern, (MODULES / file).read_text())
    assert found, f"modules/{file} has no {pattern}"
    return re.findall(r'"([^"]*)"', found[1])


@pytest.mark.parametrize(
    ("file", "pattern", "expected"),
    [
        ("lambda/monitor.tf", r'detail-type = (\["Pipeline[^\]]*\])', [RUN_SETTLED]),
        ("lambda/monitor.tf", r"for name in (\[[^\]]*\])", [keys.LEADERBOARD, keys.FAILED_SCENES, keys.CONTINUE]),
        (
            "lambda/uploads.tf",
            r"object = \{ key = (\[[^\]]*\])",
            [f"{keys.PHOTOS}*/{keys.READY}", f"{keys.PHOTOS}*.zip", f"{keys.PHOTOS}*.ZIP"],
        ),
        ("batch/jobs.tf", r'sourceVolume = "models", containerPath = ("[^"]*")', [FOLDERS["models_dir"]]),
    ],
)
def test_a_name_is_the_contracts(file: str, pattern: str, expected: list[str]) -> None:
    assert strings(file, pattern) == expected


def test_rules_that_delete_have_the_prefixes_of_the_contract() -> None:
    prefixes = re.findall(r'prefix = "([^"]+)"', (MODULES / "s3" / "main.tf").read_text())
    reuse = keys.reuse_key("").removesuffix(".json")
    assert set(prefixes) == {keys.CHECKPOINTS, keys.RUNS, reuse}


def test_scripts_are_uploaded_into_the_folders_that_they_run_from() -> None:
    text = (MODULES / "s3" / "scripts.tf").read_text()
    assert {f"{folder}/" for folder in keys.SCRIPT_FOLDERS} == set(re.findall(r': "([a-z]+/)\$\{file\}"', text))
    assert f'"{keys.STAGES_FOLDER}splatworks/${{file}}"' in text
