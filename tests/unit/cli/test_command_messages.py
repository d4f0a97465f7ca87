"""splatworks message: from options to the message, checked before anything is asked of AWS."""

import hashlib
import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Splatworks = Callable[..., Any]


def data_of(ended: Any) -> dict[str, Any]:
    assert ended.code == 0, ended.err
    data: dict[str, Any] = ended.json["data"]
    return data


def test_the_simplest_message_names_its_input_and_has_a_request_id_of_its_own(splatworks: Splatworks) -> None:
    first, second = data_of(splatworks("message", "photos/harbour/")), data_of(splatworks("message", "photos/harbour/"))
    assert first.pop("request_id") != second.pop("request_id")
    assert first == second == {"input": "photos/harbour/", "job_name": "harbour"}


def test_options_of_stages_land_where_the_dispatcher_reads_them(splatworks: Splatworks) -> None:
    options = ["--steps", "full", "--preset", "draft", "--set", "train.cap_max=200000", "--set", "sfm.quality=high"]
    machines = ["--cpu", "train", "--job", "train.timeout_seconds=7200", "--max-cost", "3.5", "--fresh"]
    labels = ["--name", "pier", "--project-label", "coast", "--user", "ann", "--experiment", "first"]
    ended = splatworks("message", "photos/harbour/", *options, *machines, *labels, "--request-id", "r-1")
    assert ended.json == {
        "trigger_type": "splat_pipeline",
        "data": {
            "steps": "full",
            "preset": "draft",
            "sfm": {"parameters": {"quality": "high"}},
            "train": {"compute_type": "cpu", "timeout_seconds": 7200, "parameters": {"cap_max": 200000}},
            "fresh": True,
            "input": "photos/harbour/",
            "job_name": "pier",
            "request_id": "r-1",
            "max_cost_usd": 3.5,
        },
        "metadata": {"user": "ann", "project": "coast", "experiment": "first"},
    }


@pytest.mark.parametrize(
    ("text", "value"),
    [("true", True), ("0.5", 0.5), ("7", 7), ("fast", "fast"), ('"7"', "7"), ("[1]", "[1]"), ("NaN", "NaN"), ("", "")],
)
def test_values_are_read_as_json_scalars_and_else_are_text(splatworks: Splatworks, text: str, value: Any) -> None:
    data = data_of(splatworks("message", "photos/harbour/", "--set", f"compress.title={text}"))
    assert data["compress"]["parameters"]["title"] == value
    assert type(data["compress"]["parameters"]["title"]) is type(value)


def test_a_sweep_is_lists_of_values(splatworks: Splatworks) -> None:
    ended = splatworks("message", "photos/a/", "--sweep", "train.cap_max=100,200", "--sweep", "compress.sh_degree=0,3")
    assert data_of(ended)["sweep"] == {"train": {"cap_max": [100, 200]}, "compress": {"sh_degree": [0, 3]}}


def test_several_scenes_and_two_inputs_of_compression(splatworks: Splatworks) -> None:
    assert data_of(splatworks("message", "photos/batch/", "--several"))["inputs"] == "photos/batch/"
    two = ["s3://bucket/runs/p/r/sfm/", "s3://bucket/runs/p/r/train/"]
    assert data_of(splatworks("message", *two, "--steps", "compress"))["input"] == two


def test_a_script_is_a_batch_job(splatworks: Splatworks) -> None:
    ended = splatworks(
        "message", "photos/a/", "--script", "jobs/count.py", "--cpu", "script", "--set", "n=3",
        "--args", "--limit 5 'two words'", "--operation", "count", "--job", "memory=8000", "--request-id", "r",
    )  # fmt: skip
    assert ended.json["trigger_type"] == "batch_job"
    assert data_of(ended) == {
        "script_key": "jobs/count.py",
        "compute_type": "cpu",
        "memory": 8000,
        "args": ["--limit", "5", "two words"],
        "operation": "count",
        "parameters": {"n": 3},
        "input": "photos/a/",
        "job_name": "count",
        "request_id": "r",
    }


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "What should it run on?"),
        ([""], "An INPUT is empty."),
        (["photos/a/", " "], "An INPUT is empty."),
        (["photos/a/", "--steps", "ful"], "data.steps"),
        (["photos/a/", "--set", "trian.cap_max=1"], "Did you mean train?"),
        (["photos/a/", "--set", "cap_max=1"], "--set train.cap_max=1"),
        (["photos/a/", "--set", "train.cap_max"], "stage.name=value"),
        (["photos/a/", "--cpu", "trian"], "Did you mean train?"),
        (["photos/a/", "--cpu", "train", "--gpu", "train"], "cannot both be"),
        (["photos/a/", "--job", "train.memroy=1"], "Did you mean memory?"),
        (["photos/a/", "--max-cost", "-1"], "data.max_cost_usd"),
        (["photos/a/", "--max-cost", "nan"], "NaN"),
        (["photos/a/", "--set", "train.x=\udcff"], "surrogate"),
        (["./\udcff"], "There is no folder or file ./\\udcff"),
        (["photos/a/", "--args", "--x"], "--args is for a script"),
        (["photos/a/", "photos/b/", "--several"], "--several takes one INPUT"),
        (["--script", "jobs/x.py", "--fresh"], "--fresh is for the pipeline"),
        (["--script", "jobs/x.py", "--args", "'"], "Quote it"),
        (["./no-such-folder"], "There is no folder or file ./no-such-folder"),
        (["photos/a/", "--name", "../x"], "data.job_name"),
        (["photos/a/", "--name", "x" * 101], "data.job_name"),
        (["photos/a/", "--set", "train.cap_mx=1"], "train has no parameter cap_mx. Did you mean cap_max?"),
        (["photos/a/", "--set", "sfm.quality=best"], "one of "),
        (["photos/a/", "--set", "train.seed=1", "--set", "train.SEED=2"], "PARAM_SEED"),
        (["photos/a/", "--sweep", "train.cap_max=1,two"], "data.sweep.train.cap_max"),
        (["photos/a/", "--steps", "compress", "--set", "train.cap_max=1"], "options of the stages that run: compress"),
        (["photos/a/", "photos/b/", "--steps", "train"], "at most 1 if the first stage is train"),
        (["https://foo/bar.zip"], "only s3:// can be read"),
        (["photos/../x/"], "it contains a . or .. part"),
        (["photos//x/"], "two slashes in a row"),
        (["s3://"], "it names a whole bucket"),
        (["photos/a/", "photos/a/"], 'Give only one location named "a"'),
        (["photos/../x/", "--several"], "data.inputs"),
        (["s3://b/runs/train/", "--steps", "train"], "a folder with another name than train"),
        (["https://foo/bar.zip", "--script", "jobs/x.py"], "only s3:// can be read"),
        (["--script", "mine/x.py"], "data.script_key"),
        (["--script", "jobs/x.py", "--set", "n=1", "--set", "N=2"], "PARAM_N"),
    ],
)
def test_a_mistake_ends_with_what_to_do_and_exit_code_2(
    splatworks: Splatworks, arguments: list[str], told: str
) -> None:
    ended = splatworks("message", *arguments)
    assert ended.code == 2
    assert told in ended.err
    assert ended.out == ""


def test_an_unknown_option_is_answered_with_the_known_one(splatworks: Splatworks) -> None:
    ended = splatworks("message", "photos/a/", "--stps", "full")
    assert ended.code == 2
    assert "--steps" in ended.err


def test_a_local_folder_becomes_a_key_and_the_command_that_uploads_it(splatworks: Splatworks, photos: Path) -> None:
    ended = splatworks("message", photos)
    assert data_of(ended)["input"] == "photos/My-Harbour/"
    (told,) = ended.err.splitlines()
    assert upload_told(told) == ["--recursive", str(photos), "s3://$INPUT_BUCKET/photos/My-Harbour/"]
    named = splatworks("message", photos, "--name", "pier")
    assert data_of(named)["input"] == "photos/pier/"


def upload_told(line: str) -> list[str]:
    """The arguments of `aws s3 cp`, as a shell would take them apart."""
    words = shlex.split(line.removeprefix("Upload first: "))
    assert words[:3] == ["aws", "s3", "cp"]
    return words[3:]


@pytest.mark.parametrize("name", ["scene.zip", "the walk.mp4", "it's.json"])
def test_a_local_file_is_uploaded_to_the_key_that_the_message_names(
    splatworks: Splatworks, tmp_path: Path, name: str
) -> None:
    (tmp_path / name).write_text("[]")
    several = ["--several"] if name.endswith(".json") else []
    ended = splatworks("message", tmp_path / name, *several)
    local, target = upload_told(ended.err.strip())
    assert local == str(tmp_path / name)
    folder = target.removeprefix("s3://$INPUT_BUCKET/")
    assert folder.endswith("/")  # a file goes below it under its own name
    assert data_of(ended)["inputs" if several else "input"] == (f"{folder}{name}" if several else folder)


def test_a_zip_is_not_uploaded_where_its_arrival_starts_a_run(splatworks: Splatworks, tmp_path: Path) -> None:
    from dispatch.uploads import started_location

    (tmp_path / "scene.zip").write_bytes(b"x")
    for local in (tmp_path / "scene.zip", tmp_path):
        given = data_of(splatworks("message", local))["input"]
        assert given.startswith("photos/") and started_location(f"{given}scene.zip") is None
    assert started_location("photos/scene.zip")


def test_a_local_list_of_scenes_is_named_as_the_object_that_it_becomes(splatworks: Splatworks, tmp_path: Path) -> None:
    (tmp_path / "batch.json").write_text('["photos/a/"]')
    assert data_of(splatworks("message", tmp_path / "batch.json", "--several"))["inputs"] == "photos/batch/batch.json"


def test_the_id_that_is_printed_is_the_one_that_the_dispatcher_makes(
    splatworks: Splatworks, monkeypatch: pytest.MonkeyPatch
) -> None:
    from splatworks.cli.messages import run_id
    from splatworks.planning.job_plan import name_of
    from splatworks.planning.message import parse
    from splatworks.planning.pipeline_order import label_of

    labels = {"photos/a.ZIP": "a", "photos/b.zip/": "b-zip", "photos/c.d/": "c-d", "lists/e.json": "e"}
    for given, label in labels.items():
        assert splatworks("message", given).json["data"]["job_name"] == label_of(given) == label
    for arguments in (["photos/Big Harbour.zip"], ["s3://b/x/y/"], ["--script", "jobs/mine/main.py"]):
        message = splatworks("message", *arguments).json
        request = parse(json.dumps(message), "sns-id")
        assert run_id(message) == name_of(request, request.data["job_name"])
    assert run_id(message) == f"main-{hashlib.sha256(request.identity.encode()).hexdigest()[:12]}"


def test_help_of_every_command_names_its_options(splatworks: Splatworks) -> None:
    listed = splatworks("--help")
    assert listed.code == 0
    assert splatworks("--version").out.strip()
    for command in ("submit", "message", "plan", "status", "logs", "cancel", "open", "download", "run-local"):
        assert command in listed.out
        told = splatworks(command, "--help")
        assert told.code == 0
        assert "Usage: splatworks" in told.out
