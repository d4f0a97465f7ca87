"""Results that need not be made again: recorded, found by their content key, copied inside S3."""

import json
import time
from typing import Any

import pytest
from botocore.exceptions import ClientError

from splatworks.contract.content_keys import content_key, objects_digest, script_digest
from splatworks.contract.exit_codes import ContainerCode

BASE = "b" * 64
WRITE = """
import os
from pathlib import Path
output = Path(os.environ["OUTPUT_DIR"])
(output / "deep").mkdir()
(output / "page.html").write_text("<p>" + os.environ.get("PARAM_SIZE", ""))
(output / "deep" / "b.txt").write_text("b")
print("the script runs")
"""
SLOW_COPY = """
import jobrunner.store as s, os, time
real = s._Transfers.copy
def copy(self, file):
    real(self, file)
    open(os.environ["WORKSPACE_DIR"] + "/copying", "w").close()
    time.sleep(1)
s._Transfers.copy = copy
"""
FAIL_ON_B = """
import jobrunner.store as s
real = s._Transfers.copy
def copy(self, file):
    if file.source.key.endswith("b.txt"):
        raise OSError("connection reset")
    real(self, file)
s._Transfers.copy = copy
"""
NO_RECORD = """
import jobrunner.store as s
real = s.Store.write
def write(self, bucket, key, body):
    if key.startswith("reuse/"):
        raise OSError("connection reset")
    real(self, bucket, key, body)
s.Store.write = write
"""


@pytest.fixture
def array(job: Any) -> Any:
    """A child of an array that reads photos/harbour/, with reuse on."""
    job.put("photos/harbour/a.jpg", "A")
    job.put("photos/harbour/", "")
    job.script(WRITE)
    job.request.update(input=[job.uri("photos/harbour/")], content_base=BASE, parameters={"size": 1})
    job.of("first")
    return job


def child(job: Any, index: int = 0, attempt: int = 1) -> tuple[bool, str]:
    """Runs it to its good end; whether the script ran, and the runner's log."""
    ended = job.run(attempt, AWS_BATCH_JOB_ARRAY_INDEX=str(index))
    assert ended.exit_code == 0, ended.stderr
    assert f"{index}/_SUCCESS" in job.objects()
    return "the script runs" in ended.stdout, ended.stderr


def report(job: Any, index: int = 0) -> dict[str, Any]:
    return json.loads(job.read(f"{index}/job.json"))


def entry(job: Any) -> dict[str, Any]:
    return json.loads(job.read(f"{report(job)['content_key']}.json", "reuse/"))


def test_a_result_is_recorded_under_its_content_key(array: Any) -> None:
    assert child(array)[0]
    etag = array.s3.head_object(Bucket=array.input_bucket, Key="photos/harbour/a.jpg")["ETag"]
    key = content_key(BASE, {"size": 1}, [objects_digest([("a.jpg", 1, etag)])])
    assert report(array)["content_key"] == key and report(array)["reused_from"] is None
    assert set(array.objects("reuse/")) == {f"{key}.json"}
    assert entry(array) == {"output_prefix": "runs/demo/first/script/0/"}


def test_a_child_of_the_same_content_copies_the_result_instead_of_running_the_script(array: Any) -> None:
    child(array)
    first = {name: each["ETag"] for name, each in array.objects("runs/demo/first/script/0/").items()}
    array.of("second")

    ran, log = child(array, 4)

    assert not ran and "runs/demo/first/script/0/" in log
    copied = {name.removeprefix("4/"): each for name, each in array.objects().items() if name.startswith("4/")}
    assert set(copied) == {"page.html", "deep/b.txt", "job.json", "_SUCCESS"}
    assert all(copied[name]["ETag"] == first[name] for name in ("page.html", "deep/b.txt"))
    assert copied["_SUCCESS"]["LastModified"] >= max(each["LastModified"] for each in copied.values())
    head = array.s3.head_object(Bucket=array.output_bucket, Key=f"{array.prefix}4/page.html")
    assert head["ContentType"] == "text/html; charset=utf-8"
    told = report(array, 4)
    assert (told["ended"], told["exit_code"], told["error"]) == ("done", 0, None)
    assert told["reused_from"] == "runs/demo/first/script/0/" and told["run_id"] == "second"
    assert told["output"] == {"files": 2, "bytes": len("<p>1") + len("b")}
    assert told["inputs"][0]["files"] == 1 and told["parameters"] == {"size": 1}
    assert json.loads(array.read(f"{told['content_key']}.json", "reuse/"))["output_prefix"].startswith(
        "runs/demo/first/"
    )


def test_a_scene_that_is_carried_counts_in_the_key_as_the_one_of_a_single_scene_does(array: Any) -> None:
    array.put("photos/harbour/more/t.ply", "T")
    trained = {"input": [array.uri("photos/harbour/more/")]}
    array.request.update(trained, input_layout="by_name")
    child(array)
    alone = report(array)["content_key"]
    array.of("single")
    array.request.update(input=[array.uri("photos/harbour/"), *trained["input"]])
    child(array)
    single = report(array)["content_key"]
    array.of("several")
    array.s3.put_object(
        Bucket=array.output_bucket, Key="scenes.json", Body=json.dumps([{"input": [array.uri("photos/harbour/")]}])
    )
    array.request.update(trained, carried_scenes_key="scenes.json")

    ran, _ = child(array)

    assert report(array)["content_key"] == single != alone
    assert not ran and report(array)["reused_from"] == "runs/demo/single/script/0/"
    array.put("photos/harbour/georeference.json", "{}")
    array.of("changed")
    assert child(array)[0]


@pytest.mark.parametrize("change", ["parameters", "photos", "script", "fresh"])
def test_what_is_not_the_same_is_made_again(array: Any, change: str) -> None:
    child(array)
    array.of("second")
    if change == "photos":
        array.put("photos/harbour/b.jpg", "B")
    else:
        new = {"parameters": {"size": 2}, "script": "c" * 64, "fresh": True}[change]
        array.request["content_base" if change == "script" else change] = new
    assert child(array)[0]
    assert entry(array) == {"output_prefix": "runs/demo/second/script/0/"}
    assert report(array)["reused_from"] is None


def spoil(job: Any, how: str) -> None:
    bucket, prefix, key = job.output_bucket, "runs/demo/first/script/0/", f"reuse/{report(job)['content_key']}.json"
    if how == "gone":
        job.s3.delete_object(Bucket=bucket, Key=f"{prefix}_SUCCESS")
    elif how == "not whole":
        job.s3.delete_object(Bucket=bucket, Key=f"{prefix}deep/b.txt")
    elif how == "changed by hand":
        time.sleep(1.1)  # S3 counts seconds
        job.s3.put_object(Bucket=bucket, Key=f"{prefix}page.html", Body=b"mine")
    elif how == "another result":
        told = json.dumps({**report(job), "content_key": "0" * 64})
        job.s3.put_object(Bucket=bucket, Key=f"{prefix}job.json", Body=told)
        job.s3.put_object(Bucket=bucket, Key=f"{prefix}_SUCCESS", Body=b"")
    else:
        job.s3.put_object(Bucket=bucket, Key=key, Body=how.encode())


@pytest.mark.parametrize(
    "how",
    ["gone", "not whole", "changed by hand", "another result", "{", "[]", "{}", '{"output_prefix": 1}',
     '{"output_prefix": "photos/harbour/"}', '{"output_prefix": "runs/demo/never/script/"}'],
)  # fmt: skip
def test_an_entry_that_is_stale_or_broken_is_as_none(array: Any, how: str) -> None:
    child(array)
    spoil(array, how)
    array.of("second")
    ran, log = child(array)
    assert ran and "is not used" in log
    assert entry(array) == {"output_prefix": "runs/demo/second/script/0/"}


def test_a_result_of_a_later_version_is_not_used_and_the_log_says_why(array: Any) -> None:
    child(array)
    bucket, prefix = array.output_bucket, "runs/demo/first/script/0/"
    array.s3.put_object(Bucket=bucket, Key=f"{prefix}job.json", Body=json.dumps({**report(array), "version": 2}))
    array.s3.put_object(Bucket=bucket, Key=f"{prefix}_SUCCESS", Body=b"")
    array.of("second")
    ran, log = child(array)
    assert ran and "job.json has version 2" in log and "docker/build-and-push.sh" in log


def test_a_job_does_not_copy_its_own_result_onto_itself(array: Any) -> None:
    child(array)  # its host went between _SUCCESS and the end
    ran, log = child(array, attempt=2)
    assert ran and "this job's own" in log
    assert report(array)["reused_from"] is None and "0/page.html" in array.objects()


def test_a_copy_that_breaks_off_leaves_nothing_and_the_script_runs(array: Any) -> None:
    array.script(WRITE + "(output / 'page.html').unlink()")
    child(array)
    array.s3.put_object(Bucket=array.output_bucket, Key="runs/demo/first/script/0/other.txt", Body=b"copied first")
    array.s3.put_object(Bucket=array.output_bucket, Key="runs/demo/first/script/0/_SUCCESS", Body=b"")
    array.of("second")
    array.prelude = FAIL_ON_B
    ran, log = child(array)
    assert ran and "connection reset" in log
    assert {name for name in array.objects() if name.startswith("0/")} == {"0/deep/b.txt", "0/job.json", "0/_SUCCESS"}
    array.of("third")
    array.script("raise SystemExit(1)")
    assert array.run(AWS_BATCH_JOB_ARRAY_INDEX="0").exit_code == ContainerCode.FAILED
    assert {name for name in array.objects() if name.startswith("0/")} == {"0/job.json"}


def test_sigterm_while_copying_ends_with_75_and_the_retry_copies(array: Any) -> None:
    child(array)
    array.of("second")
    array.prelude = SLOW_COPY
    process = array.start(AWS_BATCH_JOB_ARRAY_INDEX="0")
    assert array.stop_when(process, (array.workspace / "copying").exists).exit_code == 75
    assert report(array)["ended"] == "interrupted"
    assert {name for name in array.objects() if name.startswith("0/")} == {"0/job.json"}
    array.prelude = ""
    assert not child(array, attempt=2)[0]


def test_a_retry_that_copies_removes_what_the_attempt_before_it_had_uploaded(array: Any) -> None:
    array.of("second")
    array.script("import os; open(os.environ['OUTPUT_DIR'] + '/half.txt', 'w'); raise SystemExit(75)")
    assert array.run(AWS_BATCH_JOB_ARRAY_INDEX="0").exit_code == 75
    assert "0/half.txt" in array.objects()
    array.script(WRITE)
    array.of("first")
    child(array)
    array.of("second")
    assert not child(array, attempt=2)[0]
    assert "0/half.txt" not in array.objects() and "0/page.html" in array.objects()
    assert [each["attempt"] for each in report(array)["interruptions"]] == [1]


def test_large_files_are_copied_in_parts_and_keep_their_type(array: Any) -> None:
    array.script("import os; open(os.environ['OUTPUT_DIR'] + '/a.mp4', 'wb').write(os.urandom(20_000_000))")
    child(array)
    first = array.s3.get_object(Bucket=array.output_bucket, Key="runs/demo/first/script/0/a.mp4")["Body"].read()
    array.of("second")
    array.prelude = "import jobrunner.store as s; s.COPIED_WHOLE = 2**20"
    child(array)
    assert report(array)["reused_from"]
    copy = array.s3.get_object(Bucket=array.output_bucket, Key="runs/demo/second/script/0/a.mp4")
    assert copy["Body"].read() == first and copy["ContentType"] == "video/mp4"
    assert copy["ETag"].strip('"').endswith("-2")


def test_a_result_that_cannot_be_recorded_is_a_result_all_the_same(array: Any) -> None:
    array.prelude = NO_RECORD
    ran, log = child(array)
    assert ran and "will not be found" in log and array.objects("reuse/") == {}


def test_a_failed_script_is_not_recorded(array: Any) -> None:
    array.script("raise SystemExit(1)")
    assert array.run(AWS_BATCH_JOB_ARRAY_INDEX="0").exit_code == ContainerCode.FAILED
    assert report(array)["content_key"] and array.objects("reuse/") == {}


def test_without_a_content_base_nothing_is_recorded(array: Any) -> None:
    array.request["content_base"] = None
    child(array)
    assert report(array)["content_key"] is None and array.objects("reuse/") == {}


def key_of_photos(job: Any, base: str) -> str:
    """As the dispatcher makes it at submission."""
    etag = job.s3.head_object(Bucket=job.input_bucket, Key="photos/harbour/a.jpg")["ETag"]
    return content_key(base, {"size": 1}, [objects_digest([("a.jpg", 1, etag)])])


def alone(job: Any) -> str:
    """Runs a job that is no array; the runner's log."""
    ended = job.run()
    assert ended.exit_code == 0 and "the script runs" in ended.stdout, ended.stderr
    return ended.stderr


def test_a_key_that_the_dispatcher_made_is_recorded_and_not_looked_up(array: Any) -> None:
    key = key_of_photos(array, BASE)
    array.request.update(content_key=key)
    for run in ("first", "second"):
        array.of(run)
        assert "content key" not in alone(array)
        assert array.report["content_key"] == key
        assert json.loads(array.read(f"{key}.json", "reuse/")) == {"output_prefix": f"runs/demo/{run}/script/"}


@pytest.mark.parametrize("change", [None, "photos"])
def test_the_keys_of_a_chain_are_the_dispatchers_unless_the_input_has_changed_since(
    array: Any, change: str | None
) -> None:
    sfm = key_of_photos(array, BASE)
    train = content_key("t" * 64, {"size": 1}, [sfm])
    if change:
        array.put("photos/harbour/a.jpg", "B")
    actual = key_of_photos(array, BASE)
    array.of("first", "sfm")
    array.request.update(content_key=sfm)
    log = alone(array)
    assert (sfm in log) == bool(change) == (actual != sfm)
    assert array.report["content_key"] == actual

    output = f"s3://{array.output_bucket}/{array.prefix}"
    array.of("first", "train")
    array.request.update(content_base="t" * 64, content_key=train, input=[output])
    log = alone(array)
    assert (train in log) == bool(change)
    follows = content_key("t" * 64, {"size": 1}, [actual])
    assert array.report["content_key"] == follows
    assert set(array.objects("reuse/")) == {f"{actual}.json", f"{follows}.json"}


@pytest.fixture
def in_a_folder(array: Any) -> Any:
    """The same array with a script that brings its folder, as a submission found it."""
    array.script(WRITE, "stages/sfm.py")
    array.put("stages/splatkit/errors.py", "")
    array.put("stages/", "")
    found = array.s3.list_objects_v2(Bucket=array.input_bucket, Prefix="stages/")["Contents"]
    array.request["script_digest"] = script_digest((each["Key"], each["ETag"]) for each in found)
    return array


def test_scripts_that_are_those_of_the_submission_change_nothing(in_a_folder: Any) -> None:
    assert child(in_a_folder)[0]
    in_a_folder.of("second")
    assert not child(in_a_folder)[0]


@pytest.mark.parametrize("given", [False, True], ids=["key of its own", "the dispatcher's key"])
@pytest.mark.parametrize("replaced", ["stages/sfm.py", "stages/splatkit/errors.py", "stages/splatkit/new.py"])
def test_scripts_replaced_after_the_submission_are_neither_looked_up_nor_recorded(
    in_a_folder: Any, replaced: str, given: bool
) -> None:
    job = in_a_folder
    child(job)
    recorded = job.objects("reuse/")
    job.put(replaced, WRITE + "# another")
    job.of("second")
    if given:
        job.request["content_key"] = "d" * 64
    ran, log = child(job)
    assert ran and "not what it was at submission" in log
    assert report(job)["content_key"] is None and job.objects("reuse/").keys() == recorded.keys()
    assert entry_of(job, recorded) == {"output_prefix": "runs/demo/first/script/0/"}


def entry_of(job: Any, recorded: dict[str, Any]) -> dict[str, Any]:
    [name] = recorded
    return json.loads(job.read(name, "reuse/"))


def stage(job: Any, run: str, name: str, before: str | None = None, **request: Any) -> bool:
    job.of(run, name)
    uri = f"s3://{job.output_bucket}/runs/demo/{run}/{before}/" if before else job.uri("photos/harbour/")
    job.request = {**job.request, "content_base": name[0] * 64, "fresh": False, "input": [uri], **request}
    job.request["input_by_index"] = [before is not None]
    return child(job)[0]


def test_a_chain_of_arrays_is_used_again_whole(array: Any) -> None:
    assert stage(array, "first", "sfm") and stage(array, "first", "train", "sfm")
    key = report(array)["content_key"]
    sfm = json.loads(array.read("0/job.json", "runs/demo/first/sfm/"))["content_key"]
    assert key == content_key("t" * 64, {"size": 1}, [sfm])
    assert not stage(array, "second", "sfm") and not stage(array, "second", "train", "sfm")
    assert report(array)["content_key"] == key and report(array)["reused_from"] == "runs/demo/first/train/0/"


def test_what_was_made_of_a_copy_is_found_by_who_has_another_copy_of_the_same(array: Any) -> None:
    stage(array, "first", "sfm")
    other = {"parameters": {"size": 7}}
    assert not stage(array, "second", "sfm") and stage(array, "second", "train", "sfm", **other)
    assert report(array)["inputs"][0]["origin"] == f"s3://{array.output_bucket}/runs/demo/first/sfm/0/"
    assert not stage(array, "third", "sfm", parameters={"size": 1}) and not stage(
        array, "third", "train", "sfm", **other
    )
    assert report(array)["reused_from"] == "runs/demo/second/train/0/"


def test_what_was_made_of_another_run_of_the_stage_before_is_not_used(array: Any) -> None:
    stage(array, "first", "sfm")
    stage(array, "first", "train", "sfm")
    key = report(array)["content_key"]
    assert stage(array, "second", "sfm", fresh=True)
    assert stage(array, "second", "train", "sfm")
    assert report(array)["content_key"] == key


def test_input_that_was_changed_by_hand_counts_by_its_files(array: Any) -> None:
    stage(array, "first", "sfm")
    stage(array, "first", "train", "sfm")
    key = report(array)["content_key"]
    time.sleep(1.1)  # S3 counts seconds
    array.s3.put_object(Bucket=array.output_bucket, Key="runs/demo/first/sfm/0/page.html", Body=b"mine")
    assert stage(array, "first", "train", "sfm")
    assert report(array)["content_key"] != key and report(array)["inputs"][0]["origin"] is None
    with pytest.raises(ClientError):
        array.s3.head_object(Bucket=array.output_bucket, Key=f"{array.prefix}0/_RUNNING")
