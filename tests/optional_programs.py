"""Skip a test without a program that it needs, and say how to get the program."""

import functools

import pytest

from scripts.optional_programs import reason_missing

_reason = functools.cache(reason_missing)  # asking `aws` for its version takes a second


def need_program(name: str) -> None:
    """`name` is a key of PROGRAMS in scripts/optional_programs.py."""
    reason = _reason(name)
    if reason:
        pytest.skip(reason)
