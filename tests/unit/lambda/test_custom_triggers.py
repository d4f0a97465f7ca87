"""Triggers that users wrote for version 0.1 import, register and execute in the zip that is deployed.

The two in tests/data/custom_triggers/ are as users have them: they change only when users are told to change theirs.
"""

import json
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from lambda_platform import Platform

import dispatcher

ROOT = Path(__file__).parents[3]
TRIGGERS = ROOT / "tests" / "data" / "custom_triggers"
INSTALLED = {
    "photo_check": ("photo_check_0_1.py", "PhotoCheckTrigger"),
    "my_trigger": ("my_trigger.py", "MyTrigger"),
}
# A checkout without what no build reads.
IGNORED = shutil.ignore_patterns(
    ".*", "__pycache__", "build", "bench", "demo-output", "splatworks-local", "tests", "viewer"
)
RUNTIME = ("boto3", "botocore", "s3transfer", "dateutil", "urllib3", "six.py")  # Lambda brings these along
SETTINGS = {
    "PROJECT_NAME": "demo",
    "POWERTOOLS_METRICS_NAMESPACE": "demo",
    "POWERTOOLS_SERVICE_NAME": "dispatcher",
    "AWS_DEFAULT_REGION": "us-east-1",
}


@dataclass
class Deployed:
    """The unpacked zip, in which programs run as Lambda would run them: with boto3 and nothing else beside it."""

    task: Path
    runtime: Path

    def run(self, program: str) -> Any:
        """Return what the program prints last, as JSON."""
        paths = [str(self.task), str(self.runtime)]
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", f"import sys; sys.path[:0] = {paths}\n{program}"],
            capture_output=True,
            text=True,
            env=SETTINGS,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Deployed:
    """A user's checkout with both triggers in it, built by its own build.py."""
    folder = tmp_path_factory.mktemp("custom-triggers")
    checkout = folder / "checkout"
    shutil.copytree(ROOT, checkout, ignore=IGNORED)
    functions = checkout / "modules" / "lambda" / "functions"
    for module, (source, _) in INSTALLED.items():
        shutil.copy(TRIGGERS / source, functions / "triggers" / f"{module}.py")
    register(functions / "dispatcher.py")
    build = [sys.executable, checkout / "modules" / "lambda" / "build.py", "--output", folder / "lambda.zip"]
    subprocess.run(build, check=True, cwd=folder, timeout=300)
    with zipfile.ZipFile(folder / "lambda.zip") as archive:
        archive.extractall(folder / "task")
    (folder / "runtime").mkdir()
    site_packages = Path(boto3.__file__).parents[1]
    for name in RUNTIME:
        (folder / "runtime" / name).symlink_to(site_packages / name)
    return Deployed(folder / "task", folder / "runtime")


def register(dispatcher: Path) -> None:
    """Edit the file as the README says: import the class, add it to TRIGGER_REGISTRY."""
    text = dispatcher.read_text()
    imports = "".join(f"from triggers.{module} import {name}\n" for module, (_, name) in INSTALLED.items())
    entries = "".join(f'    "{module}": {name},\n' for module, (_, name) in INSTALLED.items())
    text, found = re.subn(r"^(TRIGGER_REGISTRY\b.*\{\n)", rf"{imports}\n\g<1>{entries}", text, flags=re.MULTILINE)
    assert found == 1, f"{dispatcher} defines TRIGGER_REGISTRY {found} times as a literal dict"
    dispatcher.write_text(text)


def test_the_registry_of_the_deployed_dispatcher_has_the_users_triggers(deployed: Deployed) -> None:
    registry = deployed.run(
        "import dispatcher, json\n"
        "print(json.dumps({name: f'{c.__module__}.{c.__name__}' for name, c in dispatcher.TRIGGER_REGISTRY.items()}))"
    )
    assert registry["photo_check"] == "triggers.photo_check.PhotoCheckTrigger"
    assert registry["my_trigger"] == "triggers.my_trigger.MyTrigger"
    assert {"batch_job", "splat_pipeline"} <= set(registry)


def test_the_smallest_trigger_gets_its_request_and_the_settings(deployed: Deployed) -> None:
    program = start({"trigger_type": "my_trigger", "data": {"name": "ann"}})
    answer = deployed.run(f"{program}\nprint(json.dumps(trigger.execute(request)))")
    assert answer == {"greeted": "ann", "project": "demo"}


def test_a_trigger_hands_a_job_to_batch_job(deployed: Deployed) -> None:
    """Without AWS: what it hands over is printed, after the message schema has passed it."""
    program = start({"trigger_type": "photo_check", "data": {"folder": "photos/my-scene/"}})
    handed_over = deployed.run(f"""{program}
from triggers.batch_job import BatchJobTrigger
BatchJobTrigger.execute = lambda self, request: {{"type": request.trigger_type, "data": request.data}}
print(json.dumps(trigger.execute(request)))""")
    job = {"script_key": "examples/cpu_processing.py", "compute_type": "cpu", "input": "photos/my-scene/"}
    assert handed_over == {"type": "batch_job", "data": job}


def test_a_trigger_refuses_bad_data_in_its_own_words(deployed: Deployed) -> None:
    program = start({"trigger_type": "photo_check", "data": {"folder": "photos/my-scene/", "gpus": 8}})
    reason = deployed.run(f"""{program}
from bad_input import BadInputError
try:
    trigger.execute(request)
except BadInputError as problem:
    print(json.dumps([problem.field, str(problem)]))""")
    assert reason[0] == "data"
    assert '{"folder": "photos/my-scene/"}' in reason[1] and "Name the folder of the input bucket" in reason[1]


def test_a_message_for_a_users_trigger_becomes_a_job(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(TRIGGERS)
    from photo_check_0_1 import PhotoCheckTrigger

    monkeypatch.setitem(dispatcher.TRIGGER_REGISTRY, "photo_check", PhotoCheckTrigger)
    message = {"trigger_type": "photo_check", "data": {"folder": "photos/my-scene/"}}
    answer = platform.dispatch(message)
    (sent,) = platform.submissions
    assert answer["job_name"] == sent["jobName"]
    assert sent["jobQueue"] == platform.queues["cpu"]
    assert platform.request_document()["message"] == message


def start(message: dict[str, Any]) -> str:
    """Return a program that has looked up the trigger of a message in the registry, and called nothing yet."""
    return f"""
import json
from types import SimpleNamespace
import dispatcher
from message import parse
from triggers.base import BaseTrigger

request = parse({json.dumps(message)!r}, "an-sns-message-id")
trigger = dispatcher.TRIGGER_REGISTRY[request.trigger_type](SimpleNamespace(project_name="demo"))
assert isinstance(trigger, BaseTrigger)"""
