"""Decoders work in processes of their own: what kills or hangs one costs the file it had open, and no other."""

import faulthandler
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from splatkit.sfm import photos, videos, workers
from splatkit.sfm.photos import collect
from splatkit.sfm.preparation import Prepared, UnusableError, prepare
from splatkit.sfm.workers import Tell, run_apart


def written(folder: Path, count: int = 6) -> Path:
    folder.mkdir()
    for number in range(count):
        pixels = np.random.default_rng(number).integers(0, 255, (240, 320, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.jpg")
    return folder


def left_out_of(folder: Path, work: Path) -> tuple[list[str], dict[str, str]]:
    taken, left_out = collect(folder, work, 0, 150, lambda *_: None)
    return [photo.source for photo in taken], {item.source: item.reason for item in left_out}


@pytest.mark.parametrize(
    ("ending", "words"),
    [
        (lambda: os.kill(os.getpid(), signal.SIGSEGV), "crashed (SIGSEGV)"),
        (os.abort, "crashed (SIGABRT)"),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "most likely for memory"),
        (lambda: os._exit(3), "crashed (exit code 3)"),
    ],
)
def test_the_photo_that_kills_its_decoder_is_named_and_the_others_go_on(
    ending: object, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dying(path: Path, target: Path, thumbnail: Path) -> Prepared:
        if path.name in ("1.jpg", "4.jpg"):
            faulthandler.disable()  # pytest's would print its stack
            ending()  # type: ignore[operator]
        return prepare(path, target, thumbnail)

    monkeypatch.setattr(photos, "prepare", dying)
    sources, left_out = left_out_of(written(tmp_path / "in"), tmp_path / "work")
    assert sources == ["0.jpg", "2.jpg", "3.jpg", "5.jpg"]
    assert left_out.keys() == {"1.jpg", "4.jpg"} and all(words in reason for reason in left_out.values()), left_out


def test_a_video_that_kills_its_decoder_is_named_and_the_photos_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = written(tmp_path / "in", 3)
    (folder / "clip.mp4").write_bytes(b"0")
    monkeypatch.setattr(videos, "take_frames", lambda *_: os.kill(os.getpid(), signal.SIGSEGV))
    sources, left_out = left_out_of(folder, tmp_path / "work")
    assert sources == ["0.jpg", "1.jpg", "2.jpg"] and "SIGSEGV" in left_out["clip.mp4"]


def test_a_decoder_that_hangs_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    def hanging(item: int, _: Tell) -> int:
        if item == 1:
            time.sleep(600)
        return item

    monkeypatch.setattr(workers, "SILENCE", 1.5)
    outcomes = dict(run_apart(hanging, [0, 1, 2], 2, lambda *_: None))
    assert (outcomes[0], outcomes[2]) == (0, 2)
    assert isinstance(outcomes[1], UnusableError) and "stopped" in str(outcomes[1])


def test_a_decoder_that_says_how_far_it_is_is_not_taken_for_hanging(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(item: int, tell: Tell) -> int:
        for done in range(8):
            time.sleep(0.4)
            tell(done, 8)
        return item

    monkeypatch.setattr(workers, "SILENCE", 2.5)
    heard: list[tuple[int, ...]] = []
    assert dict(run_apart(slow, [7], 1, lambda *told: heard.append(told))) == {0: 7}
    assert heard[0] == (0, 0, 8) and len(heard) == 8


def test_what_takes_more_than_its_share_of_memory_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def greedy(item: int, _: Tell) -> int:
        return int(np.zeros(item, np.uint8).size)

    monkeypatch.setattr(workers, "usable_memory", lambda: 2**29)
    outcomes = dict(run_apart(greedy, [2**20, 2**31], 2, lambda *_: None))
    assert outcomes[0] == 2**20
    assert isinstance(outcomes[1], UnusableError) and "more than 512 MiB" in str(outcomes[1])


def test_a_fault_of_ours_is_not_blamed_on_the_file() -> None:
    def wrong(item: int, _: Tell) -> int:
        raise KeyError(item)

    with pytest.raises(KeyError):
        list(run_apart(wrong, [1], 1, lambda *_: None))


def test_no_worker_outlives_the_work() -> None:
    def who(_: int, __: Tell) -> int:
        return os.getpid()

    pids = {outcome for _, outcome in run_apart(who, [0, 1, 2, 3], 2, lambda *_: None)}
    assert os.getpid() not in pids
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)  # type: ignore[arg-type]
