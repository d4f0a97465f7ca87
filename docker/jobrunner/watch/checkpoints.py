"""The checkpoint folder, mirrored to S3 while the script runs."""

import logging
import os
import time
from pathlib import Path

from jobrunner.failures import RunnerError, is_temporary, reason
from jobrunner.store import AWS_FAULTS, Download, FileUpload, Store, regular_files

log = logging.getLogger("runner")

State = tuple[int, int]  # size and modification time: what tells a changed file from an unchanged one
YOUNG_NANOSECONDS = 1_000_000_000


class CheckpointMirror:
    """Makes a prefix in S3 equal to the checkpoint folder: new and changed files, and deletions."""

    def __init__(self, folder: Path, store: Store, bucket: str, prefix: str, patience: float) -> None:
        self._folder = folder
        self._patience = patience
        self._store = store
        self._bucket = bucket
        self._prefix = prefix
        self._mirrored: dict[Path, State] = {}
        self._waiting: dict[Path, float] = {}  # since when, by time.monotonic

    @property
    def waits(self) -> bool:
        """Whether a file was left for the next round, which had better be soon."""
        return bool(self._waiting)

    def restored(self, downloads: list[Download]) -> None:
        """Note that these are in S3 already."""
        self._mirrored = {
            download.target: _state(download.target.stat())
            for download in downloads
            if download.target.is_relative_to(self._folder)
        }

    def update(self) -> None:
        """One round while the script runs; what fails is tried again in the next."""
        try:
            self._mirror(patient=True)
        except (*AWS_FAULTS, RunnerError) as error:
            log.warning("checkpoints not mirrored, trying again: %s", reason(error))

    def finish(self) -> None:
        """The last round, once nothing writes any more. Raises if S3 does not hold the same in the end."""
        try:
            self._mirror(patient=False)
        except AWS_FAULTS as error:
            raise RunnerError(
                "checkpoints_failed",
                f"checkpoints were not mirrored: {reason(error)}",
                "Publish the message again",
                retryable=is_temporary(error),
            ) from error

    def _mirror(self, *, patient: bool) -> None:
        present = {path: _state(state) for path, state in regular_files(self._folder)}
        changed = {path: state for path, state in present.items() if self._mirrored.get(path) != state}
        ready = self._settled(changed) if patient else changed
        uploads = [FileUpload(path, self._key(path)) for path in ready if _has_key(path)]
        # Before the deletions: at any moment S3 holds the new checkpoint or the old one.
        for upload, before in self._store.upload(self._bucket, uploads).items():
            if _still(upload.path, before):
                self._mirrored[upload.path] = _state(before)
        gone = [path for path in self._mirrored if path not in present]
        self._store.delete(self._bucket, [self._key(path) for path in gone])
        for path in gone:
            del self._mirrored[path]

    def _settled(self, changed: dict[Path, State]) -> dict[Path, State]:
        """Without the files written a moment ago, for they may be half written; but patience has an end."""
        written, now = time.time_ns(), time.monotonic()
        young = [path for path, state in changed.items() if written - state[1] < YOUNG_NANOSECONDS]
        since = {path: self._waiting.get(path, now) for path in young}
        self._waiting = {path: begun for path, begun in since.items() if now - begun < self._patience}
        return {path: state for path, state in changed.items() if path not in self._waiting}

    def _key(self, path: Path) -> str:
        return self._prefix + path.relative_to(self._folder).as_posix()


def _state(state: os.stat_result) -> State:
    return state.st_size, state.st_mtime_ns


def _still(path: Path, before: os.stat_result) -> bool:
    try:
        return _state(path.lstat()) == _state(before)
    except FileNotFoundError:
        return True  # it was uploaded as it was; the next round deletes it


def _has_key(path: Path) -> bool:
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        log.warning("left out, for its name is not UTF-8: %r", str(path))
        return False
    return True
