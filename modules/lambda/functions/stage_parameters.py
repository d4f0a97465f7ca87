"""What the stages take as parameters: a misspelt one is refused at once, not after hours of the stage before.

stage_parameters.json is written from the stages' own options by scripts/stage_parameters.py.
"""

import functools
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bad_input import BadInputError, nearest, shown

FILE = Path(__file__).with_name("stage_parameters.json")
ALLOWED = {"bool": "true or false", "int": "a whole number", "float": "a number", "str": "text"}
YES_OR_NO = ("true", "1", "yes", "false", "0", "no")


def check_stage_parameters(stage: str, parameters: Mapping[str, Any], path: str) -> None:
    """`path`: where they stand in the message. Ranges are left to the stage."""
    known = _known()[stage]
    for name, value in parameters.items():
        kind = known.get(name.lower())
        if kind is None:
            raise BadInputError(
                field=f"{path}.{name}",
                given=shown(value),
                allowed=f"the parameters {', '.join(known)}",
                fix=f"{stage} has no parameter {name}. {nearest(name.lower(), list(known))}",
            )
        if not _fits(kind, value):
            allowed = f"one of {', '.join(kind)}" if isinstance(kind, list) else ALLOWED[kind]
            raise BadInputError(field=f"{path}.{name}", given=shown(value), allowed=allowed, fix=f"Give {allowed}.")


@functools.cache
def _known() -> dict[str, dict[str, str | list[str]]]:
    known: dict[str, dict[str, str | list[str]]] = json.loads(FILE.read_text(encoding="utf-8"))
    return known


def _fits(kind: str | list[str], value: Any) -> bool:
    """As the stages read their options: from the text of the value."""
    text = str(value).strip()
    if isinstance(kind, list):
        return text in kind
    if kind == "bool":
        return text.lower() in YES_OR_NO
    if kind == "str":
        return True
    try:
        return math.isfinite(float(text)) if kind == "float" else int(text) is not None
    except ValueError:
        return False
