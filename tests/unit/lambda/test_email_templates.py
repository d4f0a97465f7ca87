"""The templates of the e-mails: what is left out, what is repeated, what is cleaned, and that each fits its view."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import pytest

from dispatch.refusal import TEMPLATE, RefusedView
from splatworks.contract.template import PLACEHOLDER, render
from splatworks.report.blocked_email import BlockedView
from splatworks.report.email import TEMPLATES
from splatworks.report.job_email import JobView
from splatworks.report.resumes import ResumesView
from splatworks.report.run_email import DoneRunView, FailedRunView
from splatworks.report.scenes_email import ScenesView
from splatworks.report.sweep_email import SweepView

VIEWS: dict[str, tuple[type, tuple[Path, ...]]] = {
    "job": (JobView, (TEMPLATES / "job_done.txt", TEMPLATES / "job_failed.txt")),
    "blocked": (BlockedView, (TEMPLATES / "queue_blocked.txt",)),
    "done": (DoneRunView, (TEMPLATES / "run_done.txt",)),
    "failed": (FailedRunView, (TEMPLATES / "run_failed.txt",)),
    "resumes": (ResumesView, (TEMPLATES / "resumes.txt",)),
    "scenes": (ScenesView, (TEMPLATES / "run_scenes.txt",)),
    "sweep": (SweepView, (TEMPLATES / "run_sweep.txt",)),
    "refused": (RefusedView, (TEMPLATE,)),
}
TEXT = """[{project}] {name} is done

{name} is done.

Took:  {took}
Cost:  {cost}

Warnings:
  {warnings}

See {page}
or {other}
"""


@dataclass(frozen=True, kw_only=True)
class View:
    project: str = "demo"
    name: str = "harbour"
    took: str = ""
    cost: str | None = None
    warnings: tuple[str, ...] = ()
    page: str = ""
    other: str = ""


def test_the_subject_is_the_first_line_and_empty_paragraphs_are_left_out() -> None:
    assert render(TEXT, View()) == ("[demo] harbour is done", "harbour is done.\n")


def test_an_empty_line_is_left_out_and_a_tuple_repeats_its_line() -> None:
    _, body = render(TEXT, View(cost="0 USD", warnings=("blurred", "dark"), other="x"))

    assert body == "harbour is done.\n\nCost:  0 USD\n\nWarnings:\n  blurred\n  dark\n\nor x\n"


@pytest.mark.parametrize("odd", ["a\nb", "a\x00b", "a\x1bb", "a\ud800b", "a\rb"])
def test_control_characters_of_a_value_become_spaces(odd: str) -> None:
    subject, body = render(TEXT, View(name=odd, warnings=(odd,)))

    assert subject == "[demo] a b is done"
    assert body == "a b is done.\n\nWarnings:\n  a b\n"


def test_braces_in_a_value_are_not_placeholders() -> None:
    assert render(TEXT, View(name="{took}"))[1] == "{took} is done.\n"


def test_a_placeholder_without_a_field_is_an_error() -> None:
    with pytest.raises(KeyError, match="nothing"):
        render("{nothing}\n\nbody\n", View())


@pytest.mark.parametrize(("view", "templates"), VIEWS.values(), ids=VIEWS)
def test_each_field_of_a_view_is_shown_and_each_placeholder_has_a_field(
    view: type, templates: tuple[Path, ...]
) -> None:
    shown = {name for path in templates for name in PLACEHOLDER.findall(path.read_text())}

    assert shown == {field.name for field in dataclasses.fields(view)}


def test_every_template_belongs_to_a_view() -> None:
    used = {path for _, templates in VIEWS.values() for path in templates}

    assert set(TEMPLATES.glob("*.txt")) | {TEMPLATE} == used
