"""Dispatcher and runner, of this version and of version 0.1, each in a process of its own."""

import json
import logging
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from moto.server import ThreadedMotoServer

ROOT = Path(__file__).parents[2]
SAVED = ROOT / "tests" / "data" / "version_0_1"
INPUT_BUCKET, OUTPUT_BUCKET = "demo-input", "demo-output"
OLD, NEW = "version 0.1", "this version"
METADATA = {"user": "surveyor", "project": "demo"}
HARBOUR, CASTLE = "photos/survey/harbour/", "photos/survey/castle/"
SCRIPT = "look"  # of the jobs that are no pipeline; it is their stage, too
FAILING, INTERRUPTED = "ends-with-2", "interrupted-once"


def _pipeline(name: str, **data: Any) -> dict[str, Any]:
    named = {"job_name": name, "request_id": name, **data}
    return {"trigger_type": "splat_pipeline", "data": named, "metadata": METADATA}


def _job(name: str, **parameters: Any) -> dict[str, Any]:
    script = {"script_key": f"jobs/mine/{SCRIPT}.py", "compute_type": "cpu", "input": HARBOUR, "parameters": parameters}
    return {"trigger_type": "batch_job", "data": {"job_name": name, "request_id": name, **script}, "metadata": METADATA}


MESSAGES = [
    _job("single", title="Zürich"),
    _job(FAILING, code=2),
    _job(INTERRUPTED, code=75),
    _pipeline("chain", input=HARBOUR, max_cost_usd=5, train={"parameters": {"cap_max": 100000}}, compress={}),
    _pipeline("scenes", inputs="photos/survey/", max_cost_usd=5),
    _pipeline("sweep", input=CASTLE, sweep={"train": {"cap_max": [100000, 200000]}}),
]
# Without ECS nobody knows a price, which max_cost_usd needs.
ENTRY = """
import sys, runner, {machine} as machine
machine.MachineFacts._find_out = lambda self: setattr(self, "price", machine.Price(0.36, "test"))
sys.exit(runner.main())
"""
MACHINE = {OLD: "jobrunner.machine", NEW: "jobrunner.run.machine"}


def unzip(name: str, folder: Path) -> Path:
    """Unpack a zip of saved code. Returns the folder in it that holds the modules."""
    with zipfile.ZipFile(SAVED / f"{name}.zip") as archive:
        archive.extractall(folder)
    return folder / {"runner": "docker", "functions": "modules/lambda/functions", "stages": "jobs"}[name]


def write_input(folder: Path) -> None:
    """The objects of the input bucket: photos, and stages that take no time."""
    stand_in = (SAVED / "stand_in.py").read_bytes()
    for place, scripts in (("stages", ("sfm", "train", "compress")), ("jobs/mine", (SCRIPT,))):
        splatkit = unzip("stages", folder / "unpacked") / "splatkit"
        (folder / place).mkdir(parents=True)
        splatkit.rename(folder / place / "splatkit")
        for script in scripts:
            (folder / place / f"{script}.py").write_bytes(stand_in)
    shutil.rmtree(folder / "unpacked")
    for scene in ("harbour", "castle"):
        (folder / "photos" / "survey" / scene).mkdir(parents=True)
        (folder / "photos" / "survey" / scene / f"{scene}.jpg").write_text(scene)


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PYTHONPATH"))}
    keys = dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "testing")
    return {**kept, **keys, "AWS_DEFAULT_REGION": "us-east-1", **more}


@dataclass(frozen=True)
class Dispatched:
    """The objects of the output bucket after a dispatcher has accepted MESSAGES, and what it submitted to Batch."""

    folder: Path
    submissions: list[dict[str, Any]]

    def submission(self, run: str, stage: str) -> dict[str, Any]:
        """The one of the stage of a run, by the name that its message gave it."""
        return next(
            each
            for each in self.submissions
            if variables(each)["RUN_ID"].startswith(f"{run}-") and variables(each)["STAGE"] == stage
        )

    def objects(self) -> dict[str, bytes]:
        files = [path for path in sorted(self.folder.rglob("*")) if path.is_file() and path.parent != self.folder]
        return {path.relative_to(self.folder).as_posix(): path.read_bytes() for path in files}


def variables(submission: Mapping[str, Any]) -> dict[str, str]:
    return {pair["name"]: pair["value"] for pair in submission["containerOverrides"]["environment"]}


def dispatch(functions: Path, given: Path, folder: Path) -> Dispatched:
    """Dispatch MESSAGES by the functions in a folder; `given` holds the objects of the input bucket."""
    output = folder / "output"
    output.mkdir(parents=True)
    messages = folder / "messages.json"
    messages.write_text(json.dumps(MESSAGES))
    path = os.pathsep.join([str(functions), str(ROOT / "tests" / "unit" / "lambda")])
    command = [sys.executable, str(Path(__file__).with_name("dispatching.py")), str(given), str(messages), str(output)]
    done = subprocess.run(command, env=environment(PYTHONPATH=path), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr + done.stdout
    return Dispatched(output, json.loads((output / "submissions.json").read_text()))


@dataclass(frozen=True)
class Ended:
    exit_code: int
    log: str
    prefix: str  # of its output, with the array index
    report: dict[str, Any]  # job.json


class Buckets:
    """Input and output bucket on a server, and jobs that run on them."""

    def __init__(self, endpoint: str, given: Path, dispatched: Dispatched, folder: Path) -> None:
        self._endpoint = endpoint
        self._folder = folder
        self.dispatched = dispatched
        keys = {"aws_access_key_id": "x", "aws_secret_access_key": "x", "region_name": "us-east-1"}
        self.s3 = boto3.client("s3", endpoint_url=endpoint, **keys)
        for bucket in (INPUT_BUCKET, OUTPUT_BUCKET):
            self.s3.create_bucket(Bucket=bucket)
        for path in (path for path in sorted(given.rglob("*")) if path.is_file()):
            key = path.relative_to(given).as_posix()
            self.s3.put_object(Bucket=INPUT_BUCKET, Key=key, Body=path.read_bytes())
        for key, body in dispatched.objects().items():
            self.put(key, body)

    def put(self, key: str, body: bytes) -> None:
        self.s3.put_object(Bucket=OUTPUT_BUCKET, Key=key, Body=body)

    def read(self, key: str) -> bytes:
        return self.s3.get_object(Bucket=OUTPUT_BUCKET, Key=key)["Body"].read()

    def object_keys(self) -> list[str]:
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=OUTPUT_BUCKET)
        return [found["Key"] for page in pages for found in page.get("Contents", [])]

    def run(
        self, version: str, runner: Path, run: str, stage: str = SCRIPT, index: int | None = None, attempt: int = 1
    ) -> Ended:
        """Run one attempt of a job that was dispatched, by the runner (of a version) in a folder."""
        submission = self.dispatched.submission(run, stage)
        own = variables(submission)
        child = {} if index is None else {"AWS_BATCH_JOB_ARRAY_INDEX": str(index)}
        command = [sys.executable, "-c", ENTRY.format(machine=MACHINE[version])]
        env = environment(
            **own, **child,
            PYTHONPATH=str(runner),
            AWS_ENDPOINT_URL=self._endpoint,
            AWS_BATCH_JOB_ID=submission["jobName"],
            AWS_BATCH_JOB_ATTEMPT=str(attempt),
            ML_INPUT_BUCKET=INPUT_BUCKET,
            ML_OUTPUT_BUCKET=OUTPUT_BUCKET,
            WORKSPACE_DIR=str(self._folder / "workspace"),
            MODELS_DIR=str(self._folder / "models"),
        )  # fmt: skip
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
        prefix = own["OUTPUT_PREFIX"] + ("" if index is None else f"{index}/")
        report = json.loads(self.read(f"{prefix}job.json"))
        return Ended(done.returncode, done.stdout + done.stderr, prefix, report)


@contextmanager
def server() -> Iterator[str]:
    """The address of a moto server."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    started = ThreadedMotoServer(port=0, verbose=False)
    started.start()
    host, port = started.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        started.stop()
