"""What job.json and result.json of a stage tell in figures. What they do not tell is None, never a guess."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from splatworks.report.job_facts import Attempt

NAMES_SHOWN = 5  # of what a sum leaves out


def metric(result: Mapping[str, Any], name: str) -> float | None:
    metrics = result.get("metrics")
    return number(metrics.get(name)) if isinstance(metrics, dict) else None


@dataclass(frozen=True)
class Interruption:
    """An attempt before the last: as the runner recorded it, else as Batch did."""

    seconds: float | None
    usd: float | None


def interruptions(report: Mapping[str, Any], attempts: Sequence[Attempt] = ()) -> list[Interruption]:
    """An attempt that never started (its image could not be pulled) is none."""
    recorded = _recorded(report)
    if not attempts:
        return list(recorded.values())
    found = [recorded.get(count, Interruption(None, None)) for count in range(1, len(attempts))]
    known = [
        replace(ours, seconds=theirs.seconds) if ours.seconds is None else ours
        for ours, theirs in zip(found, attempts[:-1], strict=True)
    ]
    return [each for each in known if each.seconds is not None]


def seconds_run(report: Mapping[str, Any]) -> float | None:
    """Of all attempts, by the runner's own clock."""
    seconds = report.get("seconds")
    total = number(seconds.get("total")) if isinstance(seconds, dict) else None
    return sum_of([total, *(each.seconds for each in interruptions(report))])


def usd(report: Mapping[str, Any], attempts: Sequence[Attempt] = ()) -> float | None:
    """Of all attempts. One whose cost was not recorded is reckoned at the price of the last, as the runner does too."""
    cost = report.get("cost")
    if not isinstance(cost, dict):
        return None
    per_hour = number(cost.get("usd_per_hour"))
    return sum_of([number(cost.get("usd")), *(_usd_of(each, per_hour) for each in interruptions(report, attempts))])


def total_usd(costs: Mapping[str, float | None]) -> str:
    """A sum that leaves something out says so."""
    known = sum(cost for cost in costs.values() if cost is not None)
    unknown = [name for name, cost in costs.items() if cost is None]
    if not unknown:
        return usd_text(known)
    if not known:
        return "unknown"
    names = ", ".join(unknown) if len(unknown) <= NAMES_SHOWN else f"{len(unknown)} of {len(costs)}"
    return f"at least {usd_text(known)}; that of {names} is unknown"


def usd_text(cost: float) -> str:
    return f"{cost:.4f} USD" if cost < 1 else f"{cost:.2f} USD"


def sum_of(values: Iterable[float | None]) -> float | None:
    """None where one of them is not known."""
    known = list(values)
    return None if None in known else sum(value for value in known if value is not None)


def number(value: Any) -> float | None:
    """Scripts write what they like; true is no number."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _recorded(report: Mapping[str, Any]) -> dict[Any, Interruption]:
    entries = report.get("interruptions")
    entries = entries if isinstance(entries, list) else []
    return {
        entry.get("attempt"): Interruption(number(entry.get("seconds")), number(entry.get("usd")))
        for entry in entries
        if isinstance(entry, dict)
    }


def _usd_of(interruption: Interruption, per_hour: float | None) -> float | None:
    if interruption.usd is not None or interruption.seconds is None or per_hour is None:
        return interruption.usd
    return interruption.seconds * per_hour / 3600
