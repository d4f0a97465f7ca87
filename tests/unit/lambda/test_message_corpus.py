"""A corpus of messages, each with its verdict: the dispatcher accepts or refuses what it always did."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from lambda_platform import Platform

CORPUS = Path(__file__).parents[4] / "shared" / "cases" / "messages" / "corpus.jsonl"


def cases() -> list[dict[str, str]]:
    if not CORPUS.exists():
        pytest.skip("the corpus is not next to the checkout (../shared/cases/messages/corpus.jsonl)")
    return [json.loads(line) for line in CORPUS.read_text().splitlines()]


def complete(text: str) -> str:
    """Restore a long message, of which the corpus has the first characters and `…(length)`."""
    match = re.fullmatch(r"(.*x)…\((\d+)\)", text, re.DOTALL)
    if not match:
        return text
    end = '"' + "}" * (match[1].count("{") - match[1].count("}"))
    return match[1] + "x" * (int(match[2]) - len(match[1]) - len(end)) + end


def differences(platform: Platform) -> Iterator[str]:
    for case in cases():
        answer = platform.dispatch(complete(case["message"]))
        verdict = "refused" if "refused" in answer else "accepted"
        if verdict != case["expected"]:
            yield f"{case['kind']}: {verdict}, not {case['expected']}: {case['message'][:200]} -> {answer}"


def test_the_corpus_is_complete() -> None:
    assert len(cases()) == 321
    assert {case["expected"] for case in cases()} == {"accepted", "refused"}


def test_each_message_has_its_verdict(shared_platform: Platform) -> None:
    assert list(differences(shared_platform)) == []


def test_a_long_message_is_restored_to_its_length() -> None:
    assert complete('{"a": {"b": "xx…(26)') == '{"a": {"b": "' + "x" * 10 + '"}}'
