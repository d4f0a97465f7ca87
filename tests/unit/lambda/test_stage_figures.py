"""Figures out of job.json and result.json: none is guessed, none is left out in silence."""

from typing import Any

import pytest

from splatworks.report.job_facts import Attempt
from splatworks.report.stage_figures import interruptions, metric, seconds_run, total_usd, usd, usd_text

COST = {"usd": 0.10, "usd_per_hour": 0.72}


def attempt(seconds: float | None) -> Attempt:
    return Attempt(seconds=seconds, exit_code=None, reason="", status_reason="", log_stream=None)


def interrupted(seconds: float | None, cost: float | None = None, number: int = 1) -> dict[str, Any]:
    return {"attempt": number, "ended_at": None, "seconds": seconds, "usd": cost}


def test_attempts_before_the_last_are_paid_for_too() -> None:
    report = {"cost": COST, "interruptions": [interrupted(100.0, 0.02), interrupted(50.0, None, 2)]}

    assert usd(report) == pytest.approx(0.10 + 0.02 + 0.01)


def test_what_the_runner_could_not_record_is_taken_from_batch() -> None:
    report = {"cost": COST, "interruptions": [interrupted(None)]}

    (found,) = interruptions(report, [attempt(100.0), attempt(7.0)])

    assert found.seconds == 100.0
    assert usd(report, [attempt(100.0), attempt(7.0)]) == pytest.approx(0.12)


def test_an_attempt_whose_time_nobody_knows_makes_the_cost_unknown() -> None:
    assert usd({"cost": COST, "interruptions": [interrupted(None)]}) is None
    assert usd({"cost": {"usd": 0.10}, "interruptions": [interrupted(100.0)]}) is None


def test_an_attempt_that_never_started_is_no_interruption() -> None:
    assert interruptions({}, [attempt(None), attempt(7.0)]) == []


def test_the_last_attempt_is_no_interruption() -> None:
    assert interruptions({"interruptions": []}, [attempt(7.0)]) == []


def test_time_is_that_of_all_attempts() -> None:
    assert seconds_run({"seconds": {"total": 60.0}, "interruptions": [interrupted(40.0)]}) == 100.0
    assert seconds_run({"seconds": {"total": 60.0}, "interruptions": [interrupted(None)]}) is None
    assert seconds_run({}) is None


@pytest.mark.parametrize(
    ("costs", "told"),
    [
        ({"sfm": 0.1, "train": 0.25}, "0.3500 USD"),
        ({"sfm": 0.1, "train": None}, "at least 0.1000 USD; that of train is unknown"),
        ({"sfm": None, "train": None, "compress": 0.2}, "at least 0.2000 USD; that of sfm, train is unknown"),
        ({"sfm": None}, "unknown"),
        ({"sfm": 0.0, "train": None}, "unknown"),
        ({"sfm": 0.1, **dict.fromkeys("abcdef")}, "at least 0.1000 USD; that of 6 of 7 is unknown"),
    ],
)
def test_a_sum_names_what_it_leaves_out(costs: dict[str, float | None], told: str) -> None:
    assert total_usd(costs) == told


def test_cents_are_told_exactly_and_dollars_to_the_cent() -> None:
    assert usd_text(0.01234) == "0.0123 USD"
    assert usd_text(12.344) == "12.34 USD"


@pytest.mark.parametrize("odd", [None, True, "27", [27], {}])
def test_only_a_number_is_a_figure(odd: Any) -> None:
    assert metric({"metrics": {"psnr": odd}}, "psnr") is None
    assert metric({"metrics": odd}, "psnr") is None
    assert metric({"metrics": {"psnr": 27}}, "psnr") == 27
