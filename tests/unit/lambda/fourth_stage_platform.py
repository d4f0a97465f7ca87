"""A platform whose table has a fourth stage: two files are added, and everything else is as it is shipped.

The functions run from their zip, the runner from its folder, the command line from a copy of the package, each in a
process of its own, against one moto server.
"""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from lambda_platform import REGION, Platform, _make_platform, _share_service_models, saved_event
from moto.core.config import default_user_config
from moto.server import ThreadedMotoServer

ROOT = Path(__file__).parents[3]
FILES = Path(__file__).parent / "fourth_stage"
NAME = "count"
STAND_IN = """
import json, os, pathlib
output = pathlib.Path(os.environ["OUTPUT_DIR"])
(output / "scene.sog").write_text(os.environ["STAGE"])
result = {"stage": os.environ["STAGE"], "status": "done", "metrics": {}, "error": None}
(output / "result.json").write_text(json.dumps(result))
"""
INVOKE = """
import importlib, json, sys

class Context:
    function_name, memory_limit_in_mb, aws_request_id = "demo", 512, "c6af9ac6-7b61-11e6-9a41-93e8deadbeef"
    invoked_function_arn = "arn:aws:lambda:us-east-1:123456789012:function:demo"

    def get_remaining_time_in_millis(self):
        return 60_000

answer = importlib.import_module(sys.argv[1]).handler(json.load(sys.stdin), Context())
print(json.dumps(answer))
"""


@dataclass
class FourStages:
    folder: Path
    endpoint: str
    platform: Platform

    def dispatch(self, message: dict[str, Any], message_id: str) -> dict[str, Any]:
        event = saved_event("sns_message")
        event["Records"][0]["Sns"] |= {"Message": json.dumps(message), "MessageId": message_id}
        answer: dict[str, Any] = self._invoke("dispatcher", event)["answers"][0]
        return answer

    def monitor(self, event: dict[str, Any]) -> dict[str, Any]:
        return self._invoke("monitor", event)

    def run_stage(self, stage: dict[str, Any], job_id: str) -> dict[str, Any]:
        """One attempt of a stage's job by the real runner; returns its job.json."""
        overrides = stage["submission"]["containerOverrides"]["environment"]
        place = self.folder / f"workspace-{stage['stage']}"
        environment = {
            **{pair["name"]: pair["value"] for pair in overrides},
            "AWS_BATCH_JOB_ID": job_id,
            "AWS_BATCH_JOB_ATTEMPT": "1",
            "ML_INPUT_BUCKET": "demo-input",
            "ML_OUTPUT_BUCKET": "demo-output",
            "ML_MODELS_BUCKET": "demo-models",
            "COMPUTE_TYPE": stage["compute_type"],
            "WORKSPACE_DIR": str(place),
            "MODELS_DIR": str(place / "models"),
        }
        ended = self._run([str(ROOT / "docker" / "runner.py")], None, **environment)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        report: dict[str, Any] = self.stored(f"{stage['output_prefix']}job.json")
        return report

    def splatworks(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self._run(["-m", "splatworks", *arguments], self.folder / "package", PROJECT_NAME="demo", COLUMNS="200")

    def stored(self, key: str) -> Any:
        return self.platform.stored(key)

    def _invoke(self, function: str, event: dict[str, Any]) -> dict[str, Any]:
        ended = self._run(["-c", INVOKE, function], self.folder / "zip", given=json.dumps(event))
        assert ended.returncode == 0, ended.stdout + ended.stderr
        answer: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])  # logs come before it
        return answer

    def _run(
        self, command: list[str], path: Path | None, given: str = "", **more: str
    ) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        environment = kept | ({"PYTHONPATH": str(path)} if path else {}) | more
        return subprocess.run(
            [sys.executable, *command],
            cwd=self.folder,
            env=environment,
            input=given,
            capture_output=True,
            text=True,
            timeout=120,
        )


@contextmanager
def started(folder: Path) -> Iterator[FourStages]:
    package = folder / "package" / "splatworks"
    shutil.copytree(ROOT / "splatworks", package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(FILES / "entry" / f"{NAME}.py", package / "contract" / "stages")
    with pytest.MonkeyPatch.context() as monkeypatch:
        unpack_zip(package, folder, monkeypatch)
        server = ThreadedMotoServer(port=0, verbose=False)
        server.start()
        try:
            endpoint = "http://{}:{}".format(*server.get_host_and_port())
            yield FourStages(folder, endpoint, make_platform(endpoint, package, monkeypatch))
        finally:
            server.stop()


def unpack_zip(package: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The functions' zip, built from the copy; its packages are those of the tests."""
    spec = importlib.util.spec_from_file_location("lambda_build", ROOT / "modules" / "lambda" / "build.py")
    assert spec and spec.loader
    build = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(build)
    monkeypatch.setattr(build, "PACKAGE", package)
    monkeypatch.setattr(build, "_install", lambda folder: None)
    build.build(folder / "lambda.zip")
    with zipfile.ZipFile(folder / "lambda.zip") as archive:
        archive.extractall(folder / "zip")


def make_platform(endpoint: str, package: Path, monkeypatch: pytest.MonkeyPatch) -> Platform:
    for name in ("AWS_CA_BUNDLE", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    for service in ("batch", "lambda"):  # the server runs in this process; the next one must not inherit it
        monkeypatch.setitem(default_user_config, service, {"use_docker": False})
    urllib.request.urlopen(f"{endpoint}/moto-api/reset", b"").close()
    _share_service_models()
    platform = _make_platform(monkeypatch)
    upload_stages(package, platform)
    deploy_dispatcher()
    return platform


def upload_stages(package: Path, platform: Platform) -> None:
    """The scripts as Terraform uploads them, with stand-ins for those that take long."""
    for path in [package / "__init__.py", *(package / "contract").rglob("*.py")]:
        platform.put("demo-input", f"stages/splatworks/{path.relative_to(package)}", path.read_bytes())
    for path in (ROOT / "jobs" / "splatkit").glob("*.py"):
        platform.put("demo-input", f"stages/splatkit/{path.name}", path.read_bytes())
    for name in ("sfm", "train", "compress"):
        platform.put("demo-input", f"stages/{name}.py", STAND_IN.encode())
    platform.put("demo-input", f"stages/{NAME}.py", (FILES / "script" / f"{NAME}.py").read_bytes())


def deploy_dispatcher() -> None:
    """The function whose environment tells the command line where everything is."""
    role = boto3.client("iam", REGION).create_role(RoleName="dispatcher", AssumeRolePolicyDocument="{}")["Role"]
    names = [
        name for name in os.environ if name.endswith(("_BUCKET", "_BUCKETS", "_ARN", "_URL", "_RULES", "_SECONDS"))
    ]
    given = [*names, "PROJECT_NAME", "COMPUTE", "JOB_ATTEMPTS", "IDEMPOTENCY_TABLE"]
    boto3.client("lambda", REGION).create_function(
        FunctionName="demo-ml-trigger-dispatcher",
        Runtime="python3.12",
        Role=role["Arn"],
        Handler="dispatcher.handler",
        Code={"ZipFile": b"x"},
        Environment={"Variables": {name: os.environ[name] for name in given if name != "AWS_ENDPOINT_URL"}},
    )
