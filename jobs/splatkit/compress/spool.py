"""Harmonics on disk while they are not needed: they are three quarters of a scene, and pictures take memory too."""

import mmap
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from splatkit.splats import Splats

ROWS_AT_ONCE = 1 << 16


def spooled(splats: Splats, path: Path) -> Splats:
    """The same splats with their harmonics mapped from a file at `path`. They must not be changed: see release."""
    if not splats.shN.size or _mapping(splats) is not None:
        return splats
    with path.open("w+b") as file:
        for start in range(0, len(splats), ROWS_AT_ONCE):
            file.write(splats.shN[start : start + ROWS_AT_ONCE].tobytes())
        file.flush()
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    return replace(splats, shN=np.frombuffer(mapped, np.float32).reshape(splats.shN.shape))


def release(splats: Splats) -> None:
    """Gives back the memory of harmonics that lie in a file (changes as well): they are read from it when needed."""
    mapping = _mapping(splats)
    if mapping is not None:
        mapping.madvise(mmap.MADV_DONTNEED)


def _mapping(splats: Splats) -> mmap.mmap | None:
    """The file under the harmonics, which may be a part of what is mapped."""
    holder: Any = splats.shN
    while isinstance(holder, np.ndarray):
        holder = holder.base
    owner = holder.obj if isinstance(holder, memoryview) else holder
    return owner if isinstance(owner, mmap.mmap) else None
