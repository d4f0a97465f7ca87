"""Run the runner in a subprocess as a container would: its output, memory limit, stop and exit code."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, cast

from splatworks.sandbox import container
from splatworks.sandbox.memory import process_tree_mib

PASSED_ON = ("PATH", "LANG", "TZ", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES")
# So that a script's requirements are installed from the same package index as on this machine.
PASSED_ON_PREFIXES = ("PIP_", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "SSL_CERT", "REQUESTS_CA")

# An ordinary user cannot write a memory cgroup, so memory is polled at this interval instead.
MEMORY_SECONDS = 0.5
OUT_OF_MEMORY = "OutOfMemoryError: Container killed due to memory usage"


class JobProcess:
    """Runs `python runner.py` with separate folders and a clean environment, as one process to signal.

    `host` is the folder by which the job and its host talk (splatworks/contract/host.py), if it has such a host.
    """

    def __init__(
        self,
        runner: Path,
        arguments: list[str],
        environment: dict[str, str],
        folder: Path,
        models: Path,
        *,
        memory_mib: float,
        host: Path | None = None,
    ) -> None:
        self.folder = folder
        self.killed_because = ""  # in the words of ECS
        workspace = folder / "workspace"
        home = models.parent / "home"  # shared: an image brings its caches along, too
        for path in (workspace, models, home):
            path.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, str(runner), *arguments]
        variables = {
            **inherited_environment(),
            "HOME": str(home),
            **container.folder_environment(workspace, models, host),
            **environment,
        }
        self._killed = threading.Event()
        if container.available_isolation().mounts:
            self._start_in_container(command, variables, workspace, models, host)
        else:
            self._process = self._popen(command, variables, cwd=workspace)
            self._pid = self._process.pid
        self._watch_memory(memory_mib)

    def _start_in_container(
        self, command: list[str], variables: dict[str, str], workspace: Path, models: Path, host: Path | None
    ) -> None:
        info, reported = os.pipe()
        wrapped = container.in_container(command, workspace, models, reported, host)
        self._process = self._popen(wrapped, variables, pass_fds=(reported,))
        os.close(reported)
        with os.fdopen(info) as pipe:
            text = pipe.read()
        if not text:
            output = self._process.communicate()[0].decode(errors="replace")
            raise RuntimeError(f"bwrap could not start the job: {output.strip()}")
        self._pid = container.container_pid(text)

    @staticmethod
    def _popen(
        command: list[str], variables: dict[str, str], cwd: Path | None = None, pass_fds: tuple[int, ...] = ()
    ) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603
            command,
            env=variables,
            cwd=cwd,
            pass_fds=pass_fds,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C ends the jobs through stop(), not behind its back
        )

    def wait(self, write_line: Callable[[str], None]) -> int:
        """Wait for the end, pass on each line of output, and return the exit code like ECS: 128 + n for signal n."""
        for line in cast(IO[bytes], self._process.stdout):
            write_line(line.decode(errors="replace").rstrip("\r\n"))
        code = self._process.wait()
        if self._killed.is_set():
            return 128 + signal.SIGKILL
        return 128 - code if code < 0 else code

    def _watch_memory(self, limit_mib: float) -> None:
        def watch() -> None:
            while self._process.poll() is None:
                if process_tree_mib(self._process.pid) > limit_mib:
                    self.killed_because = OUT_OF_MEMORY
                    self.kill()
                time.sleep(MEMORY_SECONDS)
            self._end_leftovers()

        threading.Thread(target=watch, name="job-memory", daemon=True).start()

    def stop(self, timeout: float) -> None:
        """Send SIGTERM, and SIGKILL if the process is still running after `timeout` seconds."""
        self._signal(self._pid, signal.SIGTERM)
        timer = threading.Timer(timeout, self.kill)
        timer.daemon = True
        timer.start()

    def kill(self) -> None:
        if self._process.poll() is None:
            self._killed.set()
            self._signal(self._pid, signal.SIGKILL)
            self._signal(-self._process.pid, signal.SIGKILL)

    def _end_leftovers(self) -> None:
        """Kill processes that the runner left behind: their open output would keep the job alive."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def remove_workspace(self) -> None:
        """Delete the job's folder, as a container's disk is deleted."""
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def pid(self) -> int:
        return self._pid

    def _signal(self, pid: int, number: int) -> None:
        if self._process.poll() is not None:
            return
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return  # it ended by itself in this very moment


def inherited_environment() -> dict[str, str]:
    """Return this machine's paths, locale, proxies and GPUs for a job, without credentials."""
    kept = {
        name: value for name, value in os.environ.items() if name in PASSED_ON or name.startswith(PASSED_ON_PREFIXES)
    }
    python = str(Path(sys.executable).parent)
    return {**kept, "PATH": f"{python}{os.pathsep}{kept.get('PATH', os.defpath)}"}
