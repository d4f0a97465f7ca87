"""What the documents repeat of the code (fields of a message, settings, causes, exit codes), and where they lead."""

import json
import re
from pathlib import Path

import pytest

from splatworks.contract.exit_codes import ContainerCode, ExitCode
from splatworks.report.failure_causes import RULES

ROOT = Path(__file__).parents[3]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("modules/*/README.md")])
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
    (of_the_container,) = tables("docs/contracts.md", "container's code")
    assert of_the_container == [*(str(int(code)) for code in ContainerCode), "others"]


def anchors_of(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_links_lead_to_files_and_headings_that_are_there(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"{link} leads nowhere"
        assert not anchor or anchor in anchors_of(target), f"{link}: no such heading"


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_files_that_a_page_names_are_there(page: Path) -> None:
    named = re.findall(
        r"`((?:modules|docker|jobs|splatworks|local|examples|tests|scripts|docs|bench)/[\w./-]+)`", page.read_text()
    )
    missing = [name for name in named if not (ROOT / name).exists() and not name.startswith("jobs/")]
    assert missing == []
