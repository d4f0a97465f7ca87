"""Read the platform's JSON documents from the output bucket."""

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from aws.clients import client
from splatworks.contract.documents.codec import APPLY, DocumentError, NewerDocumentError
from splatworks.contract.documents.job import JobReport, read_job
from splatworks.contract.documents.request import RequestDocument, read_request
from splatworks.contract.documents.result import ResultDocument, read_result
from splatworks.contract.documents.run import RunDocument
from splatworks.contract.documents.run import read_run as parse_run
from splatworks.contract.documents.scenes import SceneEntry
from splatworks.contract.documents.scenes import read_scenes as parse_scenes
from splatworks.contract.keys import JOB, REQUEST, RESULT
from splatworks.report.job_facts import FILE_LIMIT, REQUEST_LIMIT, BatchJob, StageFiles

READ_AT_ONCE = 10  # connections that a client keeps
SCENES_LIMIT = 32_000_000  # bytes of scenes.json

Document = TypeVar("Document", JobReport, ResultDocument, RequestDocument)
Texts = Mapping[str, bytes | None]


def read_run(bucket: str, key: str) -> RunDocument:
    """Raise if run.json does not exist or cannot be read: without it the end of a job means nothing."""
    return parse_run(client("s3").get_object(Bucket=bucket, Key=key)["Body"].read(), key, APPLY)


def read_scenes(bucket: str, key: str) -> list[SceneEntry]:
    return parse_scenes(client("s3").get_object(Bucket=bucket, Key=key)["Body"].read(SCENES_LIMIT), key)


def read_texts(bucket: str, keys: Iterable[str]) -> dict[str, bytes | None]:
    """The contents of several objects, None if the object does not exist. Raises if access is denied."""
    client("s3")  # made before the threads start: boto3's session is for one thread
    wanted = list(keys)
    with ThreadPoolExecutor(min(READ_AT_ONCE, len(wanted) or 1)) as pool:
        return dict(zip(wanted, pool.map(partial(_read_text, bucket), wanted), strict=True))


def file_keys(prefixes: Iterable[str]) -> list[str]:
    return [f"{prefix}{name}" for prefix in prefixes for name in (JOB, RESULT)]


def parse_files(texts: Texts, prefix: str, name: str = "", job: BatchJob | None = None) -> StageFiles:
    """job.json and result.json below `prefix`; `name` is put before their names in problems.

    With `job`, files of its earlier attempts are left out: the last one may have died before it could write its own.
    """
    report, wrong_report = parse(read_job, texts.get(f"{prefix}{JOB}"), f"{name}{JOB}")
    if job and not (report and report.is_of(job.id, len(job.attempts))):
        return StageFiles(problems=wrong_report)
    result, wrong_result = parse(read_result, texts.get(f"{prefix}{RESULT}"), f"{name}{RESULT}")
    return StageFiles(
        report=report or JobReport(), result=result or ResultDocument(), problems=(*wrong_report, *wrong_result)
    )


def parse_request(text: bytes | None) -> tuple[RequestDocument | None, tuple[str, ...]]:
    return parse(read_request, text, REQUEST)


def parse(
    reader: Callable[[bytes, str, str], Document], text: bytes | None, where: str
) -> tuple[Document | None, tuple[str, ...]]:
    """The document if it can be read, else why not: a script may have written anything."""
    if text is None:
        return None, ()
    try:
        return reader(text, where, APPLY), ()
    except NewerDocumentError as error:
        return None, (str(error),)
    except DocumentError as error:
        return None, (error.cause,)  # its fix is for the platform's own programs


def _read_text(bucket: str, key: str) -> bytes | None:
    s3 = client("s3")
    try:
        text: bytes = s3.get_object(Bucket=bucket, Key=key)["Body"].read(
            REQUEST_LIMIT if key.endswith(f"/{REQUEST}") else FILE_LIMIT
        )
    except s3.exceptions.NoSuchKey:
        return None
    return text
