"""Frames out of videos: how many, which ones, and what becomes of videos that are none."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image, ImageFilter

from splatkit.sfm.photos import collect
from splatkit.sfm.preparation import UnusableError
from splatkit.sfm.videos import Look, choose, picture_motion, take_frames

WIDTH, HEIGHT = 480, 320


def scenery() -> np.ndarray:
    pixels = np.random.default_rng(0).integers(0, 255, (60, 200, 3), np.uint8)
    return np.asarray(Image.fromarray(pixels).resize((1600, 480), Image.Resampling.BICUBIC))


def film(path: Path, offsets: list[float], blurred: set[int] = frozenset()) -> Path:  # type: ignore[assignment]
    """A pan over the scenery, a frame per offset, 30 frames per second."""
    world = scenery()
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=30)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 30)
        stream.codec_context.bit_rate = 4_000_000
        for number, offset in enumerate(offsets):
            view = Image.fromarray(world[:HEIGHT, int(offset) : int(offset) + WIDTH])
            if number in blurred:
                view = view.filter(ImageFilter.GaussianBlur(3))
            container.mux(stream.encode(av.VideoFrame.from_image(view)))
        container.mux(stream.encode(None))
    return path


def take(video: Path, folder: Path, count: int = 100) -> tuple[list[float], str]:
    frames, trouble = take_frames(video, folder, count, lambda done, total: None)
    assert all(Image.open(frame).size == (WIDTH, HEIGHT) for frame in frames)
    return [float(frame.stem.rstrip("s")) for frame in frames], trouble


def test_frames_are_spaced_by_motion_not_by_time(tmp_path: Path) -> None:
    still_then_moving = [0.0] * 90 + list(np.linspace(0, 900, 90))
    seconds, trouble = take(film(tmp_path / "pan.mp4", still_then_moving), tmp_path / "frames", 20)
    assert not trouble and 15 <= len(seconds) <= 20
    assert sum(second > 3 for second in seconds) >= len(seconds) - 2


def test_the_count_is_never_exceeded_and_the_whole_way_is_covered(tmp_path: Path) -> None:
    seconds, _ = take(film(tmp_path / "pan.mkv", list(np.linspace(0, 1000, 120))), tmp_path / "frames", 7)
    assert len(seconds) == 7 and seconds[0] < 0.7 and seconds[-1] > 3.3


def test_blurred_frames_are_passed_over(tmp_path: Path) -> None:
    blurred = {number for number in range(120) if number % 12 < 8}
    video = film(tmp_path / "pan.mp4", list(np.linspace(0, 1000, 120)), blurred)
    seconds, _ = take(video, tmp_path / "frames", 8)
    assert not {round(second * 30) for second in seconds} & blurred


def test_zooming_and_turning_are_motion_too() -> None:
    image = Image.fromarray(scenery()[:HEIGHT, :WIDTH]).convert("L").resize((160, 106))
    before = np.asarray(image, np.float32)
    closer = np.asarray(image.resize((184, 122)).crop((12, 8, 172, 114)), np.float32)
    turned = np.asarray(image.rotate(8, Image.Resampling.BICUBIC), np.float32)
    assert picture_motion(before, before) == 0
    assert picture_motion(before, closer) > 0.01 and picture_motion(before, turned) > 0.01
    shifted = np.roll(before, 5, axis=1)
    assert picture_motion(before, shifted) == pytest.approx(5 / 160, rel=0.1)


def test_a_video_in_which_nothing_moves_gives_frames_all_the_same() -> None:
    looks = [Look(number / 15, 1.0, 0.0) for number in range(300)]
    assert len(choose(looks, 100)) == 1


def test_a_video_cut_short_gives_what_can_be_read_and_says_so(tmp_path: Path) -> None:
    whole = film(tmp_path / "whole.avi", list(np.linspace(0, 1000, 90))).read_bytes()
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "cut.avi").write_bytes(whole[: len(whole) * 2 // 3])
    (tmp_path / "in" / "rest.mp4").write_bytes(whole[1000:3000])
    photos, left_out = collect(tmp_path / "in", tmp_path / "work", 0, 30, lambda *_: None)
    assert 10 < len(photos) <= 30 and {photo.video for photo in photos} == {"cut.avi"}
    assert [item.source for item in left_out if "Invalid data" in item.reason] == ["rest.mp4"]


def test_max_images_bounds_photos_and_frames_together(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    film(tmp_path / "in" / "clip.mp4", list(np.linspace(0, 1000, 60)))
    Image.fromarray(scenery()[:HEIGHT, :WIDTH]).save(tmp_path / "in" / "photo.jpg")
    photos, _ = collect(tmp_path / "in", tmp_path / "work", 9, 150, lambda *_: None)
    assert len(photos) == 9 and sum(1 for photo in photos if photo.video) >= 8
    assert all(" " not in photo.name for photo in photos)


@pytest.mark.parametrize("content", ["#EXTM3U\n#EXTINF:1,\n{0}\n#EXT-X-ENDLIST\n", "ffconcat version 1.0\nfile {0}\n"])
def test_a_playlist_that_calls_itself_a_video_reads_no_other_file(content: str, tmp_path: Path) -> None:
    secret = film(tmp_path / "secret.mp4", [0.0] * 5)
    (tmp_path / "clip.mp4").write_text(content.format(secret))
    with pytest.raises(UnusableError):
        take_frames(tmp_path / "clip.mp4", tmp_path / "frames", 5, lambda done, total: None)


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "song.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(UnusableError, match="no picture"):
        take_frames(tmp_path / "song.mp4", tmp_path / "frames", 5, lambda done, total: None)
