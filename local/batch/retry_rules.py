"""Decide by AWS Batch's retry strategy if an ended attempt is retried, and refuse a strategy that AWS refuses."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

# Status reasons of tasks, in the words of Batch.
EXITED = "Essential container in task exited"
START_FAILED = "Task failed to start"

# https://docs.aws.amazon.com/batch/latest/APIReference/API_RetryStrategy.html and API_EvaluateOnExit.html
MAX_ATTEMPTS = 10
MAX_RULES = 5
MAX_PATTERN = 512  # characters
ACTIONS = ("RETRY", "EXIT")  # in any case
TEXT = re.compile(r"[A-Za-z0-9.:\s]*\*?")
DIGITS = re.compile(r"[0-9]*\*?")
PATTERNS = {
    "onExitCode": (DIGITS, "digits"),
    "onReason": (TEXT, "letters, digits, periods, colons and white space"),
    "onStatusReason": (TEXT, "letters, digits, periods, colons and white space"),
}


@dataclass(frozen=True, kw_only=True)
class AttemptEnd:
    exit_code: int | None
    reason: str = ""  # of the container, e.g. "OutOfMemoryError: Container killed due to memory usage"
    status_reason: str = EXITED  # of the task, e.g. "Host EC2 (instance i-0) terminated."
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


def check_strategy(strategy: dict[str, Any]) -> str:
    """Return what AWS Batch refuses in a retry strategy, or an empty text."""
    attempts, rules = strategy.get("attempts", 1), strategy.get("evaluateOnExit") or []
    if not 1 <= int(attempts) <= MAX_ATTEMPTS:
        return f"retryStrategy.attempts must be 1 to {MAX_ATTEMPTS}, not {attempts}"
    if len(rules) > MAX_RULES:
        return f"retryStrategy.evaluateOnExit can have at most {MAX_RULES} rules, not {len(rules)}"
    return next(filter(None, (_problem(rule, number) for number, rule in enumerate(rules))), "")


def _problem(rule: dict[str, str], number: int) -> str:
    where = f"retryStrategy.evaluateOnExit[{number}]"
    if str(rule.get("action", "")).upper() not in ACTIONS:
        return f"{where}.action must be {' or '.join(ACTIONS)}, not {rule.get('action')!r}"
    for name, (allowed, words) in PATTERNS.items():
        pattern = rule.get(name)
        if pattern is None:
            continue
        if len(pattern) > MAX_PATTERN:
            return f"{where}.{name} can have at most {MAX_PATTERN} characters, not {len(pattern)}"
        if not allowed.fullmatch(pattern):
            return f"{where}.{name} can contain {words} and end with an asterisk (*), unlike {pattern!r}"
    return ""
