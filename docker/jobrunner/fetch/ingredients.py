"""Describe an input location by what it was made from: the result of a stage, or files."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from jobrunner.store import RemoteFile, Store
from splatworks.contract.content_keys import objects_digest
from splatworks.contract.documents.codec import PUSH_THE_IMAGE, DocumentError
from splatworks.contract.documents.job import JobReport, read_job
from splatworks.contract.keys import JOB, NOT_INPUT, RESERVED, RUNS, SUCCESS

log = logging.getLogger("runner")


@dataclass(frozen=True, kw_only=True)
class EarlierResult:
    """A complete, unmodified result of a stage in the output bucket."""

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


def earlier_result(store: Store, bucket: str, prefix: str, files: Sequence[RemoteFile]) -> EarlierResult | None:
    """Return None if the prefix is not a complete, unmodified stage result. `files` are all below the prefix."""
    if not prefix.startswith(RUNS):
        return None
    success = next((file for file in files if file.key == f"{prefix}{SUCCESS}"), None)
    # A result that a user changed by hand afterwards is another one.
    if success is None or any(file.modified > success.modified for file in files):
        return None
    report = _report(store, bucket, f"{prefix}{JOB}")
    if report is None or report.content_key is None or not _is_complete(report, prefix, files):
        return None
    return EarlierResult(
        prefix=prefix,
        files=list(files),
        content_key=report.content_key,
        origin=f"s3://{bucket}/{report.reused_from or prefix}",
        input_origins=frozenset(each.origin for each in report.inputs if each.origin),
    )


def ingredient(files: Sequence[RemoteFile], prefix: str, result: EarlierResult | None) -> Ingredient:
    if result:
        return Ingredient(result.content_key, result.origin)
    named = ((file.key.removeprefix(prefix), file.size, file.etag) for file in files)
    return Ingredient(objects_digest(each for each in named if each[0] not in NOT_INPUT), None)


def _report(store: Store, bucket: str, key: str) -> JobReport | None:
    where = f"s3://{bucket}/{key}"
    text = store.read(bucket, key)
    if text is None:
        return None
    try:
        return read_job(text, where, PUSH_THE_IMAGE)
    except DocumentError as error:
        log.warning("the result beside it is not used: %s", error)
        return None


def _is_complete(report: JobReport, prefix: str, files: Sequence[RemoteFile]) -> bool:
    """Nothing has been removed, by hand or by a lifecycle rule, which deletes a result file by file."""
    reserved = {prefix + name for name in RESERVED}
    delivered = report.output.files
    return delivered is not None and len([file for file in files if file.key not in reserved]) >= delivered
