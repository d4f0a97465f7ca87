"""A message that cannot be run, told so that its author can correct it."""

import json
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

GIVEN_LIMIT = 200  # characters of the offending value that an e-mail repeats


@dataclass(kw_only=True, eq=False)
class BadInputError(Exception):
    """Refused before anything was submitted, and never retried."""

    field: str  # the path in the message, such as data.vcpus
    given: str  # what was found there
    allowed: str
    fix: str

    def __str__(self) -> str:
        return f"{self.field}: given {self.given}; allowed: {self.allowed}. {self.fix}"


def shown(value: Any) -> str:
    """A value as an e-mail shows it: JSON on one line, never long, and never half a surrogate pair."""
    text = json.dumps(value, ensure_ascii=False).encode(errors="backslashreplace").decode()
    return text if len(text) <= GIVEN_LIMIT else f"{text[:GIVEN_LIMIT]}… ({len(text)} characters)"


def nearest(name: str, known: list[str]) -> str:
    """A sentence that names the nearest known word, or all of them."""
    matches = get_close_matches(name[:GIVEN_LIMIT], known, n=1, cutoff=0.6)
    return f"Did you mean {matches[0]}?" if matches else f"Known are: {', '.join(known)}."
