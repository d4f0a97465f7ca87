"""The command line against the embedded AWS."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from local.embedded_aws import EmbeddedAWS

pytestmark = pytest.mark.flow

ROOT = Path(__file__).parents[2]
COUNTS = """
import json, os, sys, time
from pathlib import Path
out = Path(os.environ["OUTPUT_DIR"])
(out / "progress.json").write_text(json.dumps({"fraction": 0.5, "message": "half way"}))
files = sorted(path.name for path in Path(os.environ["INPUT_DIR"]).rglob("*") if path.is_file())
print("part", os.environ.get("AWS_BATCH_JOB_ARRAY_INDEX", "alone"), "of", files, sys.argv[1:], flush=True)
time.sleep(float(os.environ.get("PARAM_SECONDS", "0")))
(out / "files.json").write_text(json.dumps(files))
"""


@dataclass
class Ended:
    returncode: int
    stdout: str
    stderr: str


Command = Callable[..., Ended]


@pytest.fixture
def splatworks(
    platform: EmbeddedAWS, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Command]:
    """In this process, for the time that a start takes; one test starts it as people do."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "SPLATWORKS_"))]:
        monkeypatch.delenv(name)
    for name, value in platform.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    from aws import clients as aws_clients
    from splatworks.cli.app import run

    aws_clients.client.cache_clear()  # of tests that talked to another AWS

    def call(*arguments: Any) -> Ended:
        capsys.readouterr()
        code = run([str(each) for each in arguments])
        return Ended(code, *capsys.readouterr())

    yield call
    aws_clients.client.cache_clear()


def in_its_own_process(platform: EmbeddedAWS, *arguments: Any) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SPLATWORKS_"))}
    environment = {**kept, **platform.environment, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "splatworks", *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two photos, too few for a scene."""
    (tmp_path / "pier").mkdir()
    for name, shade in (("1.jpg", 40), ("2.jpg", 200)):
        Image.new("RGB", (64, 48), (shade, shade, shade)).save(tmp_path / "pier" / name)
    return tmp_path / "pier"


def test_a_script_from_submit_to_download(
    platform: EmbeddedAWS, splatworks: Command, script: Callable[..., dict[str, Any]], folder: Path, tmp_path: Path
) -> None:
    key = script(COUNTS)["script_key"]
    options = ["--script", key, "--cpu", "script", "--args", "--limit 5", "--project-label", "coast"]
    submitted = in_its_own_process(platform, "submit", folder, *options, "--watch")
    assert submitted.returncode == 0, submitted.stderr
    run_id = submitted.stdout.splitlines()[0]
    assert "2 files uploaded" in submitted.stderr
    assert f"{Path(key).stem} done" in submitted.stdout

    run = json.loads(splatworks("status", run_id, "--json").stdout)
    assert (run["status"], run["project"]) == ("SUCCEEDED", "coast")
    assert run["stages"][0]["job"]["ended"] == "done"
    assert run_id in splatworks("status").stdout
    assert "part alone of ['1.jpg', '2.jpg'] ['--limit', '5']" in splatworks("logs", run_id).stdout
    assert splatworks("download", run_id, "--to", tmp_path / "got").returncode == 0
    (files,) = (tmp_path / "got").rglob("files.json")
    assert json.loads(files.read_text()) == ["1.jpg", "2.jpg"]

    planned = json.loads(splatworks("plan", folder, *options, "--json").stdout)
    assert planned["stages"][0]["estimate"]["seconds"]["runs"] == 1
    assert len([job for job in platform.jobs() if job["jobName"].startswith(Path(key).stem)]) == 1


def test_a_pipeline_that_stops_at_a_gate_is_told_with_its_reason(
    platform: EmbeddedAWS, splatworks: Command, folder: Path
) -> None:
    ended = splatworks("submit", folder, "--preset", "draft", "--cpu", "train", "--project-label", "gate", "--watch")
    assert ended.returncode == 1, ended.stdout + ended.stderr
    run_id = ended.stdout.splitlines()[0]
    assert "Why:    " in ended.stdout and "To do:  " in ended.stdout
    stages = {stage["name"]: stage for stage in json.loads(splatworks("status", run_id, "--json").stdout)["stages"]}
    assert {name: stage["status"] for name, stage in stages.items()} == dict.fromkeys(
        ("sfm", "train", "compress"), "FAILED"
    )
    assert stages["sfm"]["result"]["status"] == "input_error"
    assert stages["train"]["started"] is None
    assert "no stage" not in splatworks("open", run_id, "--print").stderr


def test_a_running_array_is_followed_and_cancelled(
    platform: EmbeddedAWS, splatworks: Command, script: Callable[..., dict[str, Any]]
) -> None:
    key = script(COUNTS)["script_key"]
    options = ["--script", key, "--cpu", "script", "--set", "seconds=60", "--job", "array_size=2"]
    run_id = splatworks("submit", *options).stdout.strip()
    job = platform.wait_for_job(run_id, until=("PENDING",))
    platform.wait_until(lambda: "part 1 of" in splatworks("logs", run_id, "--index", "1").stdout, 60, "a log")
    shown = json.loads(splatworks("status", run_id, "--json").stdout)
    assert (shown["status"], shown["stages"][0]["size"]) == ("RUNNING", 2)
    assert splatworks("cancel", run_id).returncode == 2  # nobody answers, so nothing is stopped
    assert platform.job(job["jobId"])["status"] == "PENDING"  # as Batch calls an array whose parts run
    assert splatworks("cancel", run_id, "--yes").returncode == 0
    platform.wait_for_job(run_id, until=("FAILED",), timeout=60)
    assert json.loads(splatworks("status", run_id, "--json").stdout)["status"] == "FAILED"


def test_what_the_dispatcher_would_refuse_is_refused_here_and_never_published(
    platform: EmbeddedAWS, splatworks: Command, folder: Path
) -> None:
    emails = len(platform.emails())
    refused = splatworks("submit", folder, "--name", "refused", "--job", "train.gpus=64")
    assert refused.returncode == 2
    assert "data.train.gpus" in refused.stderr
    listing = platform.client("s3").list_objects_v2(
        Bucket=platform.outputs["ml_input_bucket"], Prefix="photos/refused/"
    )
    assert listing["KeyCount"] == 0
    assert len(platform.emails()) == emails
