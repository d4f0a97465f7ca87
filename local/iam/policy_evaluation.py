"""Evaluate identity policies. Explicit denials win; the default is denial."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any


def is_allowed(policies: list[dict[str, Any]], action: str, resource: str, context: dict[str, str]) -> bool:
    """`action` as in `s3:GetObject`; `context` holds the condition keys that are known of the request."""
    allowed = False
    for policy in policies:
        for statement in as_list(policy["Statement"]):
            if not applies(statement, action, resource, context):
                continue
            if statement["Effect"] == "Deny":
                return False
            allowed = True
    return allowed


def applies(statement: dict[str, Any], action: str, resource: str, context: dict[str, str]) -> bool:
    return (
        matches_any(statement, "Action", action.lower(), str.lower)
        and matches_any(statement, "Resource", resource, str)
        and all(
            condition_holds(operator, key, as_list(values), context)
            for operator, keys in (statement.get("Condition") or {}).items()
            for key, values in keys.items()
        )
    )


def matches_any(statement: dict[str, Any], element: str, value: str, normal: Any) -> bool:
    if f"Not{element}" in statement:
        return not any(glob(normal(pattern), value) for pattern in as_list(statement[f"Not{element}"]))
    return any(glob(normal(pattern), value) for pattern in as_list(statement.get(element, [])))


def condition_holds(operator: str, key: str, values: list[str], context: dict[str, str]) -> bool:
    """A condition on an unknown key does not hold, as on AWS, unless the operator ends in IfExists."""
    name = operator.removesuffix("IfExists")
    if key not in context:
        return name != operator
    seen = context[key]
    if name in ("StringEquals", "Bool", "ArnEquals"):
        return any(seen.lower() == value.lower() if name == "Bool" else seen == value for value in values)
    if name in ("StringLike", "ArnLike"):
        return any(glob(value, seen) for value in values)
    if name == "StringNotEquals":
        return seen not in values
    raise ValueError(f"condition operator {operator} is not known to the embedded AWS")


def glob(pattern: str, value: str) -> bool:
    """Match * and ?; a bracket has no special meaning."""
    return fnmatchcase(value, pattern.replace("[", "[[]"))


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
