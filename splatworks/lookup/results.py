"""Results of earlier runs in the output bucket, which a run may use instead of running a stage again."""

import logging
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from splatworks.contract.documents.codec import APPLY, DocumentError, NewerDocumentError
from splatworks.contract.documents.job import JobReport, read_job
from splatworks.contract.documents.reuse import read_reuse_entry
from splatworks.contract.keys import JOB, RESERVED, RUNS, SUCCESS, reuse_key
from splatworks.lookup.clients import Clients
from splatworks.lookup.documents import read_object
from splatworks.lookup.listing import objects_below
from splatworks.planning.pipeline_order import StageOrder

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StageResult:
    content_key: str
    origin: str  # URI of this output, or of the one that it is a copy of
    input_origins: frozenset[str]  # of the stages' outputs that it was made from


def stage_result(clients: Clients, bucket: str, prefix: str, objects: list[dict[str, Any]]) -> StageResult | None:
    """Return None if the prefix is not a complete, unmodified stage result. `objects` are all below the prefix."""
    times = {item["Key"].removeprefix(prefix): item["LastModified"] for item in objects}
    # A result that somebody changed by hand afterwards is another one.
    if not prefix.startswith(RUNS) or SUCCESS not in times or max(times.values()) > times[SUCCESS]:
        return None
    report = _read_report(clients, bucket, f"{prefix}{JOB}")
    if report is None or report.content_key is None:
        return None
    # A lifecycle rule deletes a result file by file.
    written = report.output.files
    if written is None or len([name for name in times if name not in RESERVED]) < written:
        return None
    return StageResult(
        content_key=report.content_key,
        origin=f"s3://{bucket}/{report.reused_from or prefix}",
        input_origins=frozenset(each.origin for each in report.inputs if each.origin),
    )


def _read_report(clients: Clients, bucket: str, key: str) -> JobReport | None:
    """None if it is missing or this version cannot read it: the stage then runs again."""
    content = read_object(clients, bucket, key)
    if content is None:
        return None
    try:
        return read_job(content, key, APPLY)
    except NewerDocumentError as error:
        log.warning("result not used: %s", error)
    except DocumentError:
        pass  # jobs can write below runs/: not a result
    return None


def usable_results(
    clients: Clients, stages: Sequence[StageOrder], keys: dict[str, str], origins: tuple[str, ...], bucket: str
) -> dict[str, str]:
    """Output prefixes by stage, for the first of `stages` that have results; `keys` are their content keys.

    A result counts only if it was made from the very outputs that its stage reads in this run. `origins` are those that
    the message names: two runs of one recipe may place a scene differently, and a splat trained on one of them does
    not fit the photos of the other.
    """
    if not keys:
        return {}
    with ThreadPoolExecutor(len(keys)) as pool:
        found = list(pool.map(lambda stage: _recorded(clients, stage, keys[stage], bucket), keys))
    used: dict[str, str] = {}
    made: dict[str, str] = {}  # origins by stage
    for stage, each in zip(stages, found, strict=False):  # a swept stage has no key, and none after it has one
        read = {*(origins if stage.reads_inputs else ()), *(made[name] for name in stage.reads)}
        if each is None or not read <= each[1].input_origins:
            break
        used[stage.name], made[stage.name] = each[0], each[1].origin
    return used


def _recorded(clients: Clients, stage: str, key: str, bucket: str) -> tuple[str, StageResult] | None:
    where = reuse_key(key)
    content = read_object(clients, bucket, where)
    if content is None:
        return None
    try:
        prefix = read_reuse_entry(content, where, APPLY).output_prefix
    except DocumentError:
        return None
    # Not the folder of an array's child, which is a number: compress would not know which stage it is of.
    # Any job can write such an entry, and e-mails put the prefix into commands: only the platform's own names.
    if not re.fullmatch(rf"{RUNS}[A-Za-z0-9_-]+/[A-Za-z0-9_-]+/{stage}/", prefix):
        return None
    result = stage_result(clients, bucket, prefix, objects_below(clients, bucket, prefix))
    return (prefix, result) if result and result.content_key == key else None
