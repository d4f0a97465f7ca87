"""A message that cannot be run, described so that its author can correct it."""

import json
from typing import Any

from splatworks.contract.exit_codes import ExitCode
from splatworks.contract.failures import FailureError
from splatworks.contract.nearest import nearest

GIVEN_LIMIT = 200  # characters of the offending value that an e-mail repeats

__all__ = ["BadInputError", "format_value", "nearest"]


class BadInputError(FailureError):
    """Refused before anything was submitted, and never retried."""

    exit_code = ExitCode.INPUT_ERROR

    def __init__(self, *, field: str, given: str, allowed: str, fix: str) -> None:
        """`field` is the path in the message, such as data.vcpus; `given` is what was found there."""
        super().__init__("bad_message", f"{field}: given {given}; allowed: {allowed}", fix)
        self.field, self.given, self.allowed = field, given, allowed


def format_value(value: Any) -> str:
    """Format a value for an e-mail: JSON on one line, never long, and never half a surrogate pair."""
    text = json.dumps(value, ensure_ascii=False).encode(errors="backslashreplace").decode()
    return text if len(text) <= GIVEN_LIMIT else f"{text[:GIVEN_LIMIT]}… ({len(text)} characters)"
