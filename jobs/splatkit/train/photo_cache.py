"""Photos as training wants them: scaled, perhaps blurred, kept within a memory budget, loaded one step ahead."""

import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from splatkit.errors import input_error
from splatkit.train.scene import View, unreadable

MEMORY_SHARE = 0.35  # of what is free when training starts
LEAST_FREE = 1 << 28  # bytes; what is counted on in any case
CGROUP = Path("/sys/fs/cgroup")
# Of both versions: folder, limit, use, and what of the use the kernel gives back when it is needed.
CGROUP_FILES = (
    ("", "memory.max", "memory.current", ("inactive_file", "active_file", "slab_reclaimable")),
    ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", ("total_inactive_file", "total_active_file")),
)
Image.MAX_IMAGE_PIXELS = (
    500_000_000  # aerial cameras have 150 megapixels; beyond this Pillow warns, at twice this it refuses
)


@dataclass(frozen=True)
class Shot:
    """A photo at one scale; intrinsics match its pixels."""

    pixels: np.ndarray  # [H, W, 3] uint8
    mask: np.ndarray | None  # [H, W] uint8, 255 where the photo counts
    intrinsics: np.ndarray  # [3, 3] float32

    @property
    def bytes(self) -> int:
        return self.pixels.nbytes + (self.mask.nbytes if self.mask is not None else 0)


Key = tuple[int, int, int]


class PhotoCache:
    def __init__(self, views: Sequence[View], max_size: int, budget: int | None = None, sharers: int = 1) -> None:
        """max_size: the longest side at scale 1, in pixels; 0 takes photos as they are. budget: bytes.

        sharers: processes that each keep a cache on this machine.
        """
        self._views, self._max_size = views, max_size
        self._budget = free_memory() * MEMORY_SHARE / sharers if budget is None else budget
        self._kept: OrderedDict[Key, Shot] = OrderedDict()
        self._coming: dict[Key, Future[Shot]] = {}
        self._lock = threading.Lock()
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="photos")

    def get(self, index: int, shrink: int = 1, blur: int = 0) -> Shot:
        """The photo at 1/shrink of the scale, blurred by so many of its pixels (standard deviation, in tenths)."""
        key = (index, shrink, blur)
        with self._lock:
            coming = self._coming.pop(key, None)
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        shot = coming.result() if coming else self._load(key)
        self._keep(key, shot)
        return shot

    def prefetch(self, index: int, shrink: int = 1, blur: int = 0) -> None:
        key = (index, shrink, blur)
        with self._lock:
            if key not in self._kept and key not in self._coming:
                self._coming[key] = self._loader.submit(self._load, key)

    def size(self, index: int, shrink: int = 1) -> tuple[int, int]:
        """(width, height) at that scale."""
        view = self._views[index]
        scale = min(1.0, self._max_size / max(view.width, view.height)) if self._max_size else 1.0
        return max(1, round(view.width * scale / shrink)), max(1, round(view.height * scale / shrink))

    def close(self) -> None:
        self._loader.shutdown(cancel_futures=True)

    def _load(self, key: Key) -> Shot:
        index, shrink, blur = key
        view, size = self._views[index], self.size(index, shrink)
        scale = np.array([[size[0] / view.width], [size[1] / view.height], [1.0]])
        if blur:
            sharp = self._kept.get((index, shrink, 0)) or self._load((index, shrink, 0))
            image = Image.fromarray(sharp.pixels).filter(ImageFilter.GaussianBlur(blur / 10))
            return Shot(np.asarray(image), sharp.mask, sharp.intrinsics)
        pixels = np.asarray(_open(view.photo, "RGB", (view.width, view.height), size))
        mask = None
        if view.mask:
            grey = np.asarray(_open(view.mask, "L", (view.width, view.height), size))
            half = 127 if grey.max() > 1 else 0  # masks come as 0 and 255, and as 0 and 1
            mask = np.where(grey > half, 255, 0).astype(np.uint8)
        return Shot(pixels, mask, (view.intrinsics * scale).astype(np.float32))

    def _keep(self, key: Key, shot: Shot) -> None:
        with self._lock:
            self._kept[key] = shot
            while len(self._kept) > 1 and sum(s.bytes for s in self._kept.values()) > self._budget:
                self._kept.popitem(last=False)


def _open(path: Path, mode: str, expected: tuple[int, int], size: tuple[int, int]) -> Image.Image:
    try:
        with Image.open(path) as image:
            if abs(image.width / image.height - expected[0] / expected[1]) > 0.01 * expected[0] / expected[1]:
                cause = f"{path.name} is {image.width}x{image.height}, its camera {expected[0]}x{expected[1]}"
                raise input_error(
                    "wrong_size", cause, "Give the photos that the model was made of, unturned and uncropped."
                )
            image.draft(mode, size)  # JPEGs are decoded at a fraction of their size where that is enough
            return image.convert(mode).resize(
                size, Image.Resampling.BOX if image.width > size[0] else Image.Resampling.BICUBIC
            )
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as problem:
        raise unreadable(path, problem) from problem


def free_memory(cgroup: Path = CGROUP) -> int:
    """Bytes that this process may still take: of the machine, and of its control group where that is less."""
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if available := _numbers(Path("/proc/meminfo")).get("MemAvailable:"):
        free = available * 1024
    for folder, limit_file, used_file, reclaimable in CGROUP_FILES:
        limit, used = _number(cgroup / folder / limit_file), _number(cgroup / folder / used_file)
        if limit is not None and used is not None:
            # The page cache counts as used, and a container that has downloaded its input is full of it.
            parts = _numbers(cgroup / folder / "memory.stat")
            cached = sum(parts.get(name, 0) for name in reclaimable)
            free = min(free, limit - max(0, used - cached))
    return max(free, LEAST_FREE)


def _numbers(path: Path) -> dict[str, int]:
    """Of a file of lines "name number"."""
    try:
        lines = [line.split() for line in path.read_text().splitlines()]
    except OSError:
        return {}
    return {line[0]: int(line[1]) for line in lines if len(line) > 1 and line[1].isdigit()}


def _number(path: Path) -> int | None:
    """None where there is no such file, or no limit."""
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None
