"""max_cost_usd: what the run has cost so far, and the end of a script that would cost more than allowed."""

from collections.abc import Callable, Iterator, Sequence

from jobrunner.failures import CostLimitError
from jobrunner.run.machine import SECONDS_PER_HOUR, MachineFacts
from jobrunner.settings import Settings
from jobrunner.store import Store
from splatworks.contract.documents.codec import PUSH_THE_IMAGE, DocumentError, NewerDocumentError
from splatworks.contract.documents.job import COST_LIMIT, LostAttempt, read_job_strictly
from splatworks.contract.documents.run import read_run
from splatworks.contract.keys import JOB, child_prefix

UNKNOWN_FIX = "Publish the message again; leave max_cost_usd out if the cost need not be limited"


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
            COST_LIMIT,
            f"${spent:.4f} are spent, ${self._before:.4f} of them before this attempt; max_cost_usd allows "
            f"${self._limit:g}",
            "Publish the message again with a higher max_cost_usd, or ask for less work",
        )
        stop()


def spent_before(
    run_key: str | None, lost: Sequence[LostAttempt], usd_per_hour: float, settings: Settings, store: Store
) -> float:
    """US dollars of the stages before this one in its run, and of the attempts before this one of its job."""
    stages = sum(_cost_of_stage(prefix, settings, store) for prefix in _earlier_stages(run_key, settings, store))
    return stages + sum(_cost_of_attempt(each, usd_per_hour) for each in lost)


def price_per_hour(facts: MachineFacts) -> float:
    if facts.price:
        return facts.price.usd_per_hour
    raise CostLimitError(
        "price_unknown",
        f"max_cost_usd is set, but the price of this machine is not known: {facts.problem}",
        "Publish the message again; leave max_cost_usd out if jobs may run on on-demand machines",
    )


def _earlier_stages(run_key: str | None, settings: Settings, store: Store) -> Iterator[str]:
    """Output prefixes of the stages that this run had to pay for. A stage reused from another run cost nothing."""
    if run_key is None:
        return
    where = f"s3://{settings.output_bucket}/{run_key}"
    text = store.read(settings.output_bucket, run_key)
    if text is None:
        raise DocumentError(where, "does not exist", UNKNOWN_FIX)
    stages = read_run(text, where, PUSH_THE_IMAGE).stages
    names = [each.stage for each in stages]
    if settings.stage not in names:
        raise DocumentError(where, f"has no stage {settings.stage!r}, only {', '.join(names)}", UNKNOWN_FIX)
    for each in stages[: names.index(settings.stage)]:
        if not each.is_of_another_run:
            yield child_prefix(each.output_prefix, settings.array_index if each.is_array else None)


def _cost_of_stage(prefix: str, settings: Settings, store: Store) -> float:
    where = f"s3://{settings.output_bucket}/{prefix}{JOB}"
    text = store.read(settings.output_bucket, f"{prefix}{JOB}")
    if text is None:
        raise _cost_unknown(where)
    try:
        report = read_job_strictly(text, where, PUSH_THE_IMAGE)
    except NewerDocumentError:
        raise
    except DocumentError as error:
        raise _cost_unknown(where) from error
    cost = report.cost
    if cost is None or cost.usd is None or cost.usd_per_hour is None:
        raise _cost_unknown(where)
    return cost.usd + sum(_cost_of_attempt(each, cost.usd_per_hour) for each in report.interruptions)


def _cost_unknown(where: str) -> CostLimitError:
    return CostLimitError("cost_unknown", f"max_cost_usd is set, but {where} has no cost", UNKNOWN_FIX)


def _cost_of_attempt(lost: LostAttempt, usd_per_hour: float) -> float:
    """An attempt that left no sign of life counts nothing: it ended before its script was started."""
    if lost.usd is not None:
        return lost.usd
    return usd_per_hour * (lost.seconds or 0) / SECONDS_PER_HOUR
