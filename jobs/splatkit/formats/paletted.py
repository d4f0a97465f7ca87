"""Splats as a SOG holds them: the harmonics stay a palette, a quarter of the memory of splats with their own."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from splatkit.splats import SH_COEFFICIENTS, Floats, Splats, join

Rows = NDArray[np.integer] | slice


@dataclass(frozen=True, eq=False)
class Paletted:
    splats: Splats  # without harmonics
    palette: Floats  # [P, K, 3]
    labels: NDArray[np.int32]  # [N], the entry of each splat

    def __len__(self) -> int:
        return len(self.splats)

    @property
    def sh_degree(self) -> int:
        return SH_COEFFICIENTS.index(self.palette.shape[1])

    @property
    def expanded(self) -> Splats:
        return self.part(slice(None))

    def part(self, rows: Rows) -> Splats:
        return replace(self.splats.take(rows), shN=self.palette[self.labels[rows]])


def own_palette(splats: Splats) -> Paletted:
    """Without a copy: each splat names its own harmonics."""
    return Paletted(splats.with_sh_degree(0), splats.shN, np.arange(len(splats), dtype=np.int32))


def join_paletted(parts: Sequence[Paletted]) -> Paletted:
    """Raises ValueError when their degrees differ."""
    starts = np.cumsum([0, *(len(part.palette) for part in parts)])
    return Paletted(
        join([part.splats for part in parts]),
        np.concatenate([part.palette for part in parts]),
        np.concatenate([part.labels + np.int32(start) for part, start in zip(parts, starts, strict=False)]),
    )
