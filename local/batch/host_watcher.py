"""Run the host's watcher: the same script that Terraform's launch template installs."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "modules" / "batch" / "host" / "watch.sh"
# Stands for the host's own command: the host is a few folders here, and its end is the caller's to bring about.
SHUTDOWN = '#!/bin/sh\ntouch "$HOST_DIR/../shutdown"\n'

# Runs the script $1 until it ends or the process $2 is gone: it must not outlive an embedded AWS that was killed.
WHILE_PARENT_LIVES = """
bash "$1" & watcher=$!
while kill -0 "$watcher" 2>/dev/null && kill -0 "$2" 2>/dev/null; do sleep 1; done
kill "$watcher" 2>/dev/null
"""


class HostWatcher:
    """Runs the script in a process until `stop`; calls `on_shutdown` when it shut the host down."""

    def __init__(self, folder: Path, environment: Mapping[str, str], on_shutdown: Callable[[], None]) -> None:
        self._folder, self._on_shutdown = folder, on_shutdown
        programs = folder / "bin"
        programs.mkdir(exist_ok=True)
        (programs / "shutdown").write_text(SHUTDOWN)
        (programs / "shutdown").chmod(0o755)
        with (folder / "watch.log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 (the project's own script)
                ["/usr/bin/env", "bash", "-c", WHILE_PARENT_LIVES, "watch", str(SCRIPT), str(os.getpid())],
                env={**environment, "PATH": f"{programs}{os.pathsep}{os.environ.get('PATH', os.defpath)}"},
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        threading.Thread(target=self._wait, name="host-watcher", daemon=True).start()

    def _wait(self) -> None:
        self._process.wait()
        if (self._folder / "shutdown").exists():
            self._on_shutdown()

    def stop(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, 9)
