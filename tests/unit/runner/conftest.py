"""A real S3 (moto's server) and the real runner in a process of its own."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto.server import ThreadedMotoServer

from splatworks.contract.keys import JOB, REQUEST, SUCCESS

ROOT = Path(__file__).parents[3]
# The entry file itself, and a way in with shorter waits for the tests that would take minutes.
ENTRY = [str(ROOT / "docker" / "runner.py")]
QUICK = "import sys, runner; from jobrunner.settings import Timings\n{}\nsys.exit(runner.main(Timings({})))"


@dataclass
class Ended:
    exit_code: int
    stdout: str
    stderr: str


@dataclass
class Job:
    """One job of one run: what the dispatcher would have written, and ways to run attempts of it."""

    endpoint: str
    folder: Path
    name: str = field(default_factory=lambda: f"job-{uuid.uuid4().hex[:8]}")
    environment: dict[str, str] = field(default_factory=dict)
    request: dict[str, Any] = field(default_factory=dict)
    prelude: str = ""  # statements before the runner starts, for faults that no real S3 gives on demand

    def __post_init__(self) -> None:
        self.s3 = boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id="x",
            aws_secret_access_key="x",
            region_name="us-east-1",
        )
        self.input_bucket, self.output_bucket = f"{self.name}-in", f"{self.name}-out"
        for bucket in (self.input_bucket, self.output_bucket):
            self.s3.create_bucket(Bucket=bucket)
        self.of(self.name)
        self.workspace = self.folder / "workspace"
        self.models = self.folder / "models"

    def of(self, run: str, stage: str = "script") -> None:
        """From here on, this is the job of that run and stage."""
        self.run_id, self.stage = run, stage
        self.prefix = f"runs/demo/{run}/{stage}/"
        self.checkpoints = f"checkpoints/demo/{run}/{stage}/"

    def script(self, text: str, key: str = "jobs/script.py") -> None:
        self.put(key, text)
        self.request["script_key"] = key

    def put(self, key: str, body: str | bytes) -> None:
        self.s3.put_object(Bucket=self.input_bucket, Key=key, Body=body)

    def uri(self, key: str) -> str:
        return f"s3://{self.input_bucket}/{key}"

    def write_request(self) -> None:
        job = {"checkpoint_prefix": self.checkpoints, "output_prefix": self.prefix, **self.request}
        document = json.dumps({"version": 1, "message": {}, "job": job})
        self.s3.put_object(Bucket=self.output_bucket, Key=f"{self.prefix}request.json", Body=document)

    def start(self, attempt: int = 1, timings: str = "", **extra: str) -> subprocess.Popen[str]:
        self.write_request()
        special = bool(timings or self.prelude)
        command = [sys.executable, *(["-c", QUICK.format(self.prelude, timings)] if special else ENTRY)]
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        environment = {
            **kept,
            "PYTHONPATH": str(ROOT / "docker") if special else "",
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "secret-id",
            "AWS_SECRET_ACCESS_KEY": "secret-key",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_BATCH_JOB_ID": "the-job-id",
            "AWS_BATCH_JOB_ATTEMPT": str(attempt),
            "ML_INPUT_BUCKET": self.input_bucket,
            "ML_OUTPUT_BUCKET": self.output_bucket,
            "REQUEST_KEY": f"{self.prefix}request.json",
            "OUTPUT_PREFIX": self.prefix,
            "RUN_ID": self.run_id,
            "STAGE": self.stage,
            "WORKSPACE_DIR": str(self.workspace),
            "MODELS_DIR": str(self.models),
            **self.environment,
            **extra,
        }
        pipe = subprocess.PIPE
        return subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True)

    def finish(self, process: subprocess.Popen[str]) -> Ended:
        stdout, stderr = process.communicate(timeout=60)
        return Ended(process.returncode, stdout, stderr)

    def run(self, attempt: int = 1, timings: str = "", **extra: str) -> Ended:
        return self.finish(self.start(attempt, timings, **extra))

    def stop_when(self, process: subprocess.Popen[str], ready: Callable[[], object]) -> Ended:
        self.wait_until(ready)
        process.send_signal(signal.SIGTERM)
        return self.finish(process)

    def lose_host(self, process: subprocess.Popen[str]) -> None:
        """Runner and script are gone at once, and nothing is told."""
        scripts = [
            int(pid) for of in Path(f"/proc/{process.pid}/task").glob("*/children") for pid in of.read_text().split()
        ]
        process.kill()
        for pid in scripts:
            with suppress(ProcessLookupError):  # one that has no group or has just ended
                os.killpg(pid, signal.SIGKILL)
        self.finish(process)

    def wait_until(self, ready: Callable[[], object]) -> None:
        deadline = time.monotonic() + 60
        while not ready():
            assert time.monotonic() < deadline, "waited a minute in vain"
            time.sleep(0.05)

    def objects(self, prefix: str | None = None) -> dict[str, Any]:
        """Objects in the output bucket by their key below the prefix."""
        prefix = self.prefix if prefix is None else prefix
        found = self.s3.list_objects_v2(Bucket=self.output_bucket, Prefix=prefix).get("Contents", [])
        return {each["Key"].removeprefix(prefix): each for each in found}

    def outputs(self) -> set[str]:
        return set(self.objects()) - {REQUEST, JOB, SUCCESS}

    def read(self, name: str, prefix: str | None = None) -> str | None:
        key = (self.prefix if prefix is None else prefix) + name
        try:
            return self.s3.get_object(Bucket=self.output_bucket, Key=key)["Body"].read().decode()
        except ClientError:
            return None

    @property
    def report(self) -> dict[str, Any]:
        return json.loads(self.read("job.json") or "null")


@pytest.fixture(scope="session")
def aws_endpoint() -> Iterator[str]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def job(aws_endpoint: str, tmp_path: Path) -> Job:
    return Job(aws_endpoint, tmp_path)
