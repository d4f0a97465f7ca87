"""Frames out of a video: spaced by how far the picture moved, and in each stretch the sharpest one."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from PIL import Image

from splatkit.sfm.preparation import MAX_PIXELS, UnusableError
from splatkit.threads import cores

SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".m4v", ".webm")
# FFmpeg goes by content, not by name: a playlist called clip.mp4 would make it read other files.
OPTIONS = {"format_whitelist": "mov,mp4,matroska,webm,avi,mpegts,mpeg", "protocol_whitelist": "file"}
STEP = 0.04  # picture widths that the view moves between two frames; neighbours then share about 95 %
MIN_FRAMES = 40  # also of a video in which little seems to move
LOOKS_PER_SECOND = 15
MAX_LOOKS = 100_000  # nearly two hours of video
LOOK_WIDTH, MOTION_WIDTH = 640, 160  # pixels; sharpness shows at the first, motion is measured at the second
BLOCKS = 3  # per side; the picture is compared block by block, since turning and zooming shift each differently


@dataclass(frozen=True)
class Look:
    seconds: float
    sharpness: float
    travelled: float  # picture widths since the first frame


def take_frames(video: Path, folder: Path, count: int, step: Callable[[int, int], None]) -> tuple[list[Path], str]:
    """At most `count` frames as JPEG, named by their second; and what was wrong with the video, or nothing.

    Raises UnusableError. Decodes twice, to look and to take, and so never holds more than a frame.
    """
    looks, trouble = _look_through(video, lambda done: step(done, 2 * max(done, 1)))
    if not looks:
        raise UnusableError(trouble or "a video without frames")
    chosen = choose(looks, count)
    wanted = {look.seconds for look in chosen}
    folder.mkdir(parents=True, exist_ok=True)
    taken: list[Path] = []
    try:
        for seconds, frame in _decoded(video):
            if seconds in wanted:
                taken.append(folder / f"{seconds:09.3f}s.jpg")
                _upright(frame).save(taken[-1], format="JPEG", quality=95, subsampling=0)
                step(len(chosen) + len(taken), 2 * len(chosen))
            if len(taken) == len(chosen):
                break
    except av.FFmpegError as problem:
        trouble = f"damaged: {problem.strerror}"
    return taken, trouble


def choose(looks: list[Look], count: int) -> list[Look]:
    """The sharpest of each stretch; the stretches are equally long in picture motion, not in time."""
    total = looks[-1].travelled
    stretches = int(np.clip(total / STEP, min(MIN_FRAMES, count), count))
    length = total / stretches or 1.0
    best: dict[int, Look] = {}
    for look in looks:
        stretch = min(int(look.travelled / length), stretches - 1)
        if stretch not in best or look.sharpness > best[stretch].sharpness:
            best[stretch] = look
    return [best[stretch] for stretch in sorted(best)]


def _look_through(video: Path, step: Callable[[int], None]) -> tuple[list[Look], str]:
    """Reads as far as the video can be read."""
    looks: list[Look] = []
    previous: np.ndarray | None = None
    try:
        for seconds, frame in _decoded(video):
            if looks and seconds - looks[-1].seconds < 1 / LOOKS_PER_SECOND - 1e-3:
                continue
            if len(looks) == MAX_LOOKS:
                return looks, f"only its first {seconds / 60:.0f} minutes were looked at"
            grey = _grey(frame, LOOK_WIDTH)
            small = _grey(frame, MOTION_WIDTH)
            moved = 0.0 if previous is None or previous.shape != small.shape else picture_motion(previous, small)
            looks.append(Look(seconds, _sharpness(grey), (looks[-1].travelled if looks else 0.0) + moved))
            previous = small
            step(len(looks))
    except av.FFmpegError as problem:
        return looks, f"damaged: {problem.strerror}"
    return looks, ""


def _decoded(video: Path) -> Iterator[tuple[float, av.VideoFrame]]:
    with av.open(str(video), options=OPTIONS) as container:
        if not container.streams.video:
            raise UnusableError("no picture in it, sound only")
        stream = container.streams.video[0]
        if stream.width * stream.height > MAX_PIXELS:
            raise UnusableError(f"{stream.width} x {stream.height} pixels are too many")
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = cores()
        for number, frame in enumerate(container.decode(stream)):
            yield (number / 30 if frame.time is None else round(frame.time, 3)), frame


def _grey(frame: av.VideoFrame, width: int) -> np.ndarray:
    height = max(BLOCKS * 8, round(frame.height * width / frame.width))
    return np.asarray(frame.reformat(width=width, height=height, format="gray").to_ndarray(), np.float32)


def _sharpness(grey: np.ndarray) -> float:
    """Variance of the Laplacian: comparable between frames of the same view."""
    inner = grey[1:-1, 1:-1]
    around = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    return float((around - 4 * inner).var())


def picture_motion(before: np.ndarray, after: np.ndarray) -> float:
    """How far the picture moved, in picture widths: phase correlation of blocks, root mean square of the shifts."""
    height, width = before.shape[0] // BLOCKS, before.shape[1] // BLOCKS
    window = np.hanning(height)[:, None] * np.hanning(width)
    shifts = []
    for row in range(BLOCKS):
        for column in range(BLOCKS):
            block = np.s_[row * height : (row + 1) * height, column * width : (column + 1) * width]
            first, second = before[block], after[block]
            shifts.append(_shift((first - first.mean()) * window, (second - second.mean()) * window))
    return float(np.sqrt(np.mean(np.square(shifts)))) / before.shape[1]


def _shift(before: np.ndarray, after: np.ndarray) -> float:
    cross = np.fft.rfft2(before) * np.conj(np.fft.rfft2(after))
    strength = np.abs(cross)
    if strength.max() < 1.0:
        return 0.0  # an even wall
    # Less than full whitening, which would let the noise of an even block vote like its edges.
    peak = np.fft.irfft2(cross / np.sqrt(strength + 1e-3 * strength.max()), before.shape)
    y, x = np.unravel_index(int(peak.argmax()), peak.shape)
    down = y - before.shape[0] if y > before.shape[0] // 2 else y
    across = x - before.shape[1] if x > before.shape[1] // 2 else x
    return float(np.hypot(down, across))


def _upright(frame: av.VideoFrame) -> Image.Image:
    """Square pixels, and turned as the phone was held."""
    ratio = getattr(frame, "sample_aspect_ratio", None)
    width = round(frame.width * ratio) if ratio and ratio > 0 else frame.width
    image: Image.Image = frame.to_image(width=width, height=frame.height)
    return image.rotate(frame.rotation, expand=True) if frame.rotation else image
