"""Time and cost of a stage, from its job.json and its attempts in AWS Batch. Unknown figures are None, not guesses."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from splatworks.contract.documents.job import JobReport, LostAttempt
from splatworks.contract.stage import number
from splatworks.report.job_facts import BatchAttempt

NAMES_SHOWN = 5  # of the unknown parts of a sum


@dataclass(frozen=True, kw_only=True)
class Spent:
    """Time and cost of all attempts of a job."""

    seconds: float | None
    usd: float | None
    lost: tuple[LostAttempt, ...] = ()  # attempts before the last


def spent(report: JobReport, attempts: Sequence[BatchAttempt] = ()) -> Spent:
    """Add up the attempts. `attempts`, as Batch knows them, complete those that the runner could not record.

    An attempt whose cost was not recorded is paid for at the hourly price of the last, as the runner does.
    """
    cost, total = report.cost, number(report.seconds.total)
    usd = number(cost.usd) if cost else None
    lost = _lost_attempts(report, attempts) if len(attempts) > 1 or report.interruptions else ()
    if not lost:
        return Spent(seconds=total, usd=usd)
    seconds = [total, *[each.seconds for each in lost]]
    costs = [usd, *[_usd_of(each, cost.usd_per_hour) for each in lost]] if cost else [None]
    return Spent(seconds=sum_of(seconds), usd=sum_of(costs), lost=lost)


def total_usd(costs: Mapping[str, float | None]) -> str:
    """A sum as text; it names the costs that are unknown."""
    known = [cost for cost in costs.values() if cost is not None]
    unknown = [name for name, cost in costs.items() if cost is None]
    if not unknown:
        return usd_text(sum(known))
    if not sum(known):
        return "unknown"
    names = ", ".join(unknown) if len(unknown) <= NAMES_SHOWN else f"{len(unknown)} of {len(costs)}"
    return f"at least {usd_text(sum(known))}; that of {names} is unknown"


def usd_text(cost: float) -> str:
    return f"{cost:.4f} USD" if cost < 1 else f"{cost:.2f} USD"


def lost_text(lost: Sequence[LostAttempt]) -> str:
    if not lost:
        return ""
    times = "once" if len(lost) == 1 else f"{len(lost)} times"
    known = [each.seconds for each in lost if each.seconds is not None]
    total = f"{sum(known):.0f} s"
    if len(known) < len(lost):
        total = f"{total} and an unknown time" if known else "an unknown time"
    return f"interrupted {times}, with {total} lost at most"


def sum_of(values: Iterable[float | None]) -> float | None:
    """Return None if one of them is unknown."""
    known = list(values)
    return None if None in known else sum(filter(None, known))


def cell(value: float | None, digits: int = 2) -> str:
    return "unknown" if value is None else f"{value:,.{digits}f}"


def _lost_attempts(report: JobReport, attempts: Sequence[BatchAttempt]) -> tuple[LostAttempt, ...]:
    """The attempts before the last. One that never started (its image could not be pulled) does not count."""
    ours = [replace(each, seconds=number(each.seconds), usd=number(each.usd)) for each in report.interruptions]
    if not attempts:
        return tuple(ours)
    recorded = {each.attempt: each for each in ours if not each.job_id}
    found = [each for each in ours if each.job_id]  # of the job that was resumed
    for count, theirs in enumerate(attempts[:-1], 1):
        known = recorded.get(count, LostAttempt())
        seconds = theirs.seconds if known.seconds is None else known.seconds
        if seconds is not None:
            found.append(replace(known, seconds=seconds))
    return tuple(found)


def _usd_of(lost: LostAttempt, per_hour: float | None) -> float | None:
    if lost.usd is not None or lost.seconds is None or per_hour is None:
        return lost.usd
    return lost.seconds * per_hour / 3600
