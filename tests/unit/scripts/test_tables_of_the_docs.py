"""Tables in the documents that repeat what the code says: fields of a message, settings, causes, exit codes."""

import json
import re
from pathlib import Path

from failure_causes import RULES
from jobrunner.failures import ExitCode

ROOT = Path(__file__).parents[3]
SCHEMA = json.loads((ROOT / "modules" / "lambda" / "functions" / "message.schema.json").read_text())


def tables(page: str, header: str) -> list[list[str]]:
    """The first column of each table that begins so."""
    found = re.findall(
        rf"^\| {re.escape(header)} \|.*?(?=\n\n|\Z)", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE
    )
    return [[row.split("|")[1].strip() for row in table.splitlines()[2:]] for table in found]


def names_in(cells: list[str]) -> list[str]:
    return [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]


def test_the_readme_lists_the_fields_of_both_messages() -> None:
    pipeline, job = tables("README.md", "field of `data`")
    assert sorted(names_in(pipeline)) == sorted(SCHEMA["definitions"]["splat_pipeline"]["properties"])
    assert sorted(names_in(job)) == sorted(SCHEMA["definitions"]["batch_job"]["properties"])


def test_operations_says_what_to_do_about_each_cause_that_an_email_can_give() -> None:
    (causes,) = tables("docs/operations.md", "cause")
    assert sorted(causes) == sorted(rule.title for rule in RULES)


def test_the_contracts_list_the_settings_that_terraform_gives_the_functions() -> None:
    (listed,) = tables("docs/contracts.md", "variable")
    files = [ROOT / "modules" / "lambda" / name for name in ("main.tf", "dispatcher.tf", "monitor.tf")]
    given = {name for file in files for name in re.findall(r"^ +([A-Z_]{6,}) += ", file.read_text(), re.MULTILINE)}
    assert set(names_in(listed)) == given


def test_the_contracts_list_the_exit_codes() -> None:
    (codes,) = tables("docs/contracts.md", "code")
    own = {str(int(code)) for code in ExitCode}
    assert {code for cell in codes for code in re.findall(r"\d+", cell)} == own
