"""Read the documents of stages in the bucket: they say how a job ended after Batch forgets it, about a week later."""

from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from splatworks.cli.platform import CONNECTIONS, Platform
from splatworks.cli.run_states import ENDED, FAILED, FORGOTTEN, RUNNING, SUCCEEDED, UNSENT, StageStatus
from splatworks.contract.documents.codec import INSTALL, DocumentError, NewerDocumentError
from splatworks.contract.documents.job import JobReport, read_job
from splatworks.contract.documents.progress import read_progress
from splatworks.contract.documents.result import read_result
from splatworks.contract.keys import JOB, PROGRESS, RESULT, child_prefix
from splatworks.report.job_facts import FILE_LIMIT

MOST_PARTS = 200  # of a forgotten array, whose reports are read one by one
SETTLED_AFTER = timedelta(hours=1)  # from then on a stage without a job gets none

Document = TypeVar("Document")
Reader = Callable[[bytes, str, str], Document]  # content, name for errors, what to do about a later version
SCRIPTS_WRITE = (PROGRESS, RESULT)


def in_parallel(function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
    with ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="read") as pool:
        return list(pool.map(function, items))


def read_document(platform: Platform, key: str, read: Reader[Document], limit: int = FILE_LIMIT) -> Document | None:
    """A document of the output bucket; None if it is missing or broken, as jobs can write there.

    Raises NewerDocumentError if a later version of the platform wrote it. What scripts write is then unknown instead:
    a user's own script may number its files in its own way, and must not hide the run, or the list of all runs.
    """
    s3, bucket = platform.client("s3"), platform.settings.output_bucket
    try:
        content = s3.get_object(Bucket=bucket, Key=key)["Body"].read(limit)
    except s3.exceptions.NoSuchKey:
        return None
    try:
        return read(content, f"s3://{bucket}/{key}", INSTALL)
    except NewerDocumentError:
        if key.endswith(SCRIPTS_WRITE):
            return None
        raise
    except DocumentError:
        return None


def is_settled(submitted_at: str) -> bool:
    """Whether a run is so old that Batch would list its jobs, unless it has forgotten them."""
    try:
        submitted = datetime.fromisoformat(submitted_at)
    except ValueError:
        return True  # the dispatcher writes the time before it submits anything
    return datetime.now(UTC) - submitted.replace(tzinfo=submitted.tzinfo or UTC) > SETTLED_AFTER


def with_documents(platform: Platform, stage: StageStatus, is_old: bool) -> StageStatus:
    """The stage with its documents. `is_old`: its run is settled."""
    if not stage.output_prefix or stage.status not in (RUNNING, UNSENT, *ENDED):
        return stage
    if stage.size > 1:
        return _forgotten_array(platform, stage) if stage.status == UNSENT and is_old else stage
    if stage.status == RUNNING:
        return with_progress(platform, stage)
    report = read_document(platform, f"{stage.output_prefix}{JOB}", read_job)
    result = read_document(platform, f"{stage.output_prefix}{RESULT}", read_result)
    if stage.job_id and not (report and report.is_of(stage.job_id, stage.attempts)):
        report, result = None, None  # an earlier attempt's: the last one died before it could write them
    if stage.status == UNSENT and report:  # Batch has forgotten the job
        stage = replace(stage, status=_status(report))
    elif stage.status == UNSENT and is_old:
        stage = replace(stage, status=FORGOTTEN)
    return replace(stage, report=report, result=result)


def with_progress(platform: Platform, stage: StageStatus) -> StageStatus:
    return replace(stage, progress=read_document(platform, f"{stage.output_prefix}{PROGRESS}", read_progress))


def _forgotten_array(platform: Platform, stage: StageStatus) -> StageStatus:
    if stage.size > MOST_PARTS:
        return replace(stage, status=FORGOTTEN)
    keys = [f"{child_prefix(stage.output_prefix, index)}{JOB}" for index in range(stage.size)]
    reports = [report for report in in_parallel(lambda key: read_document(platform, key, read_job), keys) if report]
    counts = Counter(_status(report) for report in reports)
    failed = [report for report in reports if not report.is_done]
    if failed:
        why = JobReport(ended=failed[0].ended, error=failed[0].error)
        return replace(stage, status=FAILED, counts=dict(counts), report=why)
    return replace(stage, status=SUCCEEDED if len(reports) == stage.size else FORGOTTEN, counts=dict(counts))


def _status(report: JobReport) -> str:
    return SUCCEEDED if report.is_done else FAILED
