"""Scalar quantisation: a table of at most 256 values that the channels of an attribute share, an index per value."""

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from splatkit.splats import Floats

ENTRIES = 256
BINS = 4096
LLOYD_STEPS = 20
MOST_CELLS = 1 << 22
SAMPLE = 1 << 17  # values that tell how well the best would do


def distinct_values(values: Floats) -> Floats | None:
    """Ascending, where there are no more than a codebook holds."""
    if len(np.unique(values.ravel()[:SAMPLE])) > ENTRIES:
        return None
    found = np.unique(values)
    return found if len(found) <= ENTRIES else None


def codebook_within(values: Floats, error: float) -> Floats:
    """As even a codebook as has an RMSE of `error` times that of the best 256 values."""
    sample = values.ravel()[:: max(1, values.size // SAMPLE)]
    best = best_codebook(sample, ENTRIES)
    rmse = float(np.sqrt(((best[indices_of(sample, best)].astype(np.float64) - sample) ** 2).mean()))
    return stepped_codebook(values, float(np.sqrt(12)) * rmse * error or 1.0)


def stepped_codebook(values: Floats, step: float) -> Floats:
    """Ascending centroids of cells `step` wide; the best 256 values where so many cells would not do.

    Cells of one width are the best choice for indices that are entropy coded afterwards (Gish and Pierce, 1968).
    """
    flat = values.ravel()
    low, step = float(flat.min()), max(step, float(np.finfo(np.float32).tiny))
    if float(flat.max()) - low >= MOST_CELLS * step:  # the step is far too fine to be counted in cells
        return best_codebook(values, ENTRIES)
    cells = np.floor((flat - np.float32(low)) / step).astype(np.int64)
    counts = np.bincount(cells)
    occupied = np.flatnonzero(counts)
    if len(occupied) > ENTRIES:
        return best_codebook(values, ENTRIES)
    return (np.bincount(cells, flat)[occupied] / counts[occupied]).astype(np.float32)


def best_codebook(values: Floats, entries: int) -> Floats:
    """At most `entries` ascending values of least squared error: dynamic programming over bins, then Lloyd's steps."""
    ordered = np.sort(values, axis=None).astype(np.float64)
    distinct = ordered[np.concatenate([[True], np.diff(ordered) > 0])]
    if len(distinct) <= entries:
        return distinct.astype(np.float32)
    # Half of the edges at quantiles and half evenly spaced, so that neither dense nor far values share one bin.
    even = np.linspace(ordered[0], ordered[-1], BINS // 2)
    edges = np.unique(np.concatenate([even, ordered[:: max(1, len(ordered) // (BINS // 2))]]))
    starts = np.unique(np.searchsorted(ordered, edges))
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    counts = np.diff(np.append(starts, len(ordered))).astype(np.float64)
    means = np.diff(sums[np.append(starts, len(ordered))]) / counts
    first = _partition(means, counts, min(entries, len(means)))
    return _lloyd(ordered, sums, starts[first])


def indices_of(values: Floats, codebook: Floats) -> NDArray[np.uint8]:
    """Index of the nearest entry."""
    middles = (codebook[1:].astype(np.float64) + codebook[:-1]) / 2
    return np.searchsorted(middles, values).astype(np.uint8)


def _lloyd(ordered: NDArray[np.float64], sums: NDArray[np.float64], firsts: NDArray[np.int64]) -> Floats:
    bounds = np.append(firsts, len(ordered))
    for _ in range(LLOYD_STEPS):
        bounds = bounds[np.concatenate([[True], np.diff(bounds) > 0])]
        centres = np.diff(sums[bounds]) / np.diff(bounds)
        bounds = np.concatenate([[0], np.searchsorted(ordered, (centres[1:] + centres[:-1]) / 2), [len(ordered)]])
    bounds = bounds[np.concatenate([[True], np.diff(bounds) > 0])]
    return np.unique((np.diff(sums[bounds]) / np.diff(bounds)).astype(np.float32))


def _partition(means: NDArray[np.float64], counts: NDArray[np.float64], entries: int) -> NDArray[np.int64]:
    weight = np.concatenate([[0.0], np.cumsum(counts)])
    first = np.concatenate([[0.0], np.cumsum(counts * means)])
    second = np.concatenate([[0.0], np.cumsum(counts * means**2)])
    return _best_starts(weight, first, second, entries)


@numba.njit(cache=True)
def _best_starts(weight: Any, first: Any, second: Any, entries: int) -> Any:  # pragma: no cover - compiled
    """First bin of each class of the partition of least squared error; the best split moves monotonically."""
    bins = len(weight) - 1
    cost, previous = np.empty(bins + 1), np.empty(bins + 1)
    split = np.zeros((entries, bins + 1), np.int32)
    for j in range(1, bins + 1):
        previous[j] = second[j] - first[j] ** 2 / weight[j]
    previous[0] = 0.0
    stack = np.empty((64, 4), np.int64)
    for level in range(1, entries):
        cost[: level + 1] = 0.0
        stack[0] = (level + 1, bins, level, bins - 1)
        top = 1
        while top > 0:
            top -= 1
            low, high, from_split, to_split = stack[top]
            if low > high:
                continue
            middle = (low + high) // 2
            least, where = np.inf, from_split
            for i in range(max(from_split, level), min(to_split, middle - 1) + 1):
                mass, moment = weight[middle] - weight[i], first[middle] - first[i]
                total = previous[i] + second[middle] - second[i] - moment**2 / mass
                if total < least:
                    least, where = total, i
            cost[middle], split[level, middle] = least, where
            stack[top] = (low, middle - 1, from_split, where)
            stack[top + 1] = (middle + 1, high, where, to_split)
            top += 2
        cost, previous = previous, cost
    starts = np.zeros(entries, np.int64)
    end = bins
    for level in range(entries - 1, 0, -1):
        starts[level] = split[level, end]
        end = starts[level]
    return starts
