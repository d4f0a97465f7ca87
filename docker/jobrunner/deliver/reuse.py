"""Results of stages in the output bucket: what they were made of, and where one lies that need not be made again."""

import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from splatworks.contract.content_keys import content_key, objects_digest

from .delivery import RESERVED
from .failures import reason
from .request import Request
from .settings import Settings
from .store import AWS_FAULTS, Copy, RemoteFile, Store

log = logging.getLogger("runner")

RUNS = "runs/"  # here the platform alone writes
NO_INPUT = ("_READY", "pipeline.json")  # they start a run and set its options: other options make no other photos


@dataclass(frozen=True, kw_only=True)
class StageResult:
    """What a stage wrote, whole and as it wrote it."""

    prefix: str
    files: list[RemoteFile]
    content_key: str
    origin: str  # URI of the output that this one is a copy of, else its own
    input_origins: frozenset[str]


@dataclass(frozen=True)
class Ingredient:
    """One input location, as it goes into the content key."""

    digest: str
    origin: str | None  # of a stage's result


def stage_result(store: Store, bucket: str, prefix: str, files: Sequence[RemoteFile]) -> StageResult | None:
    """`files` is all that lies below the prefix. None where that is not, or no more, what a stage wrote."""
    if not prefix.startswith(RUNS):
        return None
    success = next((file for file in files if file.key == f"{prefix}_SUCCESS"), None)
    # What people changed by hand afterwards is something else.
    if success is None or any(file.modified > success.modified for file in files):
        return None
    report = _object(store.read(bucket, f"{prefix}job.json"))
    key, copied_from = report.get("content_key"), report.get("reused_from")
    if not isinstance(key, str) or not _whole(report, prefix, files):
        return None
    return StageResult(
        prefix=prefix,
        files=list(files),
        content_key=key,
        origin=f"s3://{bucket}/{copied_from if isinstance(copied_from, str) else prefix}",
        input_origins=frozenset(_origins(report.get("inputs"))),
    )


def ingredient(files: Sequence[RemoteFile], prefix: str, result: StageResult | None) -> Ingredient:
    if result:
        return Ingredient(result.content_key, result.origin)
    named = ((file.key.removeprefix(prefix), file.size, file.etag) for file in files)
    return Ingredient(objects_digest(each for each in named if each[0] not in NO_INPUT), None)


def own_key(request: Request, ingredients: Sequence[Ingredient], script_digest: str) -> str | None:
    """Of what this job was given; since the dispatcher looked, photos and scripts may have been replaced."""
    if not request.content_base:
        return None
    if request.script_digest not in (None, script_digest):
        why = "what lies in its folder is not what lay there at submission"
        log.warning("the result of %s is neither looked up nor recorded for reuse: %s", request.script_key, why)
        return None
    key = content_key(request.content_base, request.parameters, [each.digest for each in ingredients])
    if request.content_key not in (None, key):
        why = f"the input is not what it was at submission, which made it {request.content_key}"
        log.warning("the content key is %s: %s", key, why)
    return key


def find(key: str, ingredients: Sequence[Ingredient], settings: Settings, store: Store) -> StageResult | None:
    """An earlier result of this key that can be used; the log says why one cannot."""
    try:
        return _look_up(key, ingredients, settings, store)
    except (_UnusableError, *AWS_FAULTS) as error:
        where = f"s3://{settings.output_bucket}/{_entry_key(key)}"
        log.warning("the earlier result in %s is not used: %s", where, reason(error))
        return None


def copies(result: StageResult, settings: Settings) -> list[Copy]:
    platforms = {result.prefix + name for name in RESERVED}
    return [
        Copy(file, settings.output_prefix + file.key.removeprefix(result.prefix))
        for file in result.files
        if file.key not in platforms
    ]


def record(key: str, settings: Settings, store: Store) -> None:
    """Lets later jobs find this result. A job that is done is not failed for it."""
    entry = json.dumps({"output_prefix": settings.output_prefix}).encode()
    try:
        store.write(settings.output_bucket, _entry_key(key), entry)
    except AWS_FAULTS as error:
        log.warning("this result will not be found by later jobs: %s", reason(error))


def _whole(report: dict[str, Any], prefix: str, files: Sequence[RemoteFile]) -> bool:
    """Nothing has been removed: neither by hand nor by a lifecycle rule, which comes over a result file by file."""
    platforms = {prefix + name for name in RESERVED}
    output = report.get("output")
    delivered = output.get("files") if isinstance(output, dict) else None
    return isinstance(delivered, int) and len([file for file in files if file.key not in platforms]) >= delivered


class _UnusableError(Exception):
    """An earlier result is there, but not one to use."""


def _look_up(key: str, ingredients: Sequence[Ingredient], settings: Settings, store: Store) -> StageResult | None:
    bucket = settings.output_bucket
    entry = store.read(bucket, _entry_key(key))
    if entry is None:
        return None
    prefix = _object(entry).get("output_prefix")
    if not isinstance(prefix, str) or not prefix.startswith(RUNS) or not prefix.endswith("/"):
        raise _UnusableError(f"its entry names no output: {entry[:200]!r}")
    if prefix == settings.output_prefix:
        raise _UnusableError("it is this job's own")
    result = stage_result(store, bucket, prefix, store.list(bucket, prefix))
    if result is None:
        raise _UnusableError(f"{prefix} is gone, or not as the stage left it")
    if result.content_key != key:
        raise _UnusableError(f"{prefix} holds another result")
    # Two runs of one recipe may place a scene differently: a splat of one does not fit the photos of the other.
    if not {each.origin for each in ingredients if each.origin} <= result.input_origins:
        raise _UnusableError(f"{prefix} was made from another run of the stage before")
    return result


def _origins(inputs: Any) -> Iterable[str]:
    for each in inputs if isinstance(inputs, list) else []:
        if isinstance(each, dict) and isinstance(origin := each.get("origin"), str):
            yield origin


def _entry_key(key: str) -> str:
    return f"reuse/{key}.json"


def _object(text: bytes | None) -> dict[str, Any]:
    try:
        document = json.loads(text or b"{}")
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
