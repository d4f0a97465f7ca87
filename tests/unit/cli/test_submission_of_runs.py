"""splatworks submit: what is uploaded, what is published, and what stops it before."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
from boto3.s3.transfer import TransferConfig

Splatworks = Callable[..., Any]


def test_a_folder_is_uploaded_and_one_message_published(deployed: Any, splatworks: Splatworks, photos: Path) -> None:
    ended = splatworks("submit", photos, "--preset", "draft", "--request-id", "r-1")
    assert ended.code == 0, ended.err
    assert [key for key in deployed.keys("demo-input") if key.startswith("photos/")] == [
        "photos/My-Harbour/1.jpg",
        "photos/My-Harbour/2.jpg",
        "photos/My-Harbour/sub/3.jpg",
    ]
    (message,) = deployed.messages()
    assert message["trigger_type"] == "splat_pipeline"
    assert message["data"] == {
        "preset": "draft",
        "input": "photos/My-Harbour/",
        "job_name": "My-Harbour",
        "request_id": "r-1",
    }
    assert ended.out == f"My-Harbour-{hashlib.sha256(b'r-1').hexdigest()[:12]}\n"
    assert "splatworks status --watch" in ended.err


def test_a_second_upload_sends_only_what_has_changed(deployed: Any, splatworks: Splatworks, photos: Path) -> None:
    splatworks("submit", photos)
    (photos / "1.jpg").write_bytes((photos / "1.jpg").read_bytes()[::-1])  # the same size, other content
    refused = splatworks("submit", photos, "--keep-others")
    assert (refused.code, "1 files (1.jpg)" in refused.err, "--replace" in refused.err) == (2, True, True)
    ended = splatworks("submit", photos, "--replace")
    assert "1 files uploaded, 2 were there already" in ended.err
    body = boto3.client("s3", "us-east-1").get_object(Bucket="demo-input", Key="photos/My-Harbour/1.jpg")["Body"].read()
    assert body == (photos / "1.jpg").read_bytes()


def test_a_file_sent_in_parts_is_recognised(
    deployed: Any, splatworks: Splatworks, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("splatworks.cli.uploads.PART", 5 * 1024 * 1024)  # the least that S3 takes
    (photos / "video.mp4").write_bytes(bytes(range(256)) * 45_000)  # 11 MB: three parts
    splatworks("submit", photos)
    head = boto3.client("s3", "us-east-1").head_object(Bucket="demo-input", Key="photos/My-Harbour/video.mp4")
    assert head["ETag"].endswith('-3"')
    assert "0 files uploaded, 4 were there already" in splatworks("submit", photos).err
    for part in (6, 7):  # MiB; as the AWS CLI sends it, and as nobody does
        put_in_parts(photos / "video.mp4", part * 2**20)
        monkeypatch.setattr("splatworks.cli.uploads.PART_OF_AWS_CLI", 6 * 2**20)
        assert (splatworks("submit", photos).code == 0) == (part == 6)


def put_in_parts(path: Path, part: int) -> None:
    config = TransferConfig(multipart_threshold=part, multipart_chunksize=part)
    boto3.client("s3", "us-east-1").upload_file(
        str(path), "demo-input", f"photos/My-Harbour/{path.name}", Config=config
    )


def test_another_sets_photos_of_the_same_names_are_not_lost_unasked(
    deployed: Any, splatworks: Splatworks, photos: Path, tmp_path: Path
) -> None:
    splatworks("submit", photos, "--name", "pier")
    deployed.messages()
    other = tmp_path / "other"
    shutil.copytree(photos, other)
    (other / "1.jpg").write_bytes(b"another camera's")
    refused = splatworks("submit", other, "--name", "pier")
    assert refused.code == 2
    assert "1 files (1.jpg) of the same names" in refused.err
    assert deployed.messages() == []
    head = boto3.client("s3", "us-east-1").head_object(Bucket="demo-input", Key="photos/pier/1.jpg")
    assert head["ContentLength"] == (photos / "1.jpg").stat().st_size


def test_several_folders_go_to_a_folder_each_and_none_before_all_are_free(
    deployed: Any, splatworks: Splatworks, tmp_path: Path
) -> None:
    for day in ("day1", "day2"):
        (tmp_path / day).mkdir()
        (tmp_path / day / "1.jpg").write_bytes(day.encode())
    deployed.put("photos/pier-day2/other.jpg", b"x", "demo-input")
    days = [tmp_path / "day1", tmp_path / "day2"]
    assert splatworks("submit", *days, "--name", "pier").code == 2
    assert "photos/pier-day1/1.jpg" not in deployed.keys("demo-input")
    ended = splatworks("submit", *days, "--name", "pier", "--keep-others")
    assert ended.code == 0, ended.err
    assert {"photos/pier-day1/1.jpg", "photos/pier-day2/1.jpg"} <= set(deployed.keys("demo-input"))
    (message,) = deployed.messages()
    assert message["data"]["input"] == ["photos/pier-day1/", "photos/pier-day2/"]
    assert message["data"]["job_name"] == "pier"


def test_folders_of_one_name_are_refused(deployed: Any, splatworks: Splatworks, tmp_path: Path) -> None:
    folders = [tmp_path / card / "DCIM" for card in ("a", "b")]
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / "1.jpg").write_bytes(str(folder).encode())
    ended = splatworks("submit", *folders)
    assert ended.code == 2
    assert f"{folders[0]} and {folders[1]} would both be uploaded to photos/DCIM/" in ended.err


def test_files_of_another_set_are_not_mixed_in_unasked(deployed: Any, splatworks: Splatworks, photos: Path) -> None:
    deployed.put("photos/My-Harbour/other.jpg", b"x", "demo-input")
    refused = splatworks("submit", photos)
    assert refused.code == 2
    assert "other.jpg" in refused.err
    assert deployed.messages() == []
    assert splatworks("submit", photos, "--keep-others").code == 0


def test_what_the_dispatcher_would_refuse_is_told_before_anything_is_uploaded(
    deployed: Any, splatworks: Splatworks, photos: Path
) -> None:
    ended = splatworks("submit", photos, "--job", "train.gpus=9")
    assert ended.code == 2
    assert "data.train.gpus" in ended.err
    assert not [key for key in deployed.keys("demo-input") if key.startswith("photos/")]
    assert deployed.messages() == []


@pytest.mark.parametrize(
    ("entries", "told"),
    [
        ("[]", "at least one scene"),
        ("{}", "a JSON list of locations"),
        ("[", "a JSON list"),
        ('["\\ud800"]', "surrogate"),
        ('[{"name": "a"}]', "data.inputs[0]"),
        ('["photos/a/", {"input": "photos/a/", "nmae": "b"}]', "Did you mean name?"),
        ('["photos/a/", "photos/b/../a/"]', "it contains a . or .. part"),
        ('["photos/a/", "photos/x/a/"]', "scenes of different names"),
        ('["photos/a/", "s3://somebody-elses/b/"]', "the buckets demo-input"),
        ('["photos/a/", "photos/nothing/"]', "Nothing is there"),
    ],
)
@pytest.mark.parametrize("command", ["submit", "plan"])
def test_a_list_of_scenes_that_the_dispatcher_would_refuse_is_not_uploaded(
    deployed: Any, splatworks: Splatworks, tmp_path: Path, entries: str, told: str, command: str
) -> None:
    deployed.put("photos/a/1.jpg", b"x", "demo-input")
    (tmp_path / "batch.json").write_text(entries)
    ended = splatworks(command, tmp_path / "batch.json", "--several")
    assert ended.code == 2
    assert told in ended.err
    assert "data.inputs" in ended.err
    assert "photos/batch/batch.json" not in deployed.keys("demo-input")
    assert deployed.messages() == []


def test_a_list_of_scenes_is_uploaded_and_named(deployed: Any, splatworks: Splatworks, tmp_path: Path) -> None:
    deployed.put("photos/a/1.jpg", b"x", "demo-input")
    (tmp_path / "batch.json").write_text('["photos/a/"]')
    ended = splatworks("submit", tmp_path / "batch.json", "--several")
    assert ended.code == 0, ended.err
    assert "photos/batch/batch.json" in deployed.keys("demo-input")
    (message,) = deployed.messages()
    assert message["data"]["inputs"] == "photos/batch/batch.json"


@pytest.mark.parametrize(
    ("names", "options", "told"),
    [
        (["1.jpg", "2.jpg"], [], "at least one scene: a folder or a zip directly below the folder"),
        (["a/1.jpg", "a.zip"], [], "scenes of different names"),
        (["a\nb/1.jpg", "c/1.jpg"], [], "it contains control characters"),
        (["train/1.jpg"], ["--steps", "train"], "a folder with another name than train"),
    ],
)
def test_a_folder_of_scenes_that_the_dispatcher_would_refuse_is_not_uploaded(
    deployed: Any, splatworks: Splatworks, tmp_path: Path, names: list[str], options: list[str], told: str
) -> None:
    for name in names:
        (tmp_path / "batch" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "batch" / name).write_text(name)
    ended = splatworks("submit", tmp_path / "batch", "--several", *options)
    assert ended.code == 2
    assert told in ended.err
    assert not [key for key in deployed.keys("demo-input") if key.startswith("photos/")]
    assert deployed.messages() == []


def test_an_input_that_is_not_there_is_refused(deployed: Any, splatworks: Splatworks) -> None:
    ended = splatworks("submit", "photos/nothing/")
    assert ended.code == 2
    assert "Nothing is there" in ended.err
    assert deployed.messages() == []


@pytest.mark.parametrize("command", ["submit", "plan"])
def test_a_variable_without_a_value_is_not_the_current_directory(
    deployed: Any, splatworks: Splatworks, photos: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.chdir(photos)
    ended = splatworks(command, "")
    assert ended.code == 2
    assert "An INPUT is empty." in ended.err
    assert (deployed.messages(), [key for key in deployed.keys("demo-input") if key.startswith("photos/")]) == ([], [])


def test_an_empty_folder_is_refused(deployed: Any, splatworks: Splatworks, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "holds no files" in splatworks("submit", tmp_path / "empty").err


def test_names_that_become_one_file_on_the_platform_are_refused(
    deployed: Any, splatworks: Splatworks, photos: Path
) -> None:
    (photos / "A.jpg").write_bytes(b"x")
    (photos / "a.jpg").write_bytes(b"y")
    ended = splatworks("submit", photos)
    assert ended.code == 2
    assert "upper and lower case" in ended.err
    assert deployed.messages() == []


def test_a_script_is_submitted_by_its_key(deployed: Any, splatworks: Splatworks) -> None:
    missing = splatworks("submit", "--script", "jobs/mine.py", "--cpu", "script")
    assert (missing.code, deployed.messages()) == (2, [])
    assert "aws s3 cp mine.py" in missing.err
    deployed.put("jobs/mine.py", b"x", "demo-input")
    assert splatworks("submit", "--script", "jobs/mine.py", "--cpu", "script").code == 0
    (message,) = deployed.messages()
    assert message["data"]["script_key"] == "jobs/mine.py"


def test_ctrl_c_stops_the_upload_and_publishes_nothing(
    deployed: Any, splatworks: Splatworks, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("splatworks.cli.uploads.etag_of", interrupted)
    deployed.put("photos/My-Harbour/1.jpg", (photos / "1.jpg").read_bytes(), "demo-input")
    ended = splatworks("submit", photos)
    assert ended.code == 130
    assert "stopped" in ended.err
    assert deployed.messages() == []
