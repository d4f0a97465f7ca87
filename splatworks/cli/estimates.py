"""Estimate time and cost from earlier runs and from EC2's spot prices."""

from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median

from botocore.exceptions import ClientError

from splatworks.cli.plans import PlannedStage, RunPlan
from splatworks.cli.platform import Platform
from splatworks.cli.problems import DENIED, error_code
from splatworks.cli.run_files import in_parallel, read_document
from splatworks.cli.run_states import SUCCEEDED
from splatworks.cli.runs import finished_jobs
from splatworks.contract.documents.job import JobReport, read_job
from splatworks.contract.keys import JOB

LOOKED_AT = 50  # earlier jobs of a stage, the newest first


@dataclass(frozen=True)
class TimeEstimate:
    seconds: float
    runs: int
    same_options: bool


@dataclass(frozen=True)
class PriceRange:
    """US dollars per hour of a whole machine."""

    lowest: float
    highest: float


@dataclass(frozen=True)
class StageEstimate:
    time: TimeEstimate | None
    price: PriceRange | None

    def cost(self, size: int) -> tuple[float, float] | None:
        """US dollars; `size` parts on a machine each."""
        if self.time is None or self.price is None:
            return None
        hours = self.time.seconds / 3600 * size
        return hours * self.price.lowest, hours * self.price.highest


def estimate(platform: Platform, plan: RunPlan) -> list[StageEstimate]:
    """In the order of the plan's stages. A stage that is reused takes no time."""
    to_run = [stage for stage in plan.stages if stage.reused_from is None]
    prices = _spot_prices(platform, sorted({name for stage in to_run if stage.spot for name in stage.instances}))
    reports = _earlier_reports(platform, to_run)
    return [
        StageEstimate(_time(stage, reports.get(stage.stage, [])), _price(stage, prices))
        if stage.reused_from is None
        else StageEstimate(None, None)
        for stage in plan.stages
    ]


def _earlier_reports(platform: Platform, stages: list[PlannedStage]) -> dict[str, list[JobReport]]:
    """Reports of successful jobs of the same script on the same queue."""
    platform.client("s3")
    found: dict[str, list[JobReport]] = {}
    for stage in stages:
        jobs = [job for job in finished_jobs(platform, stage.queue, stage.stage, LOOKED_AT) if job.status == SUCCEEDED]
        reports = in_parallel(lambda job: read_document(platform, f"{job.output_prefix}{JOB}", read_job), jobs)
        found[stage.stage] = [report for report in reports if report and _counts(report, stage)]
    return found


def _counts(report: JobReport, stage: PlannedStage) -> bool:
    """Whether the stage's own script ran, took a known time, and its result was not a copy."""
    was_run = report.is_done and not report.reused_from and report.seconds.total is not None
    return was_run and report.script is not None and report.script.key == stage.script_key


def _time(stage: PlannedStage, reports: list[JobReport]) -> TimeEstimate | None:
    same = [report for report in reports if report.parameters == stage.parameters]
    used = same or reports
    if not used:
        return None
    return TimeEstimate(median(report.seconds.total or 0.0 for report in used), len(used), bool(same))


def _price(stage: PlannedStage, prices: dict[str, list[float]]) -> PriceRange | None:
    known = [price for name in stage.instances for price in prices.get(name, [])]
    return PriceRange(min(known), max(known)) if known and stage.spot else None


def _spot_prices(platform: Platform, types: list[str]) -> dict[str, list[float]]:
    """Now, in each zone of the region."""
    if not types:
        return {}
    now = datetime.now(UTC)
    pages = platform.client("ec2").get_paginator("describe_spot_price_history")
    found: dict[str, list[float]] = {}
    try:
        for page in pages.paginate(InstanceTypes=types, ProductDescriptions=["Linux/UNIX"], StartTime=now, EndTime=now):
            for entry in page["SpotPriceHistory"]:
                found.setdefault(entry["InstanceType"], []).append(float(entry["SpotPrice"]))
    except ClientError as error:
        if error_code(error) not in DENIED:
            raise
        return {}  # a plan without prices is better than none
    return found
