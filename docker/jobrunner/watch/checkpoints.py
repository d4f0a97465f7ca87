"""What happens beside the script while it runs: checkpoints and progress go to S3."""

import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from .failures import RunnerError, reason
from .settings import Settings
from .store import AWS_FAULTS, Download, Store, Upload, open_regular, regular_files

log = logging.getLogger("runner")

State = tuple[int, int]  # size and modification time: what tells a changed file from an unchanged one
YOUNG_NANOSECONDS = 1_000_000_000


class Repeater:
    """Calls `act` again and again in a thread of its own, until it is stopped."""

    def __init__(self, act: Callable[[], None], interval: Callable[[], float]) -> None:
        self._act = act
        self._interval = interval
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Repeater":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        last = time.monotonic()
        while not self._stopped.wait(min(0.5, self._interval())):
            now = time.monotonic()
            if now - last >= self._interval():
                last = now  # from begin to begin: a long upload does not make the next round later
                self._act()


class CheckpointMirror:
    """Makes a prefix in S3 hold what the checkpoint folder holds: new and changed files, and deletions."""

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
        """These lie in S3 already."""
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
                "checkpoints_failed", f"checkpoints were not mirrored: {reason(error)}", "Publish the message again"
            ) from error

    def _mirror(self, *, patient: bool) -> None:
        present = {path: _state(state) for path, state in regular_files(self._folder)}
        changed = {path: state for path, state in present.items() if self._mirrored.get(path) != state}
        ready = self._settled(changed) if patient else changed
        uploads = [Upload(path, self._key(path)) for path in ready if _has_key(path)]
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


class ProgressUpload:
    """Uploads progress.json when it has changed."""

    def __init__(self, path: Path, store: Store, bucket: str, key: str) -> None:
        self._path = path
        self._store = store
        self._bucket = bucket
        self._key = key
        self._last: bytes | None = None

    def update(self) -> None:
        try:
            with open_regular(self._path) as file:
                body = file.read(64 * 1024)
            if body != self._last:
                self._store.write(self._bucket, self._key, body)
                self._last = body
        except FileNotFoundError:
            return  # scripts need not write one
        except AWS_FAULTS as error:
            log.warning("progress.json not uploaded, trying again: %s", reason(error))


class SignOfLife:
    """Tells the next attempt what is lost if this one's host goes without notice: its report so far, in S3."""

    NAME = "_RUNNING"
    FIRST_SECONDS = 1
    SHARE = 0.25  # of its age an attempt may lose unseen while it is young

    def __init__(self, store: Store, settings: Settings, report: Callable[[], bytes]) -> None:
        self._store = store
        self._bucket = settings.output_bucket
        self._key = settings.output_prefix + self.NAME
        self._left = settings.attempt > 1  # perhaps, by the attempt before
        self._report = report
        self._begun = time.monotonic()

    def repeated(self, longest: float) -> Repeater:
        return Repeater(self._write, lambda: min(longest, max(self.FIRST_SECONDS, self.SHARE * self._age())))

    def remove(self) -> None:
        try:
            if self._left:
                self._store.delete(self._bucket, [self._key])
        except AWS_FAULTS as error:
            log.warning("%s stays in s3://%s: %s", self._key, self._bucket, reason(error))

    def _age(self) -> float:
        return time.monotonic() - self._begun

    def _write(self) -> None:
        try:
            self._left = True
            self._store.write(self._bucket, self._key, self._report())
        except AWS_FAULTS as error:
            log.warning("no sign of life in S3, trying again: %s", reason(error))


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
