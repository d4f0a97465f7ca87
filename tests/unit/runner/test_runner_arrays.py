"""Children of an array: each takes its own scene, its own part of the stage before, its own variant of a sweep."""

import json
import re
from typing import Any

import pytest

from jobrunner.fetch.request import ChildRequest, read_child_request
from jobrunner.settings import Settings
from splatworks.contract.documents.codec import PUSH_THE_IMAGE, DocumentError
from splatworks.contract.exit_codes import ContainerCode

SHOW = """
import json, os
from pathlib import Path
root = Path(os.environ["INPUT_DIR"])
files = {str(path.relative_to(root)): path.read_text() for path in sorted(root.rglob("*")) if path.is_file()}
seen = {
    "files": files,
    "parameters": json.loads(Path(os.environ["PARAMETERS_FILE"]).read_text()),
    "environment": {name: value for name, value in os.environ.items() if name.startswith("PARAM_")},
}
(Path(os.environ["OUTPUT_DIR"]) / "seen.json").write_text(json.dumps(seen))
"""


def child(job: Any, index: int) -> Any:
    ended = job.run(AWS_BATCH_JOB_ARRAY_INDEX=str(index))
    assert ended.exit_code == 0, ended.stderr
    return json.loads(job.read(f"{index}/seen.json"))


def scenes(job: Any, *entries: Any) -> None:
    job.s3.put_object(Bucket=job.output_bucket, Key="runs/demo/scenes.json", Body=json.dumps(entries))
    job.request["scenes_key"] = "runs/demo/scenes.json"


def failure(
    job: Any, index: str, exit_code: int = ContainerCode.FAILED, ended_as: str = "runner_error"
) -> dict[str, Any]:
    ended = job.run(AWS_BATCH_JOB_ARRAY_INDEX=index)
    prefix = f"{index}/" if index else ""
    report = json.loads(job.read(f"{prefix}job.json"))
    assert (ended.exit_code, report["ended"]) == (exit_code, ended_as), ended.stderr
    assert "never" not in ended.stdout and "Traceback" not in ended.stderr
    return report["error"]


def test_each_child_reads_its_own_scene_in_the_place_of_the_input(job: Any) -> None:
    job.put("photos/harbour/a.jpg", "A")
    job.put("photos/castle/a.jpg", "B")
    job.put("photos/castle.zip", "Z")
    job.script(SHOW)
    job.request.update(input=[job.uri("photos/")], input_layout="by_name")
    scenes(
        job,
        {"name": "harbour", "input": [job.uri("photos/harbour/")]},
        {"name": "castle", "input": [job.uri("photos/castle/"), job.uri("photos/castle.zip")]},
    )
    assert child(job, 0)["files"] == {"a.jpg": "A"}
    assert child(job, 1)["files"] == {"a.jpg": "B", "castle.zip": "Z"}
    inputs = json.loads(job.read("1/job.json"))["inputs"]
    assert [each["uri"] for each in inputs] == [job.uri("photos/castle/"), job.uri("photos/castle.zip")]


def test_each_child_reads_its_own_part_of_an_array_before_it(job: Any) -> None:
    for index in (0, 1):
        job.put(f"runs/x/sfm/{index}/cameras.txt", f"sfm {index}")
        job.put(f"runs/x/train/{index}/splat.ply", f"train {index}")
    job.put("runs/x/once/model.txt", "shared")
    job.script(SHOW)
    job.request.update(
        input=[job.uri("runs/x/sfm/"), job.uri("runs/x/train"), job.uri("runs/x/once/")],
        input_by_index=[True, True, False],
        input_layout="by_name",
    )
    assert child(job, 1)["files"] == {
        "sfm/cameras.txt": "sfm 1", "train/splat.ply": "train 1", "once/model.txt": "shared",
    }  # fmt: skip


def test_a_scene_that_is_carried_lies_beside_the_part_of_the_array_before(job: Any) -> None:
    for index, place in enumerate(("photos/harbour/", "photos/train/")):
        job.put(f"{place}georeference.json", f"scene {index}")
        job.put(f"runs/x/train/{index}/splat.ply", f"train {index}")
    job.put("photos/castle.zip", "Z")
    job.script(SHOW)
    scenes(
        job,
        {"name": "harbour", "input": [job.uri("photos/harbour/"), job.uri("photos/castle.zip")]},
        {"name": "train", "input": [job.uri("photos/train")]},
    )
    job.request["carried_scenes_key"] = job.request.pop("scenes_key")
    job.request.update(input=[job.uri("runs/x/train/")], input_by_index=[True], input_layout="by_name")
    assert child(job, 0)["files"] == {
        "sfm/georeference.json": "scene 0", "sfm/castle.zip": "Z", "train/splat.ply": "train 0",
    }  # fmt: skip
    assert child(job, 1)["files"] == {"sfm/georeference.json": "scene 1", "train/splat.ply": "train 1"}
    inputs = json.loads(job.read("1/job.json"))["inputs"]
    assert [each["uri"] for each in inputs] == [job.uri("photos/train"), job.uri("runs/x/train/1/")]


def test_a_part_of_the_array_before_lands_in_the_input_folder_itself_when_it_is_the_only_one(job: Any) -> None:
    job.put("runs/x/sfm/3/sparse/cameras.txt", "sfm 3")
    job.script(SHOW)
    job.request.update(input=[job.uri("runs/x/sfm/")], input_by_index=[True], input_layout="flat")
    assert child(job, 3)["files"] == {"sparse/cameras.txt": "sfm 3"}


def test_each_child_of_a_sweep_runs_with_its_variant_over_the_parameters(job: Any) -> None:
    job.script(SHOW)
    job.request.update(
        parameters={"quality": "draft", "cap_max": 1},
        variants=[{"cap_max": 200000}, {"cap_max": 500000, "masks": True}],
    )
    expected = {"quality": "draft", "cap_max": 500000, "masks": True}
    seen = child(job, 1)
    assert seen["parameters"] == expected
    assert seen["environment"] == {"PARAM_QUALITY": "draft", "PARAM_CAP_MAX": "500000", "PARAM_MASKS": "true"}
    assert json.loads(job.read("1/job.json"))["parameters"] == expected
    assert child(job, 0)["parameters"] == {"quality": "draft", "cap_max": 200000}


@pytest.mark.parametrize("field", ["scenes", "variants"])
def test_a_child_beyond_the_last_entry_is_told_so(job: Any, field: str) -> None:
    job.script("print('never')")
    if field == "scenes":
        scenes(job, {"name": "only", "input": [job.uri("photos/")]})
    else:
        job.request["variants"] = [{"cap_max": 1}]
    error = failure(job, "1")
    assert error["code"] == "no_such_child"
    assert "child 1" in error["cause"] and f"1 {field}" in error["cause"]


def test_scenes_that_are_gone_are_named(job: Any) -> None:
    job.script("print('never')")
    job.request["scenes_key"] = "runs/demo/scenes.json"
    error = failure(job, "0")
    assert error["code"] == "no_scenes" and "runs/demo/scenes.json" in error["cause"]


class Documents:
    """A store that holds a request and its scenes."""

    def __init__(self, **documents: Any) -> None:
        self._documents = documents

    def read(self, bucket: str, key: str) -> bytes:
        return json.dumps(self._documents[key]).encode()


def parsed(array_index: int | None, scenes: Any = None, **job: Any) -> ChildRequest:
    """Read the request as the child does, without a runner around it."""
    names = ["ML_INPUT_BUCKET", "ML_OUTPUT_BUCKET", "REQUEST_KEY", "OUTPUT_PREFIX"]
    index = {} if array_index is None else {"AWS_BATCH_JOB_ARRAY_INDEX": str(array_index)}
    settings = Settings.from_environment({**dict.fromkeys(names, "x"), **index})
    job = {"script_key": "jobs/a.py", "checkpoint_prefix": "checkpoints/a/", **job}
    documents = {"x": {"version": 1, "message": {}, "job": job}, "scenes.json": scenes}
    return read_child_request(settings, Documents(**documents))  # type: ignore[arg-type]


@pytest.mark.parametrize("entry", [{}, {"input": "s3://b/k/"}, {"input": []}, {"input": [1]}, "s3://b/k/"])
def test_a_scene_of_another_shape_is_named_with_its_index(entry: Any) -> None:
    with pytest.raises(DocumentError, match=r"s3://x/scenes.json.* entry 1"):
        parsed(1, [{"input": ["s3://b/k/"]}, entry], scenes_key="scenes.json")


def test_scenes_that_are_no_list_are_refused(job: Any) -> None:
    job.script("print('never')")
    for body in (b"{", b"{}"):
        job.s3.put_object(Bucket=job.output_bucket, Key="runs/demo/scenes.json", Body=body)
        job.request["scenes_key"] = "runs/demo/scenes.json"
        assert failure(job, "0")["code"] == "bad_document"


def test_scenes_of_a_later_version_are_refused_for_good_and_ask_for_the_image(job: Any) -> None:
    job.script("print('never')")
    job.s3.put_object(Bucket=job.output_bucket, Key="scenes.json", Body=b'{"version": 2, "scenes": []}')
    job.request["scenes_key"] = "scenes.json"
    error = failure(job, "0", 2, "input_error")
    assert "scenes.json has version 2" in error["cause"] and error["fix"] == PUSH_THE_IMAGE


@pytest.mark.parametrize(
    "change",
    [
        {"scenes_key": "runs/demo/scenes.json"},
        {"carried_scenes_key": "runs/demo/scenes.json"},
        {"variants": [{"a": 1}]},
        {"input": ["s3://b/k/"], "input_by_index": [True]},
    ],
)
def test_a_request_of_an_array_without_an_index_is_refused(job: Any, change: dict[str, Any]) -> None:
    job.script("print('never')")
    job.request.update(change)
    error = failure(job, "")
    assert error["code"] == "bad_document" and "AWS_BATCH_JOB_ARRAY_INDEX" in error["cause"]


@pytest.mark.parametrize(
    "change",
    [
        {"scenes_key": 1}, {"carried_scenes_key": 1}, {"variants": {}}, {"variants": [1]},
        {"input_by_index": [1]},
        {"input_by_index": [True, False]}, {"run_key": 1}, {"content_base": 1}, {"content_key": []},
        {"script_digest": 1}, {"fresh": "yes"}, {"max_cost_usd": "3"}, {"max_cost_usd": 0}, {"max_cost_usd": True},
    ],
)  # fmt: skip
def test_fields_of_another_shape_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(DocumentError) as refused:
        parsed(0, **change)
    assert re.search(rf"^s3://x/x(, job,)? has .*{next(iter(change))}", str(refused.value))


def test_a_variant_with_a_value_that_is_no_scalar_is_refused() -> None:
    with pytest.raises(DocumentError, match=r"^s3://x/x has parameter 'a'"):
        parsed(0, variants=[{"a": [1]}])


def test_fields_that_are_null_are_as_absent(job: Any) -> None:
    job.script(SHOW)
    names = ["run_key", "scenes_key", "input_by_index", "variants", "content_base", "content_key", "script_digest"]
    job.request.update(dict.fromkeys([*names, "carried_scenes_key", "fresh", "max_cost_usd", "operation"]))
    assert child(job, 0)["files"] == {}
