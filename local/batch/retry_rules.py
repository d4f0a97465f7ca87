"""Decide by AWS Batch's retry strategy if an ended attempt is retried."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class AttemptEnd:
    exit_code: int | None
    reason: str = ""  # of the container, e.g. "OutOfMemoryError: Container killed due to memory usage"
    status_reason: str = "Essential container in task exited"  # of the task, e.g. "Host EC2 (instance i-0) terminated."
    final: bool = False  # terminated by a person or by the timeout: AWS does not retry those

    @property
    def succeeded(self) -> bool:
        return self.exit_code == 0 and not self.final


def is_retried(strategy: dict[str, Any], attempts_made: int, end: AttemptEnd) -> bool:
    """Apply the first rule that matches; retry if none does and attempts are left."""
    if end.succeeded or end.final or attempts_made >= int(strategy.get("attempts", 1)):
        return False
    for rule in strategy.get("evaluateOnExit", []):
        if rule_matches(rule, end):
            return bool(rule["action"].upper() == "RETRY")
    return True


def rule_matches(rule: dict[str, str], end: AttemptEnd) -> bool:
    """All conditions of a rule must hold. `*` also matches what is absent."""
    seen = {
        "onExitCode": "" if end.exit_code is None else str(end.exit_code),
        "onReason": end.reason,
        "onStatusReason": end.status_reason,
    }
    return all(glob_matches(rule[condition], value) for condition, value in seen.items() if rule.get(condition))


def glob_matches(pattern: str, value: str) -> bool:
    """Match a pattern of Batch, whose one wildcard is an asterisk at the end."""
    if pattern.endswith("*"):
        return value.startswith(pattern[:-1])
    return value == pattern
