"""One attempt that runs to its end: folders, environment, code, exit codes, what lies in S3 afterwards."""

import json
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest

from jobrunner.deliver.endings import container_code, ending
from splatworks.contract.exit_codes import ContainerCode
from splatworks.contract.failures import Failure

FAILED = ContainerCode.FAILED

WRITE_ENVIRONMENT = """
import json, os
open(os.environ["OUTPUT_DIR"] + "/seen.json", "w").write(json.dumps(dict(os.environ)))
"""
LIST_INPUT = """
import json, os
from pathlib import Path
root = Path(os.environ["INPUT_DIR"])
files = {str(path.relative_to(root)): path.read_text() for path in sorted(root.rglob("*")) if path.is_file()}
(Path(os.environ["OUTPUT_DIR"]) / "seen.json").write_text(json.dumps(files))
"""


def test_a_job_reads_a_folder_writes_a_folder_and_success_comes_last(job: Any) -> None:
    job.put("photos/demo/a.txt", "A")
    job.put("photos/demo/deeper/b.txt", "B")
    job.script(LIST_INPUT)
    job.request["input"] = [job.uri("photos/demo/")]

    ended = job.run()

    assert ended.exit_code == 0, ended.stderr
    assert json.loads(job.read("seen.json")) == {"a.txt": "A", "deeper/b.txt": "B"}
    keys = job.objects()
    assert set(keys) == {"request.json", "seen.json", "job.json", "_SUCCESS"}
    assert keys["_SUCCESS"]["LastModified"] >= max(each["LastModified"] for each in keys.values())
    report = job.report
    assert (report["ended"], report["exit_code"], report["error"]) == ("done", 0, None)
    assert report["inputs"][0]["files"] == 2
    assert report["output"] == {"files": 1, "bytes": len(job.read("seen.json"))}
    assert len(report["script"]["sha256"]) == 64
    assert report["machine"] is None and report["cost"] is None and report["gpu"] is None


def test_a_stage_sees_the_contracts_environment_and_no_credentials(job: Any) -> None:
    job.script(WRITE_ENVIRONMENT, "stages/script.py")
    job.request.update(parameters={"quality": "high", "steps": 5, "ratio": 0.5, "fast": True}, operation="tidy")
    secrets = {
        "AWS_SESSION_TOKEN": "t",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/v2/x",
        "ECS_CONTAINER_METADATA_URI_V4": "",
    }

    assert job.run(**secrets).exit_code == 0

    seen = json.loads(job.read("seen.json"))
    workspace = job.workspace
    assert seen["INPUT_DIR"] == f"{workspace}/input" and seen["OUTPUT_DIR"] == f"{workspace}/output"
    assert seen["CHECKPOINT_DIR"] == f"{workspace}/checkpoints" and seen["MODELS_DIR"] == str(job.models)
    assert (seen["PARAM_QUALITY"], seen["PARAM_STEPS"], seen["PARAM_RATIO"], seen["PARAM_FAST"]) == (
        "high", "5", "0.5", "true",
    )  # fmt: skip
    assert json.loads(Path(seen["PARAMETERS_FILE"]).read_text()) == job.request["parameters"]
    assert (seen["OPERATION"], seen["RUN_ID"], seen["OUTPUT_PREFIX"]) == ("tidy", job.name, job.prefix)
    assert seen["AWS_BATCH_JOB_ID"] == "the-job-id"
    assert {name for name in seen if name.startswith("AWS_") and not name.startswith("AWS_BATCH")} == {
        "AWS_DEFAULT_REGION"
    }
    assert not any("secret" in value for value in seen.values())


def test_a_users_script_may_use_the_job_role(job: Any) -> None:
    job.script(WRITE_ENVIRONMENT)
    assert job.run(AWS_CONTAINER_CREDENTIALS_RELATIVE_URI="/v2/x").exit_code == 0
    assert json.loads(job.read("seen.json"))["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"] == "/v2/x"


def test_arguments_reach_the_script_and_its_folder_is_the_working_directory(job: Any) -> None:
    job.script("import sys, os; print(sys.argv[1:], os.getcwd())")
    job.request["args"] = ["--name", "two words", "$HOME"]
    ended = job.run()
    assert f"['--name', 'two words', '$HOME'] {job.workspace}/code" in ended.stdout


@pytest.mark.parametrize(
    ("statement", "exit_code", "word", "container"),
    [
        ("sys.exit(0)", 0, "done", 0),
        ("sys.exit(2)", 2, "input_error", 2),
        ("sys.exit(75)", 75, "interrupted", 75),
        ("sys.exit(1)", 1, "failed", FAILED),
        ("sys.exit(42)", 42, "failed", FAILED),
        (f"sys.exit({int(FAILED)})", int(FAILED), "failed", FAILED),
        ("sys.exit(255)", 255, "failed", FAILED),
        ("os.kill(os.getpid(), 9)", 137, "failed", FAILED),
        ("os.kill(os.getpid(), 11)", 139, "failed", FAILED),
        # Nobody told the runner, but the signal asks to stop: the host's shutdown, for one, sends it to all processes.
        ("os.kill(os.getpid(), 15)", 143, "interrupted", 75),
    ],
)
def test_the_containers_code_says_if_a_retry_helps_and_job_json_has_the_scripts_own(
    job: Any, statement: str, exit_code: int, word: str, container: int
) -> None:
    job.script(f"import os, sys; {statement}")
    assert job.run().exit_code == container
    assert (job.report["exit_code"], job.report["ended"]) == (exit_code, word)
    assert job.report["container_exit_code"] == container and job.report["stop_requested"] is False
    assert ("_SUCCESS" in job.objects()) == (container == 0)


def test_every_code_of_a_script_becomes_one_of_the_containers() -> None:
    expected = {0: 0, 2: 2, 75: 75, 129: 75, 130: 75, 143: 75}
    for code in range(256):
        ended = ending(code, stopped=False, oom_kill=False, error=None)
        assert container_code(ended, None) == expected.get(code, FAILED), code


def test_a_job_that_is_stop_requested_ends_with_75_whatever_its_scripts_code() -> None:
    for code in range(1, 256):
        ended = ending(code, stopped=True, oom_kill=code == 137, error=None)
        assert (ended, container_code(ended, None)) == ("interrupted", ContainerCode.RETRY)
    assert ending(0, stopped=True, oom_kill=False, error=None) == "done"


def test_an_input_that_a_script_has_named_as_wrong_is_wrong_although_it_is_stop_requested() -> None:
    error = Failure(code="too_few_photos", cause="2 usable photos", fix="Take more")
    assert ending(2, stopped=True, oom_kill=False, error=error) == "input_error"


@pytest.mark.parametrize(("retryable", "container"), [(True, 75), (False, FAILED), ("yes", FAILED)])
def test_a_fault_that_a_script_calls_temporary_is_retried(job: Any, retryable: Any, container: int) -> None:
    error = {"code": "licence_server", "cause": "no answer", "fix": "Wait", "retryable": retryable}
    job.script(
        "import json, os, sys\n"
        f"json.dump({{'error': {error}}}, open(os.environ['OUTPUT_DIR'] + '/result.json', 'w')); sys.exit(9)"
    )
    assert job.run().exit_code == container
    assert (job.report["ended"], job.report["exit_code"]) == ("failed", 9)


def test_an_input_error_is_final_even_if_it_is_called_temporary(job: Any) -> None:
    job.script(
        "import json, os, sys\n"
        "error = {'code': 'x', 'cause': 'y', 'fix': 'z', 'retryable': True}\n"
        "json.dump({'error': error}, open(os.environ['OUTPUT_DIR'] + '/result.json', 'w')); sys.exit(2)"
    )
    assert job.run().exit_code == 2


def test_out_of_memory_within_a_container_that_lives_on_is_final() -> None:
    ended = ending(137, stopped=False, oom_kill=True, error=None)
    assert (ended, container_code(ended, None)) == ("out_of_memory", FAILED)


def test_a_failing_scripts_output_is_uploaded_and_its_last_line_is_the_cause(job: Any) -> None:
    job.script(
        "import os; open(os.environ['OUTPUT_DIR'] + '/half.txt', 'w').write('x'); raise ValueError('no focal length')"
    )
    ended = job.run()
    assert ended.exit_code == FAILED
    assert job.read("half.txt") == "x"
    assert job.report["error"]["code"] == "script_failed"
    assert "ValueError: no focal length" in job.report["error"]["cause"]


def test_result_json_explains_a_failure_better_than_the_runner(job: Any) -> None:
    error = {"code": "too_few_photos", "cause": "2 usable photos", "fix": "Take more", "retryable": False}
    job.script(
        "import json, os, sys\n"
        f"json.dump({{'error': {error}}}, open(os.environ['OUTPUT_DIR'] + '/result.json', 'w')); sys.exit(2)"
    )
    assert job.run().exit_code == 2
    assert job.report["ended"] == "input_error" and job.report["error"] == error


@pytest.mark.parametrize("content", ["not json", "[1]", '{"error": "text"}', ""])
def test_a_broken_result_json_does_no_harm(job: Any, content: str) -> None:
    job.script(f"import os, sys; open(os.environ['OUTPUT_DIR'] + '/result.json', 'w').write({content!r}); sys.exit(3)")
    assert job.run().exit_code == FAILED and job.report["exit_code"] == 3
    assert job.report["error"]["code"] == "script_failed"


def test_a_script_in_jobs_travels_alone(job: Any) -> None:
    job.put("jobs/other.py", "")
    job.put("jobs/script_extra.py", "")
    job.put("jobs/script/inside.py", "")
    job.script("import os; print(sorted(os.listdir()))")
    assert "['script.py']" in job.run().stdout


@pytest.mark.parametrize("folder", ["jobs/mine", "stages", "jobs/a/b"])
def test_a_script_in_a_folder_of_its_own_brings_the_whole_folder(job: Any, folder: str) -> None:
    job.put(f"{folder}/kit/__init__.py", "ANSWER = 42")
    job.put(f"{folder}/", b"")
    job.put("jobs/stranger.py", "")
    job.script("import kit, os; print(kit.ANSWER, sorted(set(os.listdir()) - {'__pycache__'}))", f"{folder}/main.py")
    assert "42 ['kit', 'main.py']" in job.run().stdout


def test_inputs_of_a_list_land_in_folders_of_their_last_name(job: Any) -> None:
    job.put("photos/one/a.txt", "1")
    job.put("photos/two/a.txt", "2")
    job.put("models/net.bin", "3")
    job.script(LIST_INPUT)
    job.request.update(
        input_layout="by_name", input=[job.uri("photos/one/"), job.uri("photos/two"), job.uri("models/net.bin")]
    )
    assert job.run().exit_code == 0
    assert json.loads(job.read("seen.json")) == {"one/a.txt": "1", "two/a.txt": "2", "net.bin": "3"}


def test_an_object_is_preferred_to_a_folder_of_the_same_name(job: Any) -> None:
    job.put("photos/set", "the object")
    job.put("photos/set/a.txt", "in the folder")
    job.script(LIST_INPUT)
    job.request["input"] = [job.uri("photos/set")]
    job.run()
    assert json.loads(job.read("seen.json")) == {"set": "the object"}


def test_large_files_come_and_go_in_parts(job: Any) -> None:
    body = bytes(range(256)) * 80_000  # 20 MB: above what goes in one request
    job.put("photos/large.bin", body)
    copy = "shutil.copy(os.environ['INPUT_DIR'] + '/large.bin', os.environ['OUTPUT_DIR'] + '/large.sog')"
    job.script(f"import os, shutil; {copy}")
    job.request["input"] = [job.uri("photos/large.bin")]
    assert job.run().exit_code == 0
    answer = job.s3.get_object(Bucket=job.output_bucket, Key=f"{job.prefix}large.sog")
    assert answer["Body"].read() == body
    assert answer["ETag"].strip('"').endswith("-2")  # two parts


def test_content_types_let_a_browser_show_the_output(job: Any) -> None:
    names = ["a.html", "a.json", "a.PNG", "a.jpg", "a.webp", "a.mp4", "a.sog", "a.ply", "a.js", "a.json.gz", "noname"]
    job.script(f"import os\nfor name in {names}: open(os.environ['OUTPUT_DIR'] + '/' + name, 'w').write('x')")
    job.run()
    heads = {name: job.s3.head_object(Bucket=job.output_bucket, Key=job.prefix + name) for name in names}
    assert {name: head["ContentType"] for name, head in heads.items()} == {
        "a.html": "text/html; charset=utf-8", "a.json": "application/json", "a.PNG": "image/png", "a.jpg": "image/jpeg",
        "a.webp": "image/webp", "a.mp4": "video/mp4", "a.sog": "application/octet-stream",
        "a.ply": "application/octet-stream", "a.js": "text/javascript; charset=utf-8", "a.json.gz": "application/gzip",
        "noname": "application/octet-stream",
    }  # fmt: skip


def test_links_pipes_and_the_platforms_names_in_the_output_stay_behind(job: Any, tmp_path: Path) -> None:
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "key").write_text("private")
    job.script(f"""
import os
os.chdir(os.environ["OUTPUT_DIR"])
open("real.txt", "w").write("real")
os.symlink("real.txt", "alias.txt")
os.symlink("{tmp_path}/private/key", "stolen.txt")
os.symlink("{tmp_path}/private", "stolen")
os.symlink("nowhere", "broken")
os.mkfifo("pipe")
open("_SUCCESS", "w").write("fake")
open(b"caf\\xe9.txt", "w").write("latin-1")
raise SystemExit(1)
""")
    ended = job.run()
    assert ended.exit_code == FAILED
    assert job.outputs() == {"real.txt", "alias.txt"}
    assert "_SUCCESS" not in job.objects()
    assert "leads out of the output folder" in ended.stderr


def test_what_an_earlier_job_left_in_the_workspace_is_gone(job: Any, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "precious").write_text("kept")
    (job.workspace / "output").mkdir(parents=True)
    (job.workspace / "output" / "stale.txt").write_text("stale")
    (job.workspace / "input").symlink_to(tmp_path / "elsewhere")
    job.script(LIST_INPUT)
    assert job.run().exit_code == 0
    assert job.outputs() == {"seen.json"} and json.loads(job.read("seen.json")) == {}
    assert (tmp_path / "elsewhere" / "precious").read_text() == "kept"


def test_leftovers_are_not_uploaded_when_the_request_cannot_be_read(job: Any) -> None:
    (job.workspace / "output").mkdir(parents=True)
    (job.workspace / "output" / "anothers.txt").write_text("private")
    job.request["script_key"] = 7
    assert job.run().exit_code == FAILED
    assert job.outputs() == set() and job.report["error"]["code"] == "bad_document"


def test_a_child_of_an_array_has_prefixes_of_its_own(job: Any) -> None:
    job.script(WRITE_ENVIRONMENT + "open(os.environ['CHECKPOINT_DIR'] + '/c', 'w').write('c')")
    assert job.run(AWS_BATCH_JOB_ARRAY_INDEX="3").exit_code == 0
    assert json.loads(job.read("3/seen.json"))["OUTPUT_PREFIX"] == f"{job.prefix}3/"
    assert {"3/job.json", "3/_SUCCESS"} <= set(job.objects())
    assert set(job.objects(job.checkpoints)) == {"3/c"}


def test_lines_come_out_while_the_script_runs(job: Any) -> None:
    job.script("""
import os, sys, time
print("early")
print("warned", file=sys.stderr)
for _ in range(600):
    if os.path.exists(os.environ["OUTPUT_DIR"] + "/seen"):
        print("late")
        sys.exit()
    time.sleep(0.05)
sys.exit("waited in vain")
""")
    process = job.start()
    assert process.stdout.readline() == "early\n"
    (job.workspace / "output" / "seen").touch()
    ended = job.finish(process)
    assert ended.exit_code == 0 and "late" in ended.stdout and "warned" in ended.stderr


def test_nothing_that_the_script_started_outlives_it(job: Any, tmp_path: Path) -> None:
    job.script(f"""
import subprocess, sys
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3); open('{tmp_path}/alive', 'w')"])
""")
    begun = time.monotonic()
    assert job.run().exit_code == 0
    time.sleep(max(0, 4 - (time.monotonic() - begun)))
    assert not (tmp_path / "alive").exists()


def tiny_wheel(folder: Path) -> Path:
    wheel = folder / "tinypackage-1.0-py3-none-any.whl"
    information = "tinypackage-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tinypackage.py", "ANSWER = 42\n")
        archive.writestr(f"{information}/METADATA", "Metadata-Version: 2.1\nName: tinypackage\nVersion: 1.0\n")
        archive.writestr(f"{information}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{information}/RECORD", "")
    return wheel


@pytest.mark.parametrize(
    ("script_key", "requirements_key"),
    [("jobs/script.py", "jobs/script.requirements.txt"), ("jobs/mine/main.py", "jobs/mine/requirements.txt")],
)
def test_requirements_are_installed_beside_what_the_image_has(
    job: Any, tmp_path: Path, script_key: str, requirements_key: str
) -> None:
    # boto3 is there already: it must be taken as it is, not be looked for (there is no index) and installed again.
    job.put(requirements_key, f"{tiny_wheel(tmp_path).as_uri()}\nboto3\n")
    job.script("import boto3, sys, tinypackage; print(tinypackage.ANSWER, boto3.__file__)", script_key)
    ended = job.run(PIP_NO_INDEX="1")
    assert ended.exit_code == 0, ended.stdout + ended.stderr
    assert "42 " in ended.stdout and f"{job.workspace}/packages/lib/python3" not in ended.stdout.splitlines()[-1]
    assert job.report["seconds"]["install"] > 0


def test_requirements_of_another_script_are_not_installed(job: Any) -> None:
    job.put("jobs/requirements.txt", "no-such-package")
    job.put("jobs/other.requirements.txt", "no-such-package")
    job.script("pass")
    ended = job.run()
    assert ended.exit_code == 0
    assert "jobs/requirements.txt is not installed" in ended.stderr
    assert "name it jobs/script.requirements.txt" in ended.stderr


def test_no_hint_at_requirements_where_there_are_none_or_the_scripts_own(job: Any, tmp_path: Path) -> None:
    job.script("pass")
    assert "requirements" not in job.run().stderr
    job.put("jobs/requirements.txt", "no-such-package")
    job.put("jobs/script.requirements.txt", f"{tiny_wheel(tmp_path).as_uri()}\n")
    ended = job.run(PIP_NO_INDEX="1")
    assert ended.exit_code == 0 and "is not installed" not in ended.stderr


def test_requirements_that_cannot_be_installed_name_the_package(job: Any) -> None:
    job.put("jobs/script.requirements.txt", "no-such-package-anywhere==1.0")
    job.script("print('never')")
    ended = job.run(PIP_NO_INDEX="1")
    assert ended.exit_code == FAILED and "never" not in ended.stdout
    assert job.report["ended"] == "runner_error"
    assert job.report["error"]["code"] == "requirements_failed"
    assert "no-such-package-anywhere" in job.report["error"]["cause"]
