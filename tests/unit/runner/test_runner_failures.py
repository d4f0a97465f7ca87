"""What the runner itself refuses or fails at: plain words in job.json, the right exit code, never a bare traceback."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from jobrunner.deliver.report import Report
from jobrunner.failures import InputError, RunnerError
from jobrunner.fetch import downloads
from jobrunner.settings import Settings
from splatworks.contract.documents.codec import PUSH_THE_IMAGE
from splatworks.contract.documents.job import write_job
from splatworks.contract.exit_codes import ContainerCode

FAILED = ContainerCode.FAILED


def refused(job: Any, exit_code: int, ended: str, code: str, **environment: str) -> str:
    """Runs the job; gives the cause, which is also in the log."""
    outcome = job.run(**environment)
    assert outcome.exit_code == exit_code, outcome.stderr
    report = job.report
    assert (report["ended"], report["error"]["code"]) == (ended, code)
    assert report["exit_code"] == report["container_exit_code"] == exit_code
    assert report["error"]["cause"] in outcome.stderr and report["error"]["fix"]
    assert "Traceback" not in outcome.stderr and "never" not in outcome.stdout
    assert "_SUCCESS" not in job.objects()
    return report["error"]["cause"]


def test_a_missing_script_is_named_with_the_command_that_uploads_it(job: Any) -> None:
    job.request["script_key"] = "jobs/gone.py"
    cause = refused(job, FAILED, "runner_error", "script_not_found")
    assert "jobs/gone.py" in cause
    assert "aws s3 cp" in job.report["error"]["fix"]


def test_an_input_that_is_not_there_is_an_input_error(job: Any) -> None:
    job.script("print('never')")
    job.request["input"] = [job.uri("photos/typo/")]
    assert job.uri("photos/typo/") in refused(job, 2, "input_error", "input_not_found")


def test_a_bucket_that_is_not_there_is_an_input_error(job: Any) -> None:
    job.script("print('never')")
    job.request["input"] = ["s3://no-such-bucket-anywhere/photos/"]
    refused(job, 2, "input_error", "no_such_bucket")


@pytest.mark.parametrize("uri", ["photos/", "https://bucket/photos/", "s3:///photos/", ""])
def test_an_input_that_is_no_s3_uri_is_an_input_error(job: Any, uri: str) -> None:
    job.script("print('never')")
    job.request["input"] = [uri]
    refused(job, 2, "input_error", "bad_input_uri")


@pytest.mark.parametrize(
    "key",
    ["photos/../../escaped", "photos//etc/passwd", "photos/./a", "photos/a/..", "photos/sub//", "photos/" + "x" * 300],
)
def test_a_key_that_would_leave_the_input_folder_is_refused(job: Any, key: str) -> None:
    job.script("print('never')")
    job.put("photos/good.txt", "good")
    job.put(key, "hostile")
    job.request["input"] = [job.uri("photos/")]
    refused(job, 2, "input_error", "unsafe_key")
    assert not list(job.folder.rglob("escaped")) and not list(job.workspace.rglob("good.txt"))


@pytest.mark.parametrize("pair", [("photos/a", "photos/a/b"), ("photos/A.jpg", "photos/a.JPG")])
def test_keys_that_cannot_both_become_files_are_refused(job: Any, pair: tuple[str, str]) -> None:
    job.script("print('never')")
    for key in pair:
        job.put(key, "x")
    job.request["input"] = [job.uri("photos/")]
    cause = refused(job, 2, "input_error", "colliding_keys")
    assert pair[0] in cause and pair[1] in cause


def test_inputs_that_meet_in_one_folder_are_refused(job: Any) -> None:
    job.script("print('never')")
    job.put("a/x.txt", "a")
    job.put("b/x.txt", "b")
    job.request["input"] = [job.uri("a/"), job.uri("b/")]
    refused(job, 2, "input_error", "colliding_keys")


def test_hostile_keys_in_the_checkpoints_and_the_scripts_folder_are_refused_too(job: Any) -> None:
    job.script("print('never')", "jobs/mine/main.py")
    job.put("jobs/mine/../../escaped.py", "x")
    refused(job, 2, "input_error", "unsafe_key")
    job.script("print('never')")
    job.s3.put_object(Bucket=job.output_bucket, Key=f"{job.checkpoints}../escaped", Body=b"x")
    refused(job, 2, "input_error", "unsafe_key")


@pytest.mark.parametrize(
    "change",
    [
        {"script_key": None},
        {"args": "--x"},
        {"args": [1]},
        {"input": {"a": 1}},
        {"input_layout": "tree"},
        {"parameters": {"LD PRELOAD": "x"}},
        {"parameters": {"a": [1]}},
        {"operation": 5},
        {"checkpoint_prefix": None},
    ],
)
def test_a_request_of_another_shape_is_refused_naming_the_field(job: Any, change: dict[str, Any]) -> None:
    job.script("print('never')")
    job.request.update(change)
    assert next(iter(change)).split("_")[0] in refused(job, FAILED, "runner_error", "bad_document").replace(
        "parameter", "parameters"
    )


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b'{"version": 1, "job": {}}', b'{"version": "1", "job": {}}', b"\xff\xfe"]
)
def test_a_request_that_is_not_ours_is_refused(job: Any, text: bytes) -> None:
    job.write_request = lambda: job.s3.put_object(Bucket=job.output_bucket, Key=f"{job.prefix}request.json", Body=text)
    refused(job, FAILED, "runner_error", "bad_document")


def test_a_request_of_a_later_version_is_refused_for_good_and_asks_for_the_image(job: Any) -> None:
    text = b'{"version": 2, "job": {}}'
    job.write_request = lambda: job.s3.put_object(Bucket=job.output_bucket, Key=f"{job.prefix}request.json", Body=text)
    cause = refused(job, 2, "input_error", "bad_document")
    assert "request.json has version 2" in cause and "up to version 1" in cause
    assert job.report["error"]["fix"] == PUSH_THE_IMAGE and job.report["error"]["retryable"] is False


def test_a_request_that_is_gone_is_named(job: Any) -> None:
    job.write_request = lambda: None
    refused(job, FAILED, "runner_error", "no_request")


def test_a_script_key_that_is_no_python_file_is_refused(job: Any) -> None:
    job.script("echo never", "jobs/run.sh")
    refused(job, 2, "input_error", "bad_script_key")


@pytest.mark.parametrize("name", ["ML_INPUT_BUCKET", "ML_OUTPUT_BUCKET", "REQUEST_KEY", "OUTPUT_PREFIX"])
def test_an_environment_without_a_variable_names_it(job: Any, name: str) -> None:
    job.script("print('never')")
    ended = job.run(**{name: ""})
    assert ended.exit_code == FAILED
    assert name in ended.stderr and "Traceback" not in ended.stderr


def test_a_workspace_that_cannot_be_written_is_said(job: Any) -> None:
    job.script("print('never')")
    (job.folder / "file").write_text("in the way")
    refused(job, FAILED, "runner_error", "workspace_unusable", WORKSPACE_DIR=str(job.folder / "file" / "below"))


def test_input_larger_than_the_disk_is_refused_before_it_is_downloaded(job: Any) -> None:
    disk = downloads.shutil.disk_usage(job.folder)
    downloads._check_disk(disk.free - downloads.DISK_RESERVE - 2**24, job.folder)
    with pytest.raises(InputError, match="Give less input"):
        downloads._check_disk(disk.total, job.folder)
    with pytest.raises(RunnerError, match="other jobs on this machine") as caught:
        downloads._check_disk(disk.free, job.folder)
    assert caught.value.failure.retryable and not isinstance(caught.value, InputError)


def test_an_output_that_cannot_be_uploaded_fails_the_job_though_the_script_succeeded(job: Any) -> None:
    job.script("""
import os, time
from pathlib import Path
output = Path(os.environ["OUTPUT_DIR"])
(output / "a.txt").write_text("a")
while not (output / "go on").exists():
    time.sleep(0.05)
""")
    process = job.start()
    job.wait_until(lambda: (job.workspace / "output/a.txt").exists())
    for key in job.objects(""):
        job.s3.delete_object(Bucket=job.output_bucket, Key=key)
    job.s3.delete_bucket(Bucket=job.output_bucket)
    (job.workspace / "output" / "go on").touch()
    ended = job.finish(process)
    assert ended.exit_code == FAILED
    assert "2 file(s) failed to upload" in ended.stderr and "NoSuchBucket" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_environment_of_the_runner_is_closed_to_other_processes_of_its_user() -> None:
    get_dumpable = 3  # linux/prctl.h: 0 means that /proc/<pid>/environ is closed
    code = (
        "import ctypes; from jobrunner.run.environment import hide_environment;"
        f"ask = lambda: ctypes.CDLL(None).prctl({get_dumpable}, 0, 0, 0, 0);"
        "before = ask(); hide_environment(); print(before, ask())"
    )
    environment = {"PYTHONPATH": str(Path(__file__).parents[3] / "docker")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "0"]


def test_job_json_keeps_the_scripts_failure_when_the_upload_fails_too() -> None:
    environment = dict.fromkeys(["ML_INPUT_BUCKET", "ML_OUTPUT_BUCKET", "REQUEST_KEY", "OUTPUT_PREFIX"], "x")
    report = Report(Settings.from_environment({**environment, "WORKSPACE_DIR": "/nonexistent"}))
    report.script_ended(42, stopped=False, oom_kill=False, last_lines=["ValueError: x"])
    report.failed(RunnerError("upload_failed", "the upload failed", "Publish again"))
    document = json.loads(write_job(report.document()))
    assert (document["exit_code"], document["ended"], document["container_exit_code"]) == (42, "failed", FAILED)
    assert document["error"]["code"] == "script_failed"
