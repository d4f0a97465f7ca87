"""progress.json, uploaded while the script writes it."""

import logging
from pathlib import Path

from jobrunner.failures import reason
from jobrunner.store import AWS_FAULTS, Store, open_regular

log = logging.getLogger("runner")

LONGEST_PROGRESS = 64 * 1024  # bytes that are uploaded


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
                body = file.read(LONGEST_PROGRESS)
            if body != self._last:
                self._store.write(self._bucket, self._key, body)
                self._last = body
        except FileNotFoundError:
            return  # scripts need not write one
        except AWS_FAULTS as error:
            log.warning("%s not uploaded, trying again: %s", self._path.name, reason(error))
