"""splatworks open and download: the page's link, and the files of a run on this machine."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

Splatworks = Callable[..., Any]

RUN = "harbour-0123456789ab"
PREFIX = f"runs/coast/{RUN}/"


@pytest.fixture
def run(deployed: Any) -> Any:
    deployed.batch.add(f"{RUN}-compress", "SUCCEEDED", prefix=f"{PREFIX}compress/", stage="compress")
    deployed.put(f"{PREFIX}leaderboard.csv", b"variant\n")
    for name in ("viewer/index.html", "scene.sog", "job.json", "_SUCCESS"):
        deployed.put(f"{PREFIX}compress/{name}", name.encode())
    return deployed


def test_the_link_shows_the_page_in_a_browser_and_expires(
    run: Any, splatworks: Splatworks, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("typer.launch", opened.append)
    ended = splatworks("open", RUN, "--hours", "2")
    assert ended.code == 0, ended.err
    link = urlsplit(ended.out.strip())
    query = parse_qs(link.query)
    assert link.path.endswith(f"{PREFIX}compress/viewer/index.html")
    assert query["X-Amz-Expires"] == ["7200"]
    assert query["response-content-type"] == ["text/html; charset=utf-8"]
    assert opened == [ended.out.strip()]
    splatworks("open", RUN, "--print")
    assert len(opened) == 1


def test_a_link_for_longer_than_aws_signs_is_refused(run: Any, splatworks: Splatworks) -> None:
    assert splatworks("open", RUN, "--print", "--hours", "200").code == 2


def test_a_page_that_is_not_there_is_told(deployed: Any, splatworks: Splatworks) -> None:
    deployed.batch.add(f"{RUN}-compress", "RUNNING", prefix=f"{PREFIX}compress/", stage="compress")
    ended = splatworks("open", RUN, "--print")
    assert (ended.code, ended.out) == (2, "")
    assert "does not exist" in ended.err
    deployed.batch.add("count-0123456789ab", "SUCCEEDED", prefix="runs/p/count-0123456789ab/count/", stage="count")
    assert "splatworks download count-0123456789ab" in splatworks("open", "count", "--print").err


def test_a_page_of_several_is_named_by_its_index(deployed: Any, splatworks: Splatworks) -> None:
    parts = {"size": 3, "statusSummary": {"SUCCEEDED": 3}}
    deployed.batch.add(
        f"{RUN}-compress", "SUCCEEDED", prefix=f"{PREFIX}compress/", stage="compress", arrayProperties=parts
    )
    deployed.put(f"{PREFIX}compress/1/viewer/index.html", b"x")
    assert "--index 0 (to 2)" in splatworks("open", RUN, "--print").err
    assert f"{PREFIX}compress/1/viewer/index.html" in splatworks("open", RUN, "--print", "--index", "1").out
    assert splatworks("open", RUN, "--print", "--index", "3").code == 2


def test_files_come_into_a_folder_per_stage(run: Any, splatworks: Splatworks, tmp_path: Path) -> None:
    ended = splatworks("download", RUN, "--to", tmp_path / "got")
    assert ended.code == 0, ended.err
    assert (tmp_path / "got" / "compress" / "viewer" / "index.html").read_text() == "viewer/index.html"
    assert (tmp_path / "got" / "compress" / "_SUCCESS").exists()
    assert (tmp_path / "got" / "leaderboard.csv").exists()
    assert "5 files" in ended.err
    only = splatworks("download", RUN, "compress", "--to", tmp_path / "one")
    assert (only.code, (tmp_path / "one" / "leaderboard.csv").exists()) == (0, False)


def test_keys_that_lead_out_of_the_folder_are_not_written(run: Any, splatworks: Splatworks, tmp_path: Path) -> None:
    run.put(f"{PREFIX}compress/a/../../../evil", b"x")
    ended = splatworks("download", RUN, "--to", tmp_path / "got")
    assert ended.code == 2
    assert not list(tmp_path.rglob("evil"))


@pytest.mark.parametrize("blocked", ["got", "got/compress", "got/compress/job.json/x"])
def test_a_place_that_cannot_be_written_is_told_with_what_to_do(
    run: Any, splatworks: Splatworks, tmp_path: Path, blocked: str
) -> None:
    (tmp_path / blocked).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / blocked).write_text("a file")
    ended = splatworks("download", RUN, "--to", tmp_path / "got")
    assert ended.code == 2
    assert f"error: {tmp_path / 'got'}" in ended.err
    assert "cannot be written: " in ended.err
    assert "Name another folder with --to." in ended.err
    assert "Errno" not in ended.err


def test_a_run_without_files_is_told(deployed: Any, splatworks: Splatworks, tmp_path: Path) -> None:
    deployed.batch.add(f"{RUN}-compress", "RUNNABLE", prefix=f"{PREFIX}compress/", stage="compress")
    ended = splatworks("download", RUN, "--to", tmp_path / "got")
    assert ended.code == 2
    assert "no files yet" in ended.err
