"""make demo, without the platform: what it takes, what it leaves, what it tells."""

import json
import re
from pathlib import Path

import pytest
from message import check

from local.demo import DemoError, check_photos, demo_message, prepare
from local.demo_results import PAGE, write_index


def test_its_message_is_one_that_the_dispatcher_takes() -> None:
    check(demo_message())
    assert demo_message()["data"]["train"]["compute_type"] == "cpu"


def test_photos_that_are_no_folder_or_none_are_refused_with_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(DemoError, match="make demo PHOTOS="):
        check_photos(tmp_path / "nowhere")
    with pytest.raises(DemoError, match="holds no files"):
        check_photos(tmp_path)


def test_a_folder_of_somebody_elses_is_left_alone_and_an_earlier_demos_is_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "demo-output"
    prepare(folder)
    (folder / "scene.html").touch()
    prepare(folder)
    assert not (folder / "scene.html").exists()
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").touch()
    with pytest.raises(DemoError, match="no demo wrote"):
        prepare(mine)
    assert (mine / "thesis.txt").exists()


def test_the_index_links_what_is_there_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / PAGE).touch()
    train = tmp_path / "scene" / "train"
    train.mkdir(parents=True)
    (train / "splat.ply").touch()
    (train / "result.json").write_text(json.dumps({"metrics": {"psnr": 23.1817, "gaussians": 30000}}))
    text = write_index(tmp_path, "demo <1>", "Done after 4 s.").read_text()
    assert re.findall(r'href="([^"]+)"', text) == [PAGE, "scene/train/splat.ply"]
    assert "23.18 dB PSNR" in text and "30,000 Gaussians" in text
    assert "demo &lt;1&gt;" in text and "<1>" not in text
    assert "<img" not in text  # there is no thumbnail
