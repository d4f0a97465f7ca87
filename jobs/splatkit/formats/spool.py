"""Harmonics on disk while they are not needed: they are three quarters of a scene, and pictures take memory too."""

import mmap
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from splatkit.splats import Floats, Splats

ROWS_AT_ONCE = 1 << 15


def spooled(splats: Splats, path: Path) -> Splats:
    """The same splats with their harmonics mapped from a file at `path`. They must not be changed: see release."""
    if not splats.shN.size or _mapping(splats.shN) is not None:
        return splats
    with path.open("w+b") as file:
        for start in range(0, len(splats), ROWS_AT_ONCE):
            file.write(splats.shN[start : start + ROWS_AT_ONCE].tobytes())
        file.flush()
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    return replace(splats, shN=np.frombuffer(mapped, np.float32).reshape(splats.shN.shape))


def release(harmonics: Floats) -> None:
    """Gives back the memory of what lies in a file (changes as well): it is read from there when it is needed."""
    mapping = _mapping(harmonics)
    if mapping is not None:
        mapping.madvise(mmap.MADV_DONTNEED)


def taken(splats: Splats, rows: NDArray[np.integer]) -> Splats:
    """splats.take(rows), through the file from its beginning to its end with little of it in memory at a time."""
    harmonics = np.empty((len(rows), *splats.shN.shape[1:]), np.float32)
    order = np.argsort(rows)
    for start in range(0, len(rows), ROWS_AT_ONCE):
        part = order[start : start + ROWS_AT_ONCE]
        harmonics[part] = splats.shN[rows[part]]
        release(splats.shN)
    return replace(splats.with_sh_degree(0).take(rows), shN=harmonics)


def _mapping(harmonics: Floats) -> mmap.mmap | None:
    """The file under an array, which may be a part of what is mapped."""
    holder: Any = harmonics
    while isinstance(holder, np.ndarray):
        holder = holder.base
    owner = holder.obj if isinstance(holder, memoryview) else holder
    return owner if isinstance(owner, mmap.mmap) else None
