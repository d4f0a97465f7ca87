"""What job.json and result.json of a stage tell in figures. What they do not tell is None, never a guess."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from job_facts import Attempt


def metric(result: Mapping[str, Any], name: str) -> float | None:
    metrics = result.get("metrics")
    return number(metrics.get(name)) if isinstance(metrics, dict) else None


def interruptions(report: Mapping[str, Any], attempts: Sequence[Attempt] = ()) -> list[float | None]:
    """Seconds that each attempt before the last ran: as the runner recorded them, else as Batch did.

    An attempt that never started (its image could not be pulled) is no interruption.
    """
    recorded = _recorded_seconds(report)
    if not attempts:
        return list(recorded.values())
    found = [(recorded.get(count), attempt.seconds) for count, attempt in enumerate(attempts[:-1], start=1)]
    return [ours if ours is not None else theirs for ours, theirs in found if ours is not None or theirs is not None]


def seconds_run(report: Mapping[str, Any]) -> float | None:
    """Of all attempts, by the runner's own clock."""
    seconds = report.get("seconds")
    total = number(seconds.get("total")) if isinstance(seconds, dict) else None
    return sum_of([total, *interruptions(report)])


def usd(report: Mapping[str, Any], attempts: Sequence[Attempt] = ()) -> float | None:
    """Of all attempts; those before the last at the price of the last, as the runner reckons too."""
    cost = report.get("cost")
    if not isinstance(cost, dict):
        return None
    lost = interruptions(report, attempts)
    per_hour = number(cost.get("usd_per_hour"))
    earlier = sum_of(lost)
    if lost and (per_hour is None or earlier is None):
        return None
    return sum_of([number(cost.get("usd")), (earlier or 0.0) * (per_hour or 0.0) / 3600])


def total_usd(costs: Mapping[str, float | None]) -> str:
    """A sum that leaves something out says so."""
    known = sum(cost for cost in costs.values() if cost is not None)
    unknown = [name for name, cost in costs.items() if cost is None]
    if not unknown:
        return usd_text(known)
    if len(unknown) == len(costs):
        return "unknown"
    return f"at least {usd_text(known)}; that of {', '.join(unknown)} is unknown"


def usd_text(cost: float) -> str:
    return f"{cost:.4f} USD" if cost < 1 else f"{cost:.2f} USD"


def sum_of(values: Iterable[float | None]) -> float | None:
    """None where one of them is not known."""
    known = list(values)
    return None if None in known else sum(value for value in known if value is not None)


def number(value: Any) -> float | None:
    """Scripts write what they like; true is no number."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _recorded_seconds(report: Mapping[str, Any]) -> dict[Any, float | None]:
    entries = report.get("interruptions")
    entries = entries if isinstance(entries, list) else []
    return {entry.get("attempt"): number(entry.get("seconds")) for entry in entries if isinstance(entry, dict)}
