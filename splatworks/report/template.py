"""E-mails from templates: the subject is the first line, an empty line follows, then paragraphs.

A placeholder `{name}` is a field of the view. A field that is a tuple repeats its line for each entry. A line or a
paragraph is left out if it has placeholders and all of them are empty.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, partial
from itertools import product
from pathlib import Path

TEMPLATES = Path(__file__).parent / "templates"
PLACEHOLDER = re.compile(r"\{(\w+)\}")
# Control characters and lone surrogates in a value could break lines or the mail.
replace_controls = partial(re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]").sub, " ")

Values = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class StoredFile:
    """An object of the output bucket that an e-mail refers to; it is written before the e-mail is sent."""

    key: str
    text: str
    content_type: str


@dataclass(frozen=True)
class Email:
    subject: str
    body: str
    succeeded: bool
    files: tuple[StoredFile, ...] = ()


def compose(name: str, view: object, *, succeeded: bool, files: tuple[StoredFile, ...] = ()) -> Email:
    """Fill the template of this name from the fields of a dataclass."""
    subject, body = render(read_template(TEMPLATES / f"{name}.txt"), view)
    return Email(subject, body, succeeded, files)


@cache
def read_template(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def render(template: str, view: object) -> tuple[str, str]:
    """Subject and body. Raises KeyError for a placeholder that is not a field of the view."""
    values = {}
    for name, value in vars(view).items():
        entries = value if isinstance(value, tuple) else ("" if value is None else str(value),)
        values[name] = tuple(map(replace_controls, entries)) or ("",)
    subject, _, body = template.partition("\n\n")
    paragraphs = [_fill(paragraph, values) for paragraph in body.strip("\n").split("\n\n")]
    return _fill(subject, values), "\n\n".join(filter(None, paragraphs)) + "\n"


def _fill(paragraph: str, values: Values) -> str:
    lines: list[str] = []
    has_values = not PLACEHOLDER.search(paragraph)
    for line in paragraph.split("\n"):
        names = PLACEHOLDER.findall(line)
        entries = [values[name] for name in names]
        if names and not any(map(any, entries)):
            continue
        has_values = has_values or bool(names)
        lines += [line.format(**dict(zip(names, each, strict=True))) for each in product(*entries)]
    return "\n".join(lines) if has_values else ""
