"""_RUNNING, which is in S3 while an attempt runs."""

import logging
import time
from collections.abc import Callable

from jobrunner.failures import reason
from jobrunner.settings import Settings
from jobrunner.store import AWS_FAULTS, Store
from jobrunner.watch.repeater import Repeater
from splatworks.contract.keys import RUNNING

log = logging.getLogger("runner")


class SignOfLife:
    """The report so far, in S3: the next attempt learns from it what is lost if this one's host goes without notice."""

    FIRST_SECONDS = 1
    SHARE = 0.25  # of its age an attempt may lose unseen while it is young

    def __init__(self, store: Store, settings: Settings, report: Callable[[], bytes]) -> None:
        self._store = store
        self._bucket = settings.output_bucket
        self._key = settings.output_prefix + RUNNING
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
