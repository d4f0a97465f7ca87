"""Orders along space-filling curves: neighbours in the file are neighbours in space, and WebP predicts from them."""

import numba
import numpy as np
from numpy.typing import NDArray

from splatkit.splats import Floats

BITS = 16  # per axis
LEAST_EXTENT = 1e-30  # of a scene that is one point, whose inverse float32 can hold


def morton_order(points: Floats) -> NDArray[np.int64]:
    """Z-order of [N, 3] points within their bounding cube."""
    x, y, z = _grid(points).T
    return np.argsort(_spread(x) | _spread(y) << np.uint64(1) | _spread(z) << np.uint64(2), kind="stable")


def hilbert_order(points: Floats) -> NDArray[np.int64]:
    """Order along a Hilbert curve, which unlike Z-order never jumps (Skilling, 2004)."""
    x, y, z = _hilbert_axes(_grid(points).astype(np.int64)).astype(np.uint64).T
    return np.argsort(_spread(z) | _spread(y) << np.uint64(1) | _spread(x) << np.uint64(2), kind="stable")


def _grid(points: Floats) -> NDArray[np.uint64]:
    low = points.min(axis=0)
    extent = max(float((points.max(axis=0) - low).max()), LEAST_EXTENT)
    return ((points - low) * ((2**BITS - 1) / extent)).astype(np.uint64)


def _spread(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Two zero bits before each bit of a 16-bit number."""
    for shift, mask in ((16, 0x0000FF0000FF), (8, 0x00F00F00F00F), (4, 0x0C30C30C30C3), (2, 0x249249249249)):
        values = (values | values << np.uint64(shift)) & np.uint64(mask)
    return values


@numba.njit(cache=True)
def _hilbert_axes(grid: NDArray[np.int64]) -> NDArray[np.int64]:  # pragma: no cover - compiled
    """Skilling's transform of coordinates to the transposed Hilbert index, in place."""
    for i in range(len(grid)):
        point = grid[i]
        bit = 1 << (BITS - 1)
        while bit > 1:
            low = bit - 1
            for axis in range(3):
                if point[axis] & bit:
                    point[0] ^= low
                else:
                    swapped = (point[0] ^ point[axis]) & low
                    point[0] ^= swapped
                    point[axis] ^= swapped
            bit >>= 1
        point[1] ^= point[0]
        point[2] ^= point[1]
        flips, bit = 0, 1 << (BITS - 1)
        while bit > 1:
            if point[2] & bit:
                flips ^= bit - 1
            bit >>= 1
        for axis in range(3):
            point[axis] ^= flips
    return grid
