"""Everything that the runner asks of S3, many files at a time."""

import hashlib
import os
import stat
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

import boto3
from boto3.s3.transfer import TransferConfig, create_transfer_manager
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from s3transfer.exceptions import CancelledError, RetriesExceededError, S3DownloadFailedError
from s3transfer.futures import TransferFuture
from s3transfer.subscribers import BaseSubscriber

from jobrunner.failures import Interrupted, RunnerError, error_code, is_temporary, reason
from splatworks.contract.content_types import content_type

WORKERS = 32
MIB = 1024 * 1024
# Smaller files go in one request of the pool's: the transfer manager's three tasks per file cost more than the file.
SMALL = 8 * MIB
READ_SIZE = 1 * MIB
COPIED_WHOLE = 128 * MIB  # S3 copies larger objects in parts, faster; above 5 GB it must
DELETE_AT_ONCE = 1000  # the most that DeleteObjects takes

# Metadata that tells the runner's uploads from what scripts write themselves. It comes with the object, so that no
# interruption parts the two, and names the key, so that a copy elsewhere, which takes it along, is not taken for one.
PLACE = "splatworks-place"

STREAM_TRIES = 3  # the SDK retries a request, not a body that breaks off

AWS_FAULTS = (ClientError, BotoCoreError, OSError)


@dataclass(frozen=True)
class RemoteFile:
    bucket: str
    key: str
    size: int
    etag: str
    modified: datetime

    @property
    def uri(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


@dataclass(frozen=True)
class Download:
    source: RemoteFile
    target: Path


@dataclass(frozen=True)
class FileUpload:
    path: Path
    key: str


@dataclass(frozen=True)
class Copy:
    source: RemoteFile
    key: str  # in the same bucket


class Store:
    def __init__(self, client: Any) -> None:
        self._client = client

    @classmethod
    def connect(cls) -> "Store":
        config = Config(
            max_pool_connections=WORKERS
            + 8,  # every worker keeps its connection; the rest is for progress and checkpoints
            retries={"mode": "standard", "total_max_attempts": 6},
            connect_timeout=10,
            read_timeout=60,
        )
        return cls(boto3.client("s3", config=config))

    def read(self, bucket: str, key: str) -> bytes | None:
        """The object's bytes, or None where there is no such object."""
        try:
            return self._client.get_object(Bucket=bucket, Key=key)["Body"].read()
        except ClientError as error:
            if error_code(error) in ("NoSuchKey", "404"):
                return None
            raise

    def write(self, bucket: str, key: str, body: bytes) -> None:
        self._client.put_object(Bucket=bucket, Key=key, Body=body, **_properties(key))

    def find(self, bucket: str, key: str) -> RemoteFile | None:
        try:
            head = self._client.head_object(Bucket=bucket, Key=key)
        except ClientError as error:
            if error_code(error) in ("NoSuchKey", "404"):
                return None
            raise
        return RemoteFile(bucket, key, head["ContentLength"], head["ETag"], head["LastModified"])

    def list(self, bucket: str, prefix: str, *, delimiter: str = "") -> list[RemoteFile]:
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=bucket, Prefix=prefix, Delimiter=delimiter
        )
        return [
            RemoteFile(bucket, found["Key"], found["Size"], found["ETag"], found["LastModified"])
            for page in pages
            for found in page.get("Contents", [])
        ]

    def uploaded_by_runner(self, files: Sequence[RemoteFile]) -> Sequence[RemoteFile]:
        """Those that this or an earlier attempt's runner uploaded to where they lie."""
        with ThreadPoolExecutor(WORKERS, thread_name_prefix="looking") as pool:
            return [file for file, is_ours in zip(files, pool.map(self._has_place, files), strict=True) if is_ours]

    def _has_place(self, file: RemoteFile) -> bool:
        try:
            head = self._client.head_object(Bucket=file.bucket, Key=file.key)
        except ClientError as error:
            if error_code(error) in ("NoSuchKey", "404"):
                return False
            raise
        return bool(head["Metadata"].get(PLACE) == _place(file.key))

    def delete(self, bucket: str, keys: Sequence[str]) -> None:
        for start in range(0, len(keys), DELETE_AT_ONCE):
            batch = [{"Key": key} for key in keys[start : start + DELETE_AT_ONCE]]
            answer = self._client.delete_objects(Bucket=bucket, Delete={"Objects": batch, "Quiet": True})
            if errors := answer.get("Errors"):
                raise OSError(f"{len(errors)} of {len(batch)} objects were not deleted, first {errors[0]}")

    def download(self, files: Sequence[Download], stop: threading.Event) -> None:
        for folder in {file.target.parent for file in files}:
            folder.mkdir(parents=True, exist_ok=True)
        with _Transfers(self._client) as transfers:
            failures = transfers.each(files, transfers.fetch, stop)
        _raise_first("download", [(file.source.uri, error) for file, error in failures])

    def upload(self, bucket: str, files: Sequence[FileUpload]) -> dict[FileUpload, os.stat_result]:
        """Uploads all that can be, then raises if some could not. Gives each file's state as it was uploaded."""
        uploaded: dict[FileUpload, os.stat_result] = {}

        def put(file: FileUpload) -> None:
            try:
                uploaded[file] = transfers.put(bucket, file)
            except FileNotFoundError:
                return  # renamed or deleted meanwhile, as happens to checkpoints

        with _Transfers(self._client) as transfers:
            failures = transfers.each(files, put, stop=None)
        _raise_first("upload", [(f"s3://{bucket}/{file.key}", error) for file, error in failures])
        return uploaded

    def copy(self, files: Sequence[Copy], stop: threading.Event) -> None:
        """Inside S3; the bytes never come here."""
        with _Transfers(self._client) as transfers:
            failures = transfers.each(files, transfers.copy, stop)
        _raise_first("copy", [(file.source.uri, error) for file, error in failures])


class _Transfers:
    """A pool for many small files and a transfer manager, which splits large ones, for the others."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="transfer")
        # Its threads start on first use, so small files alone never pay for them.
        self._manager = create_transfer_manager(
            client, TransferConfig(max_concurrency=16, multipart_threshold=SMALL, multipart_chunksize=16 * MIB)
        )

    def __enter__(self) -> "_Transfers":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._manager.shutdown(cancel=kind is not None)
        self._pool.shutdown(wait=True, cancel_futures=True)

    def each(
        self, files: Iterable[Any], act: Callable[[Any], None], stop: threading.Event | None
    ) -> list[tuple[Any, BaseException]]:
        """Runs `act` on all files; the failures, each with its file. SIGTERM (`stop`) ends it early."""
        futures = {self._pool.submit(act, file): file for file in files}
        pending: set[Future[None]] = set(futures)
        while pending:
            # Short waits: a signal handler runs only between them.
            _, pending = wait(pending, timeout=0.2, return_when=FIRST_EXCEPTION)
            if stop and stop.is_set():
                raise Interrupted
        return [(file, error) for future, file in futures.items() if (error := future.exception())]

    def fetch(self, file: Download) -> None:
        source = file.source
        if source.size > SMALL:
            listed = [_AsListed(source)]
            self._manager.download(source.bucket, source.key, str(file.target), subscribers=listed).result()
            return
        with file.target.open("xb") as target:
            for attempt in range(1, STREAM_TRIES + 1):
                try:
                    self._stream(source, target)
                    return
                except HTTPClientError:
                    if attempt == STREAM_TRIES:
                        raise
                target.seek(0)
                target.truncate()

    def _stream(self, source: RemoteFile, target: BinaryIO) -> None:
        answer = self._client.get_object(Bucket=source.bucket, Key=source.key, IfMatch=source.etag)
        for chunk in answer["Body"].iter_chunks(READ_SIZE):
            target.write(chunk)

    def put(self, bucket: str, file: FileUpload) -> os.stat_result:
        with open_regular(file.path) as content:
            state = os.fstat(content.fileno())
            if state.st_size > SMALL:
                self._manager.upload(content, bucket, file.key, _properties(file.key)).result()
            else:
                self._client.put_object(Bucket=bucket, Key=file.key, Body=content.read(), **_properties(file.key))
        return state

    def copy(self, file: Copy) -> None:
        source = {"Bucket": file.source.bucket, "Key": file.source.key}
        unchanged = {"CopySourceIfMatch": file.source.etag}
        if file.source.size > COPIED_WHOLE:
            self._manager.copy(source, file.source.bucket, file.key, unchanged).result()
        else:
            self._client.copy_object(CopySource=source, Bucket=file.source.bucket, Key=file.key, **unchanged)


class _AsListed(BaseSubscriber):
    """Has every part asked for by the ETag that was listed: by itself the manager looks for size and ETag anew."""

    def __init__(self, source: RemoteFile) -> None:
        self._source = source

    def on_queued(self, future: TransferFuture, **_: Any) -> None:
        future.meta.provide_transfer_size(self._source.size)
        future.meta.provide_object_etag(self._source.etag)


def open_regular(path: Path) -> BinaryIO:
    """Opens a file of the script's. Never through a link and never a FIFO: the script may swap one in at any time."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    file = os.fdopen(descriptor, "rb")
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        file.close()
        raise OSError(f"{path} is not a regular file")
    return file


def regular_files(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """All regular files below `folder`, following no link; what vanishes meanwhile is left out."""
    for root, _, names in os.walk(folder, followlinks=False):
        for name in names:
            path = Path(root, name)
            try:
                state = path.lstat()
            except FileNotFoundError:
                continue
            if stat.S_ISREG(state.st_mode):
                yield path, state


def _properties(key: str) -> dict[str, Any]:
    return {"ContentType": content_type(key), "Metadata": {PLACE: _place(key)}}


def _place(key: str) -> str:
    """Metadata holds ASCII only, keys hold anything."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def _raise_first(verb: str, failures: list[tuple[str, BaseException]]) -> None:
    if not failures:
        return
    for _, error in failures:
        if not isinstance(error, (*AWS_FAULTS, CancelledError, RetriesExceededError, S3DownloadFailedError)):
            raise error
    name, error = failures[0]
    raise RunnerError(
        f"{verb}_failed",
        f"{len(failures)} file(s) failed to {verb}, the first {name}: {reason(error)}",
        "Check that the job role may use the bucket and that the disk is not full, then publish the message again",
        retryable=any(is_temporary(error) for _, error in failures),
    ) from error
