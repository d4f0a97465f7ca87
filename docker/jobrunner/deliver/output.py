"""Upload the output folder, and remove the output of earlier attempts."""

import logging
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from jobrunner.failures import reason
from jobrunner.settings import Settings
from jobrunner.store import AWS_FAULTS, FileUpload, RemoteFile, Store
from splatworks.contract.documents.job import OutputFacts
from splatworks.contract.keys import RESERVED

log = logging.getLogger("runner")


@dataclass(frozen=True)
class Delivered:
    keys: frozenset[str]
    bytes: int

    @property
    def facts(self) -> OutputFacts:
        return OutputFacts(files=len(self.keys), bytes=self.bytes)


def upload_output(settings: Settings, store: Store) -> Delivered:
    uploads = list(_uploads(settings.output_dir, settings.output_prefix))
    uploaded = store.upload(settings.output_bucket, uploads)
    return Delivered(frozenset(upload.key for upload in uploaded), sum(state.st_size for state in uploaded.values()))


def earlier_output(settings: Settings, store: Store) -> frozenset[RemoteFile]:
    """What earlier attempts left, to be listed before anything of this one runs: see remove_stale."""
    try:
        return frozenset(store.list(settings.output_bucket, settings.output_prefix))
    except AWS_FAULTS as error:
        _stays(settings, error)
        return frozenset()


def remove_stale(earlier: frozenset[RemoteFile], delivered: Delivered, settings: Settings, store: Store) -> None:
    """Removes what an earlier attempt delivered and this one did not: a retry must end with the same result.

    What scripts wrote there themselves stays, whichever attempt's: it is not as it was in `earlier` (ETag and time:
    the same bytes may be written again), or it is no upload of the runner's.
    """
    bucket, prefix = settings.output_bucket, settings.output_prefix
    keep = delivered.keys | {prefix + name for name in RESERVED}
    try:
        left = [file for file in store.list(bucket, prefix) if file in earlier and file.key not in keep]
        stale = store.uploaded_by_runner(left)
    except AWS_FAULTS as error:
        _stays(settings, error)
    else:
        discard([file.key for file in stale], settings, store)


def _stays(settings: Settings, error: Exception) -> None:
    where = f"s3://{settings.output_bucket}/{settings.output_prefix}"
    log.warning("files of an earlier attempt stay in %s: %s", where, reason(error))


def discard(keys: Sequence[str], settings: Settings, store: Store) -> None:
    """Removes from the output what is no part of the result."""
    try:
        store.delete(settings.output_bucket, keys)
    except AWS_FAULTS as error:
        log.warning("these stay in s3://%s, no part of the result: %s: %s", settings.output_bucket, keys, reason(error))


def _uploads(folder: Path, prefix: str) -> Iterator[FileUpload]:
    for root, folders, names in os.walk(folder, followlinks=False):
        for name in [*names, *(each for each in folders if Path(root, each).is_symlink())]:
            path = Path(root, name)
            relative = path.relative_to(folder).as_posix()
            if problem := _left_out(path, relative, folder):
                log.warning("not uploaded: %r %s", relative, problem)
            else:
                yield FileUpload(path.resolve(), prefix + relative)


def _left_out(path: Path, relative: str, folder: Path) -> str | None:
    if relative in RESERVED:
        return "is a name of the platform's"
    try:
        relative.encode("utf-8")
        target = path.resolve(strict=True)
    except UnicodeEncodeError:
        return "has a name that is not UTF-8"
    except (OSError, RuntimeError):
        return "is a broken link"
    if not target.is_relative_to(folder.resolve()):
        return "is a link that leads out of the output folder"
    return None if stat.S_ISREG(target.stat().st_mode) else "is not a regular file"
