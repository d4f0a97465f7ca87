"""Run one deployed function in a warm process, with its unpacked zip, environment and log stream."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import queue
import subprocess
import sys
import threading
import time
import uuid
import zipfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, cast

from local.delivery.log_streams import LogStream, LogStreams
from local.lambdas.worker import END_OF_LOG

# Part of the Python runtimes of Lambda; everything else must be in the zip.
RUNTIME_MODULES = ("boto3", "botocore", "s3transfer", "jmespath", "urllib3", "dateutil", "six")
INIT_SECONDS = 60.0  # Lambda allows 10; a laptop that also runs jobs is slower


class FunctionTimeout(Exception):  # noqa: N818
    pass


class FunctionExit(Exception):  # noqa: N818
    pass


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """Settings that a process cannot change while it runs; any change needs a new process."""

    name: str
    arn: str
    code_sha256: str
    handler: str
    runtime: str
    memory: int
    timeout: int
    log_group: str
    variables: tuple[tuple[str, str], ...]


class FunctionProcess:
    def __init__(self, configuration: Configuration, code: Path, folder: Path, logs: LogStreams, aws: dict[str, str]):
        self.configuration = configuration
        self.log = open_log(configuration, logs)
        self._read_fd, reply_fd = os.pipe()
        worker = Path(__file__).with_name("worker.py")
        command = [sys.executable, "-I", "-S", str(worker), str(code), str(runtime_modules(folder)), str(reply_fd)]
        self._process = subprocess.Popen(  # noqa: S603
            command,
            env=function_environment(configuration, self.log, code, aws),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(reply_fd,),
            start_new_session=True,
        )
        os.close(reply_fd)
        self._replies: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._logged = threading.Semaphore(0)
        self.lines: list[str] = []
        for target in (self._read_replies, self._read_log):
            threading.Thread(target=target, daemon=True).start()
        self._started: dict[str, Any] | None = None

    def start(self) -> dict[str, Any]:
        """Return the result of importing the handler: {"ready": True} or {"error": ...}."""
        if self._started is None:
            self.log.write(f"INIT_START Runtime Version: {self.configuration.runtime}")
            self._started = self._answer(INIT_SECONDS)
        return self._started

    def call(self, event: Any, request_id: str) -> dict[str, Any]:
        """Return {"result": JSON text} or {"error": {...}}; raise FunctionTimeout or FunctionExit."""
        deadline = int(time.time() * 1000) + self.configuration.timeout * 1000
        trace = f"Root=1-{int(time.time()):08x}-{uuid.uuid4().hex[:24]};Sampled=0"
        request = {"request_id": request_id, "event": event, "deadline_ms": deadline, "trace_id": trace}
        line = json.dumps({**request, "arn": self.configuration.arn}) + "\n"
        events = cast(IO[bytes], self._process.stdin)
        try:
            events.write(line.encode())
            events.flush()
        except BrokenPipeError as error:
            self.close()
            raise FunctionExit from error
        return self._answer(self.configuration.timeout)

    def _answer(self, seconds: float) -> dict[str, Any]:
        try:
            answer = self._replies.get(timeout=seconds)
        except queue.Empty as error:
            self.close()
            raise FunctionTimeout from error
        if answer is None:
            self.close()  # it may take a moment to be gone, and must not be given another event
            raise FunctionExit
        self._logged.acquire(timeout=2)
        return answer

    def _read_replies(self) -> None:
        with os.fdopen(self._read_fd) as replies:
            for line in replies:
                self._replies.put(json.loads(line))
        self._replies.put(None)

    def _read_log(self) -> None:
        for raw in cast(IO[bytes], self._process.stdout):
            line = raw.decode(errors="replace").rstrip("\n")
            text = line.removesuffix(END_OF_LOG)
            self.log.write(text)
            self.lines.append(text)
            if text != line:
                self._logged.release()

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self.log.flush()


def open_log(configuration: Configuration, logs: LogStreams) -> LogStream:
    logs.ensure_group(configuration.log_group)
    return logs.open(configuration.log_group, f"{datetime.now(UTC):%Y/%m/%d}/[$LATEST]{uuid.uuid4().hex}")


def unpack(code: bytes, folder: Path) -> Path:
    """Unpack the zip into a separate folder, once per version."""
    if not folder.exists():
        part = folder.with_name(f"{folder.name}.{uuid.uuid4().hex}")
        zipfile.ZipFile(io.BytesIO(code)).extractall(part)
        try:
            part.rename(folder)
        except OSError:
            if not folder.exists():
                raise
    return folder


def runtime_modules(folder: Path) -> Path:
    """Return a folder with boto3 and its dependencies, and no other package installed here."""
    modules = folder / "runtime"
    modules.mkdir(parents=True, exist_ok=True)
    for name in RUNTIME_MODULES:
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            raise RuntimeError(f"{name} is not installed beside the embedded AWS: run `make local` to set it up")
        source = Path(spec.origin).parent if spec.submodule_search_locations else Path(spec.origin)
        link = modules / source.name
        if not link.exists():
            link.unlink(missing_ok=True)
            link.symlink_to(source)
    return modules


def function_environment(
    configuration: Configuration, log: LogStream, code: Path, aws: dict[str, str]
) -> dict[str, str]:
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "LANG": "en_US.UTF-8",
        "TZ": ":UTC",
        **dict(configuration.variables),
        **aws,
        "_HANDLER": configuration.handler,
        "AWS_EXECUTION_ENV": f"AWS_Lambda_{configuration.runtime}",
        "AWS_LAMBDA_FUNCTION_NAME": configuration.name,
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(configuration.memory),
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": log.group,
        "AWS_LAMBDA_LOG_STREAM_NAME": log.stream,
        "LAMBDA_TASK_ROOT": str(code),
    }
