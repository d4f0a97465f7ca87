"""The notices of the host: files that its watcher (modules/batch/host/watch.sh) writes when EC2 is about to take it."""

import json
import logging
import time
from datetime import UTC, datetime
from pathlib import Path

from jobrunner.run.stop_signal import StopSignal
from jobrunner.store import open_regular
from splatworks.contract.host import INTERRUPTION, REBALANCE

log = logging.getLogger("runner")

NOTICE_SECONDS = 120.0  # what EC2 gives
# Of the time left, for what comes after the script: its last checkpoint, its output and job.json go to S3. Of two
# minutes that is 20 s, in which the runner of a small host uploads some 2 GB.
UPLOAD_SHARE = 1 / 6
LONGEST_NOTICE = 4096  # bytes that are read


class HostNotices:
    """Asks the script to stop when the host is about to be interrupted; notes when it is likelier than usual to be."""

    def __init__(self, folder: Path, stop: StopSignal) -> None:
        self._folder = folder
        self._stop = stop
        self._interrupted = False
        self.host_may_go = False  # since a notice of either kind: checkpoints had better be in S3 soon

    def look(self) -> None:
        if not self.host_may_go and (self._folder / REBALANCE).exists():
            self.host_may_go = True
            log.info("EC2 says that this host is likely to be interrupted: checkpoints go to S3 at once")
        if not self._interrupted and (self._folder / INTERRUPTION).exists():
            self._interrupted = self.host_may_go = True
            left = seconds_left(self._folder / INTERRUPTION)
            log.info("EC2 takes this host in %.0f s: the script has to stop", left)
            self._stop.ask(left * (1 - UPLOAD_SHARE))


def seconds_left(path: Path) -> float:
    """Return the seconds until the time in the notice; 120 if it is malformed, which still is a notice."""
    try:
        with open_regular(path) as file:
            named = datetime.fromisoformat(json.loads(file.read(LONGEST_NOTICE))["time"])
        left = (named if named.tzinfo else named.replace(tzinfo=UTC)).timestamp() - time.time()
    except (OSError, ValueError, KeyError, TypeError, RecursionError, OverflowError) as error:
        log.warning("the notice %s names no time: %r", path, error)
        return NOTICE_SECONDS
    return min(max(0.0, left), NOTICE_SECONDS)
