# mypy: disable-error-code="no-untyped-def,call-arg"
"""Which Gaussians touch which 16x16 tile, front to back, by the tight bounds of their ellipses."""

import math
from dataclasses import dataclass

import numpy as np
from numba import njit

from splatkit.rasterizer.projection import ALPHA_THRESHOLD
from splatkit.threads import in_parallel

TILE = 16
BLOCK = 2048  # Gaussians that one thread lists at a time
MARGIN = 0.02  # pixels added to a bound, against rounding
# Columns of the packed Gaussians that the tile kernels read.
X, Y, CONIC_A, CONIC_B, CONIC_C, OPACITY, REACH_Y, RED, GREEN, BLUE = range(10)
COLUMNS = 10


@dataclass(frozen=True)
class TileLists:
    order: np.ndarray  # [M] int64, the Gaussians that are seen, front to back
    first_slot: (
        np.ndarray
    )  # [M+1]; each of them owns the slots first_slot[m] .. first_slot[m+1]-1, one per tile it touches
    offsets: np.ndarray  # [tiles+1]; where a tile's part of the next two begins
    members: np.ndarray  # [slots] int32, positions in `order`, per tile front to back
    slots: np.ndarray  # [slots] int32, the slot of that member in that tile
    packed: np.ndarray  # [M, COLUMNS] float32, without colours


def tile_lists(
    width: int, height: int,
    means2d: np.ndarray, conics: np.ndarray, opacities: np.ndarray, depths: np.ndarray, radii: np.ndarray,
) -> TileLists:  # fmt: skip
    seen = np.flatnonzero((radii > 0).all(axis=1) & (opacities >= ALPHA_THRESHOLD))
    order = seen[np.argsort(depths[seen], kind="stable")]
    packed = np.empty((len(order), COLUMNS), np.float32)
    first_slot = np.zeros(len(order) + 1, np.int64)
    columns, rows, blocks = -(-width // TILE), -(-height // TILE), -(-len(order) // BLOCK)
    counts = np.zeros((blocks, columns * rows), np.int64)  # a block's entries in each tile
    projected = (order, means2d, conics, opacities)
    in_parallel(blocks, _pack_and_count, *projected, columns, rows, packed, first_slot, counts)
    np.cumsum(first_slot, out=first_slot)
    offsets = np.concatenate([[0], np.cumsum(counts.sum(0))])
    cursors = offsets[:-1] + np.cumsum(counts, 0) - counts  # where a block's entries begin, after those before it
    members, slots = np.empty(first_slot[-1], np.int32), np.empty(first_slot[-1], np.int32)
    in_parallel(blocks, _fill, packed, columns, rows, first_slot, cursors, members, slots)
    return TileLists(order, first_slot, offsets, members, slots, packed)


@njit(nogil=True, cache=True, error_model="numpy")
def _columns_touched(g: np.ndarray, row: int, columns: int) -> tuple[int, int]:
    """First and one past the last tile of this row of tiles whose pixel centres the ellipse can reach."""
    a, b, c = float(g[CONIC_A]), float(g[CONIC_B]), float(g[CONIC_C])
    reach = 2 * math.log(g[OPACITY] / ALPHA_THRESHOLD)
    low = max(row * TILE + 0.5 - g[Y] - MARGIN, -float(g[REACH_Y]))
    high = min(row * TILE + TILE - 0.5 - g[Y] + MARGIN, float(g[REACH_Y]))
    if low > high:
        return 0, 0
    # The ellipse is rightmost at dy = widest and leftmost at -widest; within a band, at the nearest dy of the band.
    widest = -b / c * math.sqrt(max(0.0, reach * c / (a * c - b * b)))
    at = min(high, max(low, widest))
    right = (-b * at + math.sqrt(max(0.0, b * b * at * at - a * (c * at * at - reach)))) / a
    at = min(high, max(low, -widest))
    left = (-b * at - math.sqrt(max(0.0, b * b * at * at - a * (c * at * at - reach)))) / a
    # Centres lie at half pixels: tile t holds 16 t + 0.5 .. 16 t + 15.5.
    start = math.ceil((g[X] + left - MARGIN - (TILE - 0.5)) / TILE)
    end = math.floor((g[X] + right + MARGIN - 0.5) / TILE) + 1
    return max(0, min(columns, start)), max(0, min(columns, end))


@njit(nogil=True, cache=True, error_model="numpy")
def _rows_touched(g: np.ndarray, rows: int) -> tuple[int, int]:
    start = math.ceil((g[Y] - g[REACH_Y] - (TILE - 0.5)) / TILE)
    end = math.floor((g[Y] + g[REACH_Y] - 0.5) / TILE) + 1
    return max(0, min(rows, start)), max(0, min(rows, end))


@njit(nogil=True, cache=True, error_model="numpy")
def _pack_and_count(first, last, order, means2d, conics, opacities, columns, rows, packed, first_slot, counts):
    """For these blocks of Gaussians. first_slot: each one's number of tiles, one place further on."""
    for m in range(first * BLOCK, min(last * BLOCK, len(order))):
        n, g, counted = order[m], packed[m], counts[m // BLOCK]
        g[X], g[Y], g[OPACITY] = means2d[n, 0], means2d[n, 1], opacities[n]
        a, b, c = float(conics[n, 0]), float(conics[n, 1]), float(conics[n, 2])
        g[CONIC_A], g[CONIC_B], g[CONIC_C] = a, b, c
        reach = 2 * math.log(opacities[n] / ALPHA_THRESHOLD)
        g[REACH_Y] = math.sqrt(max(0.0, reach * a / (a * c - b * b))) + MARGIN
        total = 0
        first_row, last_row = _rows_touched(g, rows)
        for row in range(first_row, last_row):
            start, end = _columns_touched(g, row, columns)
            for column in range(start, end):
                counted[row * columns + column] += 1
            total += max(0, end - start)
        first_slot[m + 1] = total


@njit(nogil=True, cache=True, error_model="numpy")
def _fill(first, last, packed, columns, rows, first_slot, cursors, members, slots):
    for m in range(first * BLOCK, min(last * BLOCK, len(packed))):
        slot, cursor = first_slot[m], cursors[m // BLOCK]
        first_row, last_row = _rows_touched(packed[m], rows)
        for row in range(first_row, last_row):
            start, end = _columns_touched(packed[m], row, columns)
            for tile in range(row * columns + start, row * columns + end):
                members[cursor[tile]] = m
                slots[cursor[tile]] = slot
                cursor[tile] += 1
                slot += 1
