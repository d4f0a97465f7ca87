"""max_cost_usd: what the run has cost so far, and the end of a script that would cost more than allowed."""

import json
from collections.abc import Callable, Iterator
from typing import Any

from .failures import CostLimitError, RunnerError
from .machine import MachineFacts
from .request import Request
from .settings import Settings, own_prefix
from .store import Store

SECONDS_PER_HOUR = 3600
UNKNOWN_FIX = "Publish the message again; leave max_cost_usd out where the cost need not be limited"


class Budget:
    """Counts what this attempt costs while it runs, on top of what was spent before."""

    def __init__(self, *, limit: float, before: float, usd_per_hour: float, seconds: Callable[[], float]) -> None:
        self._limit = limit
        self._before = before
        self._usd_per_hour = usd_per_hour
        self._seconds = seconds
        self.error: CostLimitError | None = None  # once the limit is reached

    def spent(self) -> float:
        return self._before + self._usd_per_hour * self._seconds() / SECONDS_PER_HOUR

    def check(self, stop: Callable[[], None]) -> None:
        """Calls `stop` once, when the limit is reached."""
        spent = self.spent()
        if self.error or spent < self._limit:
            return
        self.error = CostLimitError(
            "cost_limit",
            f"${spent:.4f} are spent, ${self._before:.4f} of them before this attempt; max_cost_usd allows "
            f"${self._limit:g}",
            "Publish the message again with a higher max_cost_usd, or ask for less work",
        )
        stop()


def spent_before(
    request: Request, interruptions: list[dict[str, Any]], usd_per_hour: float, settings: Settings, store: Store
) -> float:
    """The stages before this one in its run, and the attempts before this one of its job."""
    stages = sum(_cost_of_stage(prefix, settings, store) for prefix in _earlier_stages(request, settings, store))
    return stages + sum(_cost_of_attempt(each, usd_per_hour) for each in interruptions)


def price_per_hour(facts: MachineFacts) -> float:
    if facts.price:
        return facts.price.usd_per_hour
    raise CostLimitError(
        "price_unknown",
        f"max_cost_usd is set, but the price of this machine is not known: {facts.problem}",
        "Publish the message again; leave max_cost_usd out where jobs may run on on-demand machines",
    )


def _earlier_stages(request: Request, settings: Settings, store: Store) -> Iterator[str]:
    """Output prefixes of the stages that this run had to pay for. A stage used again from another run cost nothing."""
    if request.run_key is None:
        return
    where = f"s3://{settings.output_bucket}/{request.run_key}"
    try:
        stages = json.loads(store.read(settings.output_bucket, request.run_key) or b"null")["stages"]
        own = [each["stage"] for each in stages].index(settings.stage)
        for each in stages[:own]:
            if not each.get("reused_from"):
                yield own_prefix(each["output_prefix"], settings.array_index if each["size"] > 1 else None)
    except (ValueError, LookupError, TypeError) as error:
        raise RunnerError(
            "bad_run", f"{where} does not tell what the stages before this one are ({error!r})", UNKNOWN_FIX
        ) from error


def _cost_of_stage(prefix: str, settings: Settings, store: Store) -> float:
    try:
        report = json.loads(store.read(settings.output_bucket, f"{prefix}job.json") or b"null")
        cost = report["cost"]
        lost = sum(_cost_of_attempt(each, cost["usd_per_hour"]) for each in report["interruptions"])
        return float(cost["usd"]) + lost
    except (ValueError, LookupError, TypeError) as error:
        where = f"s3://{settings.output_bucket}/{prefix}job.json"
        raise CostLimitError("cost_unknown", f"max_cost_usd is set, but {where} tells no cost", UNKNOWN_FIX) from error


def _cost_of_attempt(interruption: dict[str, Any], usd_per_hour: float) -> float:
    """An attempt that left no sign of life counts nothing: it ended before its script was started."""
    if (usd := interruption.get("usd")) is not None:
        return float(usd)
    return usd_per_hour * float(interruption.get("seconds") or 0) / SECONDS_PER_HOUR
