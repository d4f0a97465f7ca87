"""Time and cost out of job.json: nothing is guessed, and a sum names what it leaves out."""

import pytest

from splatworks.contract.documents.job import Cost, JobReport, LostAttempt, PhaseSeconds
from splatworks.report.job_facts import BatchAttempt
from splatworks.report.stage_figures import Spent, lost_text, spent, total_usd, usd_text

COST = Cost(usd=0.10, usd_per_hour=0.72)


def attempt(seconds: float | None) -> BatchAttempt:
    return BatchAttempt(seconds=seconds, exit_code=None, reason="", status_reason="", log_stream=None)


def report(*lost: LostAttempt, cost: Cost | None = COST, total: float | None = 60.0) -> JobReport:
    return JobReport(cost=cost, interruptions=lost, seconds=PhaseSeconds(total=total))


def interrupted(seconds: float | None, cost: float | None = None, number: int = 1) -> LostAttempt:
    return LostAttempt(attempt=number, seconds=seconds, usd=cost)


def test_attempts_before_the_last_are_paid_for_too() -> None:
    known = report(interrupted(100.0, 0.02), interrupted(50.0, None, 2))

    assert spent(known).usd == pytest.approx(0.10 + 0.02 + 0.01)


def test_what_the_runner_could_not_record_is_taken_from_batch() -> None:
    total = spent(report(interrupted(None)), [attempt(100.0), attempt(7.0)])

    assert [lost.seconds for lost in total.lost] == [100.0]
    assert total.usd == pytest.approx(0.12)


def test_an_attempt_of_unknown_time_makes_the_cost_unknown() -> None:
    assert spent(report(interrupted(None))).usd is None
    assert spent(report(interrupted(100.0), cost=Cost(usd=0.10))).usd is None
    assert spent(report(cost=None)).usd is None


def test_an_attempt_that_never_started_is_not_an_interruption() -> None:
    assert spent(JobReport(), [attempt(None), attempt(7.0)]).lost == ()


def test_the_last_attempt_is_not_an_interruption() -> None:
    assert spent(JobReport(), [attempt(7.0)]).lost == ()


def test_time_is_that_of_all_attempts() -> None:
    assert spent(report(interrupted(40.0))).seconds == 100.0
    assert spent(report(interrupted(None))).seconds is None
    assert spent(JobReport()).seconds is None


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), 10**400])
def test_a_number_that_no_sum_takes_is_unknown(odd: float) -> None:
    assert spent(report(cost=Cost(usd=odd, usd_per_hour=0.7), total=odd)) == Spent(seconds=None, usd=None)
    lost = spent(report(interrupted(odd, odd)))
    assert (lost.seconds, lost.usd, lost_text(lost.lost)) == (
        None,
        None,
        "interrupted once, with an unknown time lost at most",
    )


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


def test_cents_are_shown_exactly_and_dollars_to_the_cent() -> None:
    assert usd_text(0.01234) == "0.0123 USD"
    assert usd_text(12.344) == "12.34 USD"
