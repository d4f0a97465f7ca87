"""What stages left in the bucket; it tells how they ended where Batch has forgotten their jobs, about a week later."""

import json
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from splatworks.cli.platform import CONNECTIONS, Platform
from splatworks.cli.run_states import ENDED, FAILED, FORGOTTEN, RUNNING, SUCCEEDED, UNSENT, Stage
from splatworks.report.job_facts import FILE_LIMIT, is_report_of

MOST_PARTS = 200  # of a forgotten array, whose reports are read one by one
SETTLED_AFTER = timedelta(hours=1)  # from then on a stage without a job gets none


def in_parallel(function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
    with ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="read") as pool:
        return list(pool.map(function, items))


def read_json(platform: Platform, key: str, limit: int = FILE_LIMIT) -> dict[str, Any]:
    """An object of the output bucket; empty where it is not there or is no JSON object."""
    s3 = platform.client("s3")
    try:
        value = json.loads(s3.get_object(Bucket=platform.settings.output_bucket, Key=key)["Body"].read(limit))
    except (s3.exceptions.NoSuchKey, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def settled(submitted_at: Any) -> bool:
    """Whether a run is so old that Batch would list its jobs, if it had not forgotten them."""
    try:
        submitted = datetime.fromisoformat(submitted_at)
    except (TypeError, ValueError):
        return True  # the dispatcher writes the time before it submits anything
    return datetime.now(UTC) - submitted.replace(tzinfo=submitted.tzinfo or UTC) > SETTLED_AFTER


def files_of_stage(platform: Platform, stage: Stage, old: bool) -> Stage:
    """With its reports. `old`: its run is settled."""
    if not stage.output_prefix or stage.status not in (RUNNING, UNSENT, *ENDED):
        return stage
    if stage.size > 1:
        return _forgotten_array(platform, stage) if stage.status == UNSENT and old else stage
    found = {
        name: read_json(platform, f"{stage.output_prefix}{name}.json")
        for name in (("progress",) if stage.status == RUNNING else ("job", "result"))
    }
    report, result = found.get("job", {}), found.get("result", {})
    if stage.job_id and not is_report_of(report, stage.job_id, stage.attempts):
        report, result = {}, {}  # an earlier attempt's: the last one died before it could write its own
    if stage.status == UNSENT and report:  # Batch has forgotten the job
        stage = replace(stage, status=_ended(report))
    elif stage.status == UNSENT and old:
        stage = replace(stage, status=FORGOTTEN)
    return replace(stage, progress=found.get("progress", {}), report=report, result=result)


def _forgotten_array(platform: Platform, stage: Stage) -> Stage:
    if stage.size > MOST_PARTS:
        return replace(stage, status=FORGOTTEN)
    keys = [f"{stage.output_prefix}{index}/job.json" for index in range(stage.size)]
    reports = [report for report in in_parallel(lambda key: read_json(platform, key), keys) if report]
    counts = Counter(_ended(report) for report in reports)
    failed = [report for report in reports if _ended(report) == FAILED]
    if failed:
        why = {name: failed[0].get(name) for name in ("ended", "error")}
        return replace(stage, status=FAILED, counts=dict(counts), report=why)
    return replace(stage, status=SUCCEEDED if len(reports) == stage.size else FORGOTTEN, counts=dict(counts))


def _ended(report: dict[str, Any]) -> str:
    return SUCCEEDED if report.get("ended") == "done" else FAILED
