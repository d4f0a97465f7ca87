"""make demo, without the platform: what it takes, what it leaves, what it tells."""

import datetime
import io
import json
import re
from pathlib import Path

import pytest
from rich.console import Console

from local.delivery.outbox import SentEmail
from local.demo import command, display
from local.demo.command import DemoError, check_photos, demo_message, prepare, run_demo
from local.demo.display import TerraformBar, show_email
from local.demo.results import CONTENTS, PAGE, write_index
from scripts.check_page import PHONE, NoBrowserError, width_on_a_phone
from splatworks.planning.message import check


def test_its_message_is_one_that_the_dispatcher_takes() -> None:
    check(demo_message())
    assert demo_message()["data"]["train"]["compute_type"] == "cpu"


def test_photos_that_are_no_folder_or_none_are_refused_with_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(DemoError, match="make demo PHOTOS="):
        check_photos(tmp_path / "nowhere")
    with pytest.raises(DemoError, match="holds no files"):
        check_photos(tmp_path)


def test_links_among_the_photos_are_followed_and_dead_ones_are_named(tmp_path: Path) -> None:
    for folder in ("mine", "elsewhere"):
        (tmp_path / folder).mkdir()
    (tmp_path / "elsewhere" / "a.jpg").touch()
    (tmp_path / "mine" / "flight2").symlink_to(tmp_path / "elsewhere")
    check_photos(tmp_path / "mine")
    (tmp_path / "mine" / "gone.jpg").symlink_to(tmp_path / "nowhere")
    with pytest.raises(DemoError, match=r"(?s)gone.jpg is a link that leads nowhere.*remove them"):
        check_photos(tmp_path / "mine")


def test_a_folder_of_somebody_elses_is_left_alone_and_an_earlier_demos_is_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "demo-output"
    prepare(folder, None)
    (folder / "scene.html").touch()
    prepare(folder, None)
    assert not (folder / "scene.html").exists()
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").touch()
    with pytest.raises(DemoError, match="no earlier run wrote"):
        prepare(mine, None)
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


def test_the_index_fits_a_phone(tmp_path: Path) -> None:
    for name, _ in CONTENTS:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        if not (tmp_path / name).is_dir():
            (tmp_path / name).touch()
    try:
        assert width_on_a_phone(write_index(tmp_path, "demo-0123456789ab", "Done after 4 s.")) == PHONE[0]
    except NoBrowserError as reason:
        pytest.skip(str(reason))


@pytest.mark.parametrize(
    ("photos", "folder"),
    [("out/survey/photos", "out"), ("out", "out"), ("link", "out"), ("mine", "mine/out"), ("out", "out/survey")],
)
def test_photos_are_never_replaced_by_the_results(tmp_path: Path, photos: str, folder: str) -> None:
    kept = [tmp_path / "out" / "survey" / "photos" / "1.jpg", tmp_path / "mine" / "1.jpg"]
    for path in kept:
        path.parent.mkdir(parents=True)
        path.touch()
    for marked in ("out", "out/survey"):
        (tmp_path / marked / command.MARK).touch()
    (tmp_path / "link").symlink_to(tmp_path / "out" / "survey")
    with pytest.raises(DemoError, match=r"one lies in the other.*--folder"):
        run_demo(tmp_path / photos, tmp_path / folder, Console(file=io.StringIO()))
    assert all(path.exists() for path in kept)


def test_the_tilde_that_zsh_leaves_in_photos_is_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "my-photos").mkdir()
    with pytest.raises(DemoError, match=re.escape(f"{tmp_path / 'my-photos'} holds no files")):
        run_demo(Path("~/my-photos"), tmp_path / "out", Console(file=io.StringIO()))


def test_brackets_in_names_and_emails_are_shown_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    console = Console(file=io.StringIO(), width=300)
    at = datetime.datetime(2026, 1, 31, tzinfo=datetime.UTC)
    show_email(SentEmail(subject="[drone] is [/a] done", body="[b]", to="a@example.org", path=tmp_path, at=at), console)
    TerraformBar(console)("made [drone][/a]")
    display.show_results(tmp_path / "[drone]", tmp_path / "[/a].html", "Done.", console)
    told = console.file.getvalue()  # type: ignore[attr-defined]
    for text in ("[drone] is [/a] done", "made [drone][/a]", "[/a].html"):
        assert text in told
    monkeypatch.setattr("signal.signal", lambda *_: None)
    assert command.main(tmp_path / "[drone][/a]", tmp_path / "out") == 2
    assert "[drone][/a] is not a folder" in capsys.readouterr().out
