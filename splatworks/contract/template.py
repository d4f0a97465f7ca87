"""E-mails from templates: the subject is the first line, an empty line follows, then paragraphs.

A placeholder `{name}` is a field of the view. A field that is a tuple repeats its line for each entry. A line or a
paragraph is left out if it has placeholders and all of them are empty.
"""

import re
from functools import cache, partial
from itertools import product
from pathlib import Path

PLACEHOLDER = re.compile(r"\{(\w+)\}")
# Control characters and lone surrogates in a value could break lines or the mail.
replace_controls = partial(re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]").sub, " ")

Paragraph = tuple[tuple[str, tuple[str, ...]], ...]  # lines, and the names of their placeholders


@cache
def read_template(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def render(template: str, view: object) -> tuple[str, str]:
    """Subject and body. Raises KeyError for a placeholder that is not a field of the view."""
    values: dict[str, tuple[str, ...]] = {}
    for name, value in vars(view).items():
        entries = value if isinstance(value, tuple) else ("" if value is None else str(value),)
        values[name] = tuple(map(replace_controls, entries)) or ("",)
    filled = []
    for paragraph in parse_template(template):
        lines: list[str] = []
        given, placeholders = 0, 0
        for line, names in paragraph:
            options = list(map(values.__getitem__, names))
            placeholders += len(names)
            if not names or any(map(any, options)):
                given += len(names)
                lines += [line.format_map(dict(zip(names, each, strict=True))) for each in product(*options)]
        if given or not placeholders:
            filled.append("\n".join(lines))
    return filled[0], "\n\n".join(filled[1:]) + "\n"


@cache
def parse_template(template: str) -> tuple[Paragraph, ...]:
    """The lines of each paragraph with the names of their placeholders."""
    paragraphs = template.strip("\n").split("\n\n")
    return tuple(
        tuple((line, tuple(PLACEHOLDER.findall(line))) for line in paragraph.split("\n")) for paragraph in paragraphs
    )
