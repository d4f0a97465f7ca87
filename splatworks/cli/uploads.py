"""A local folder to the input bucket: many files at a time, and only what is not there yet."""

import hashlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from boto3.s3.transfer import TransferConfig

from splatworks.cli.local_files import files_in
from splatworks.cli.problems import Problem, TransferStopped
from splatworks.contract.content_types import content_type
from splatworks.contract.failures import UnusableInputError
from splatworks.contract.paths import refuse_collisions

WORKERS = 16
PART = 16 * 1024 * 1024  # bytes; larger files go in parts of this size, and their ETag tells so
PART_OF_AWS_CLI = 8 * 1024 * 1024  # of `aws s3 cp`, unless it is configured otherwise
OTHERS_SHOWN = 5


@dataclass(frozen=True)
class LocalFile:
    path: Path
    key: str
    size: int


@dataclass(frozen=True)
class UploadPlan:
    bucket: str
    prefix: str
    files: list[LocalFile]
    present: dict[str, tuple[int, str]]  # size and ETag of what is there already, by key

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)

    def is_there(self, file: LocalFile) -> bool:
        size, etag = self.present.get(file.key, (-1, ""))
        return size == file.size and any(etag == etag_of(file.path, part) for part in _parts_of(size, etag))

    @property
    def missing_bytes(self) -> int:
        return sum(file.size for file in self.files if not self.is_there(file))

    @property
    def others(self) -> list[str]:
        """Objects that would become part of the scene though they are not in the folder."""
        ours = {file.key for file in self.files}
        return sorted(key for key in self.present if key not in ours)

    def changed(self) -> list[str]:
        """Objects of the same names with other content; the files are read."""
        there = [file for file in self.files if file.key in self.present]
        with ThreadPoolExecutor(WORKERS, thread_name_prefix="compare") as pool:
            same = pool.map(self.is_there, there)
        return sorted(file.key for file, is_same in zip(there, same, strict=True) if not is_same)


def plan_upload(s3: Any, bucket: str, prefix: str, local: Path) -> UploadPlan:
    files = [LocalFile(file.path, f"{prefix}{file.name}", file.path.stat().st_size) for file in files_in(local)]
    if not files:
        raise Problem(f"{local} holds no files.", "Give the folder that holds the photos.")
    try:
        refuse_collisions((Path(file.key), str(file.path)) for file in files)
    except UnusableInputError as error:
        raise Problem(f"{error.cause}.", error.fix) from None
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    found = [item for page in pages for item in page.get("Contents", [])]
    present = {item["Key"]: (item["Size"], item["ETag"].strip('"')) for item in found if not item["Key"].endswith("/")}
    return UploadPlan(bucket, prefix, files, present)


def refuse_others(plan: UploadPlan) -> None:
    """Files of another set of photos: they would become part of the scene."""
    if plan.others:
        raise Problem(
            f"s3://{plan.bucket}/{plan.prefix} holds {_listed(plan, plan.others)} not in the folder; "
            "they would become part of the scene.",
            "Give another --name, remove them (aws s3 rm), or say --keep-others.",
        )


def refuse_changed(plan: UploadPlan) -> None:
    """Two cameras, two DSC_0001.jpg: what is there may be the only copy of another set of photos."""
    if changed := plan.changed():
        raise Problem(
            f"s3://{plan.bucket}/{plan.prefix} holds {_listed(plan, changed)} of the same names as yours but of other "
            "content; they would be lost.",
            "Give another --name, or say --replace to overwrite them.",
        )


def _listed(plan: UploadPlan, keys: list[str]) -> str:
    shown = ", ".join(key.removeprefix(plan.prefix) for key in keys[:OTHERS_SHOWN])
    return f"{len(keys)} files ({shown}{', …' if len(keys) > OTHERS_SHOWN else ''})"


def upload(s3: Any, plan: UploadPlan, advance: Callable[[int], None]) -> tuple[int, int]:
    """Files sent, and files that were there. `advance` is told bytes, from many threads."""
    stopped = threading.Event()
    pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="upload")
    try:
        futures = [pool.submit(_upload_one, s3, plan, file, advance, stopped) for file in plan.files]
        sent = sum(future.result() for future in as_completed(futures))
    except BaseException:
        stopped.set()  # ends what is under way as well; the next call goes on from what was finished
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    return sent, len(plan.files) - sent


def _upload_one(
    s3: Any, plan: UploadPlan, file: LocalFile, advance: Callable[[int], None], stopped: threading.Event
) -> bool:
    if plan.is_there(file):
        advance(file.size)
        return False

    def went(count: int) -> None:
        if stopped.is_set():
            raise TransferStopped
        advance(count)

    config = TransferConfig(multipart_threshold=PART, multipart_chunksize=PART, use_threads=False)
    extra = {"ContentType": content_type(file.key)}
    try:
        s3.upload_file(str(file.path), plan.bucket, file.key, ExtraArgs=extra, Callback=went, Config=config)
    except OSError as error:
        raise Problem(
            f"{file.path} cannot be read: {error.strerror or error}.", "Make it readable, or move it away."
        ) from None
    return True


def etag_of(path: Path, part: int | None) -> str:
    """What S3 says of a file that was sent: its MD5 or, sent in parts, the MD5 of their MD5s and their number."""
    with path.open("rb") as file:
        if part is None:
            return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        parts = [hashlib.md5(data, usedforsecurity=False).digest() for data in iter(lambda: file.read(part), b"")]
    return f"{hashlib.md5(b''.join(parts), usedforsecurity=False).hexdigest()}-{len(parts)}"


def _parts_of(size: int, etag: str) -> list[int | None]:
    """Sizes of parts by which an object may have got this ETag."""
    _, dash, count = etag.partition("-")
    return [part for part in (PART, PART_OF_AWS_CLI) if str(-(-size // part)) == count] if dash else [None]
