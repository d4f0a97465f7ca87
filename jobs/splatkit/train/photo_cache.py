"""Photos as training wants them: scaled, perhaps blurred, kept within a memory budget, loaded ahead."""

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
from splatkit.threads import cores
from splatkit.train.scene import View, unreadable

MEMORY_SHARE = 0.35  # of what is free when training starts
SCALES = (1, 2)  # beside the coarsest, that training takes one after the other
ALL_SCALES = 1 + 1 / 4 + 1 / 16 + 1  # the memory of all of them and of one that is blurred, in photos at scale 1
MOST_LOADERS = 8
LOADERS_SHARE, DECODED_BYTES = 0.25, 2 * 3  # of the budget, for photos being decoded; per pixel, converted as well
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
class CachedPhoto:
    """A photo at one scale; intrinsics match its pixels."""

    pixels: np.ndarray  # [H, W, 3] uint8
    mask: np.ndarray | None  # [H, W] uint8, 255 where the photo counts
    intrinsics: np.ndarray  # [3, 3] float32

    @property
    def bytes(self) -> int:
        return self.pixels.nbytes + (self.mask.nbytes if self.mask is not None else 0)


Key = tuple[int, int, int]  # index, shrink, blur


class PhotoCache:
    def __init__(self, views: Sequence[View], max_size: int, budget: int | None = None, sharers: int = 1) -> None:
        """max_size: the longest side at scale 1, in pixels; 0 takes photos as they are. budget: bytes.

        sharers: processes that each keep a cache on this machine.
        """
        self._views, self._max_size = views, max_size
        self._budget = free_memory() * MEMORY_SHARE / sharers if budget is None else budget
        # From the first on those that go next: sharp ones that were made on the way, then what was used longest ago.
        self._kept: OrderedDict[Key, CachedPhoto] = OrderedDict()
        self._kept_bytes = 0
        self._coming: dict[Key, Future[CachedPhoto]] = {}
        self._level = (0, 0)
        self._lock = threading.Lock()
        pixels = [(self.size(index), view.mask) for index, view in enumerate(views)]
        whole = sum(width * height * (4 if mask else 3) for (width, height), mask in pixels)
        self._roomy = ALL_SCALES * whole <= self._budget
        self.ahead = self._affordable(sharers)  # photos that are loaded at a time, and so many in advance
        self._loaders = ThreadPoolExecutor(self.ahead, thread_name_prefix="photos")

    def get(self, index: int, shrink: int = 1, blur: int = 0) -> CachedPhoto:
        """The photo at 1/shrink of the scale, blurred by so many of its pixels (standard deviation, in tenths)."""
        key = (index, shrink, blur)
        with self._lock:
            coming = self._coming.pop(key, None)
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        photo = coming.result() if coming else self._load(key)
        self._keep(key, photo)
        return photo

    def prefetch(self, index: int, shrink: int = 1, blur: int = 0) -> None:
        key = (index, shrink, blur)
        with self._lock:
            if key not in self._kept and key not in self._coming:
                self._coming[key] = self._loaders.submit(self._load, key)

    def enter(self, shrink: int, blur: int) -> None:
        """Training goes on at this scale and blur, and never back: what only earlier ones needed is dropped."""
        if (shrink, blur) == self._level:
            return
        self._level = (shrink, blur)
        with self._lock:
            for key in [key for key in self._coming if key[1:] != self._level]:
                self._coming.pop(key).cancel()
            for key in [key for key in self._kept if key[1] > shrink or (key[2] and key[1:] != self._level)]:
                self._kept_bytes -= self._kept.pop(key).bytes

    def size(self, index: int, shrink: int = 1) -> tuple[int, int]:
        """(width, height) at that scale."""
        view = self._views[index]
        scale = min(1.0, self._max_size / max(view.width, view.height)) if self._max_size else 1.0
        return max(1, round(view.width * scale / shrink)), max(1, round(view.height * scale / shrink))

    def close(self) -> None:
        self._loaders.shutdown(cancel_futures=True)

    def _affordable(self, sharers: int) -> int:
        """Loaders: no more than there are cores, nor than a part of the budget holds decoded photos of."""
        largest = max((view.width * view.height for view in self._views), default=1)
        held = int(self._budget * LOADERS_SHARE / (DECODED_BYTES * largest))
        return max(1, min(MOST_LOADERS, cores() // sharers, held))

    def _load(self, key: Key) -> CachedPhoto:
        index, shrink, blur = key
        if not blur:
            return self._load_sharp(index, shrink)
        sharp = self._kept.get((index, shrink, 0))
        if sharp is None:
            sharp = self._load_sharp(index, shrink)
            self._keep((index, shrink, 0), sharp, spare=True)
        image = Image.fromarray(sharp.pixels).filter(ImageFilter.GaussianBlur(blur / 10))
        return CachedPhoto(np.asarray(image), sharp.mask, sharp.intrinsics)

    def _load_sharp(self, index: int, shrink: int) -> CachedPhoto:
        """Decodes the photo, and keeps it at the finer scales as well where that costs nothing but room."""
        view = self._views[index]
        finer = [s for s in SCALES if s < shrink and (index, s, 0) not in self._kept] if self._roomy else []
        scales = [shrink, *finer]
        sizes = [self.size(index, s) for s in scales]
        pixels = _open(view.photo, "RGB", (view.width, view.height), sizes)
        masks = (
            _open(view.mask, "L", (view.width, view.height), sizes[: len(pixels)]) if view.mask else [None] * len(sizes)
        )
        scaled = []
        for size, image, grey in zip(sizes, pixels, masks, strict=False):
            scale = np.array([[size[0] / view.width], [size[1] / view.height], [1.0]])
            mask = None if grey is None else _used(np.asarray(grey))
            scaled.append(CachedPhoto(np.asarray(image), mask, (view.intrinsics * scale).astype(np.float32)))
        for s, photo in zip(scales[1:], scaled[1:], strict=False):
            self._keep((index, s, 0), photo, spare=True)
        return scaled[0]

    def _keep(self, key: Key, photo: CachedPhoto, spare: bool = False) -> None:
        """spare: to be the first that goes."""
        with self._lock:
            if earlier := self._kept.get(key):
                self._kept_bytes -= earlier.bytes
            self._kept[key] = photo
            self._kept_bytes += photo.bytes
            self._kept.move_to_end(key, last=not spare)
            while len(self._kept) > 1 and self._kept_bytes > self._budget:
                self._kept_bytes -= self._kept.popitem(last=False)[1].bytes


def _open(path: Path, mode: str, expected: tuple[int, int], sizes: Sequence[tuple[int, int]]) -> list[Image.Image]:
    """The picture at the first of the sizes, and at the others too where one decoding serves all."""
    try:
        with Image.open(path) as image:
            if abs(image.width / image.height - expected[0] / expected[1]) > 0.01 * expected[0] / expected[1]:
                cause = f"{path.name} is {image.width}x{image.height}, its camera {expected[0]}x{expected[1]}"
                raise input_error(
                    "wrong_size", cause, "Give the photos that the model was made of, unturned and uncropped."
                )
            drafted = image.draft(mode, sizes[0])  # JPEGs are decoded at a fraction of their size where that is enough
            decoded = image.convert(mode)
            return [
                decoded.resize(size, Image.Resampling.BOX if decoded.width > size[0] else Image.Resampling.BICUBIC)
                for size in (sizes[:1] if drafted else sizes)
            ]
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as problem:
        raise unreadable(path, problem) from problem


def _used(grey: np.ndarray) -> np.ndarray:
    half = 127 if grey.max() > 1 else 0  # masks come as 0 and 255, and as 0 and 1
    return np.where(grey > half, 255, 0).astype(np.uint8)


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
