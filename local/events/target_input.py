"""Build the input of a rule's target: the event, a constant, a part of the event, or a filled template."""

from __future__ import annotations

import json
import re
from typing import Any

from jsonpath_ng.ext import parse

VARIABLE = re.compile(r"<([A-Za-z0-9_.\-]+)>")


def target_input(target: dict[str, Any], event: dict[str, Any]) -> str:
    """Return JSON text; for a quoted template, the text inside the quotes."""
    if target.get("Input"):
        return str(target["Input"])
    if target.get("InputPath"):
        return json.dumps(at_path(target["InputPath"], event))
    if target.get("InputTransformer"):
        return fill(target["InputTransformer"], event)
    return json.dumps(event)


def fill(transformer: dict[str, Any], event: dict[str, Any]) -> str:
    """Insert a variable's escaped text inside quotes, and its JSON outside of quotes."""
    paths = transformer.get("InputPathsMap") or {}
    values = {name: at_path(path, event) for name, path in paths.items()}
    values["aws.events.event.json"] = event
    template = str(transformer["InputTemplate"])

    def replaced(found: re.Match[str]) -> str:
        if found[1] not in values:
            return found[0]
        value = values[found[1]]
        if not in_quotes(template[: found.start()]):
            return json.dumps(value)
        text = "" if value is None else value if isinstance(value, str) else json.dumps(value)
        return json.dumps(text)[1:-1]

    return VARIABLE.sub(replaced, template)


def in_quotes(before: str) -> bool:
    return len(re.findall(r'(?<!\\)"', before)) % 2 == 1


def at_path(path: str, event: dict[str, Any]) -> Any:
    """Return the part of the event at a JSON path, or None."""
    # `$.detail-type` is a subtraction to jsonpath_ng unless the field is quoted.
    quoted = re.sub(r"\.([A-Za-z0-9_]*-[A-Za-z0-9_-]*)", r".'\1'", path)
    found = parse(quoted).find(event)
    return found[0].value if found else None
