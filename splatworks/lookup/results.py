"""Results that stages have left in the output bucket, of which one may be used in the place of running a stage."""

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from splatworks.lookup.clients import Clients
from splatworks.lookup.documents import read_if_json
from splatworks.lookup.listing import objects_below

PLATFORMS = ("request.json", "job.json", "_RUNNING", "_SUCCESS")  # beside what a stage wrote


@dataclass(frozen=True)
class StageResult:
    content_key: str
    origin: str  # URI of this output, or of the one that it is a copy of
    input_origins: frozenset[str]  # of the stages' outputs that it was made from


def stage_result(clients: Clients, bucket: str, prefix: str, objects: list[dict[str, Any]]) -> StageResult | None:
    """`objects` is all that lies below the prefix. None where that is not, or no more, what a stage wrote."""
    times = {item["Key"].removeprefix(prefix): item["LastModified"] for item in objects}
    # What people changed by hand afterwards is something else.
    if not prefix.startswith("runs/") or "_SUCCESS" not in times or max(times.values()) > times["_SUCCESS"]:
        return None
    report = read_if_json(clients, bucket, f"{prefix}job.json")
    if not isinstance(report, dict) or not isinstance(report.get("content_key"), str):
        return None
    # A lifecycle rule comes over a result file by file.
    output = report.get("output")
    written = output.get("files") if isinstance(output, dict) else None
    if not isinstance(written, int) or len([name for name in times if name not in PLATFORMS]) < written:
        return None
    return StageResult(
        content_key=report["content_key"],
        origin=f"s3://{bucket}/{report.get('reused_from') or prefix}",
        input_origins=_input_origins(report),
    )


def _input_origins(report: dict[str, Any]) -> frozenset[str]:
    inputs = report.get("inputs")
    found = [each.get("origin") for each in inputs if isinstance(each, dict)] if isinstance(inputs, list) else []
    return frozenset(origin for origin in found if isinstance(origin, str))


def usable_results(clients: Clients, keys: dict[str, str], origins: tuple[str, ...], bucket: str) -> dict[str, str]:
    """Output prefixes by stage, of the first stages of the chain `keys` (content key by stage) that have results.

    A result counts only if it was made from the very outputs that are used before it, and from `origins`, those that
    the message names: two runs of one recipe may place a scene differently, and a splat trained on one of them does
    not fit the photos of the other.
    """
    if not keys:
        return {}
    with ThreadPoolExecutor(len(keys)) as pool:
        found = list(pool.map(lambda stage: _recorded(clients, stage, keys[stage], bucket), keys))
    used: dict[str, str] = {}
    read = set(origins)
    for stage, each in zip(keys, found, strict=True):
        if each is None or not read <= each[1].input_origins:
            break
        used[stage] = each[0]
        read.add(each[1].origin)
    return used


def _recorded(clients: Clients, stage: str, key: str, bucket: str) -> tuple[str, StageResult] | None:
    entry = read_if_json(clients, bucket, f"reuse/{key}.json")
    prefix = entry.get("output_prefix") if isinstance(entry, dict) else None
    # The folder of an array's child bears a number: beside another, compress would not know which stage it is of.
    # Any job may write such an entry, and e-mails put the prefix into commands: nothing but what the platform names.
    if not isinstance(prefix, str) or not re.fullmatch(rf"runs/[A-Za-z0-9_-]+/[A-Za-z0-9_-]+/{stage}/", prefix):
        return None
    result = stage_result(clients, bucket, prefix, objects_below(clients, bucket, prefix))
    return (prefix, result) if result and result.content_key == key else None
