"""Vector quantisation of spherical harmonics: a palette of at most 65,536 vectors and a label per splat.

Plain k-means compares every vector with every entry, which takes hours at a million splats. Here a tree of splits gives
the first palette, its leaves in the tree's order form groups, and Lloyd's steps compare a vector only with the entries
of the groups nearest to its own (the inverted lists of similarity search).
"""

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from splatkit.splats import Floats

Labels = NDArray[np.int64]

MAX_ENTRIES = 1 << 16
GROUP = 256  # entries
GROUPS_SEARCHED = 6
LLOYD_STEPS = 4
SETTLED = 0.005  # share of the labels that still change
ROWS_AT_ONCE = 4096


def palette_of(vectors: Floats, entries: int, weights: Floats | None = None) -> tuple[Floats, Labels]:
    """([k, d] palette, [n] labels), k at most `entries`; exact where there are no more distinct vectors than that.

    What is least is the sum of squared errors, each by its vector's weight.
    """
    first, labels = distinct_rows(vectors)
    if len(first) <= entries:
        return vectors[first], labels
    if weights is None:
        weights = np.ones(len(vectors), np.float32)
    order, starts = _split(vectors, entries, weights)
    labels = np.empty(len(vectors), np.int64)
    labels[order] = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(order))))
    palette = _centroids(vectors, weights, labels, np.zeros((len(starts), vectors.shape[1]), np.float32))
    for _ in range(LLOYD_STEPS):
        before, labels = labels, _nearest(vectors, palette, labels)
        palette = _centroids(vectors, weights, labels, palette)
        palette, labels = _with_idle_used(vectors, weights, palette, labels)
        if np.count_nonzero(labels != before) < SETTLED * len(labels):
            break
    return palette, labels


def _with_idle_used(vectors: Floats, weights: Floats, palette: Floats, labels: Labels) -> tuple[Floats, Labels]:
    """Entries that no vector names any more are given to the vectors that are farthest from theirs."""
    idle = np.flatnonzero(np.bincount(labels, minlength=len(palette)) == 0)
    if len(idle):
        farthest = np.argpartition(-weights * _errors(vectors, palette, labels), len(idle) - 1)[: len(idle)]
        palette[idle], labels[farthest] = vectors[farthest], idle
    return palette, labels


def by_first_appearance(labels: Labels, entries: int) -> tuple[Labels, Labels]:
    """(entries in the order in which the labels name them first, the labels renamed): labels then count upwards."""
    used, first = np.unique(labels, return_index=True)
    order = used[np.argsort(first)]
    renamed = np.zeros(entries, np.int64)
    renamed[order] = np.arange(len(order))
    return order, renamed[labels]


def distinct_rows(vectors: Floats) -> tuple[Labels, Labels]:
    """(index of the first row of each kind, the kind of each row), told apart by a 64-bit hash."""
    bits = np.ascontiguousarray(vectors).view(np.uint32)
    factors = np.random.default_rng(0).integers(1, 1 << 63, bits.shape[1], dtype=np.uint64) | np.uint64(1)
    hashes = _hashes(bits, factors)
    _, first, kinds = np.unique(hashes, return_index=True, return_inverse=True)
    return first, kinds


def _nearest(vectors: Floats, palette: Floats, labels: Labels) -> Labels:
    """The nearest entry among those of the groups nearest to the group of the present label."""
    groups = -(-len(palette) // GROUP)
    members = np.arange(len(palette)) // GROUP
    alike = np.ones(len(palette), np.float32)
    centres = _centroids(palette, alike, members, np.zeros((groups, palette.shape[1]), np.float32))
    nearby = np.argsort(_distances(centres, centres), axis=1)[:, :GROUPS_SEARCHED]
    group_of = labels // GROUP
    order = np.argsort(group_of, kind="stable")
    bounds = np.searchsorted(group_of[order], np.arange(groups + 1))
    found = np.empty_like(labels)
    for group in range(groups):
        candidates = (nearby[group][:, None] * GROUP + np.arange(GROUP)).ravel()
        candidates = candidates[candidates < len(palette)]
        entries = palette[candidates]
        for start in range(bounds[group], bounds[group + 1], ROWS_AT_ONCE):
            rows = order[start : min(start + ROWS_AT_ONCE, bounds[group + 1])]
            found[rows] = candidates[_distances(vectors[rows], entries).argmin(axis=1)]
    return found


def _distances(vectors: Floats, entries: Floats) -> Floats:
    """Squared, less the vectors' own squares, which no comparison along a row needs."""
    products = vectors @ entries.T
    products *= np.float32(-2)
    products += np.einsum("kd,kd->k", entries, entries)
    return products


def _centroids(vectors: Floats, weights: Floats, labels: Labels, present: Floats) -> Floats:
    """Weighted means of the vectors of each label; a label without vectors keeps what it had."""
    total = np.bincount(labels, weights, len(present))
    sums = _sums(vectors, weights, labels, np.zeros(present.shape, np.float64))
    named = total > 0
    sums[named] /= total[named, None]
    sums[~named] = present[~named]
    return sums.astype(np.float32)


@numba.njit(cache=True)
def _hashes(bits: Any, factors: Any) -> Any:  # pragma: no cover - compiled
    """Row by row, because a copy of all harmonics would be a third of the memory that encoding takes."""
    hashes = np.zeros(len(bits), np.uint64)
    for i in range(len(bits)):
        mixed = np.uint64(0)
        for column in range(bits.shape[1]):
            word = np.uint64(bits[i, column])
            if word == np.uint64(0x80000000):  # -0 is 0
                word = np.uint64(0)
            mixed = (mixed ^ word) * factors[column]
            mixed ^= mixed >> np.uint64(29)
        hashes[i] = mixed
    return hashes


@numba.njit(cache=True)
def _errors(vectors: Any, palette: Any, labels: Any) -> Any:  # pragma: no cover - compiled
    errors = np.zeros(len(vectors), np.float32)
    for i in range(len(vectors)):
        for column in range(vectors.shape[1]):
            errors[i] += (vectors[i, column] - palette[labels[i], column]) ** 2
    return errors


@numba.njit(cache=True)
def _sums(vectors: Any, weights: Any, labels: Any, sums: Any) -> Any:  # pragma: no cover - compiled
    for i in range(len(vectors)):
        for column in range(vectors.shape[1]):
            sums[labels[i], column] += weights[i] * vectors[i, column]
    return sums


@numba.njit(cache=True, fastmath=True)
def _split(vectors: Any, entries: int, weights: Any) -> Any:  # pragma: no cover - compiled
    """(the rows, leaf by leaf; the first row of each leaf), by splits at the mean along the widest direction."""
    n = len(vectors)
    order, starts, leaves = np.arange(n), np.zeros(entries, np.int64), 0
    along, swap = np.empty(n, np.float32), np.empty(n, np.int64)
    stack = np.zeros((4096, 3), np.int64)
    stack[0] = (0, n, entries)
    top = 1
    while top > 0:
        top -= 1
        low, high, share = stack[top]
        share = min(share, high - low)
        left = _project(vectors, order, low, high, along) if share > 1 else 0
        if left == 0 or left == high - low:  # one entry for all of them, or all alike
            starts[leaves] = low
            leaves += 1
            continue
        weight_left, weight_right = _part(order, low, high, left, along, weights, swap)
        wanted = int(np.rint(share * weight_left / max(weight_left + weight_right, 1e-30)))
        wanted = min(max(wanted, 1, share - (high - low - left)), share - 1, left)
        stack[top] = (low + left, high, share - wanted)
        stack[top + 1] = (low, low + left, wanted)
        top += 2
    return order, starts[:leaves]


@numba.njit(cache=True, fastmath=True)
def _project(vectors: Any, order: Any, low: int, high: int, along: Any) -> int:  # pragma: no cover - compiled
    """Fill `along` with the place of each row along the widest direction; the number of rows at most at the mean."""
    mean = np.zeros(vectors.shape[1], np.float32)
    for i in range(low, high):
        mean += vectors[order[i]]
    mean /= high - low
    direction = _widest_direction(vectors, order, low, high, mean)
    left = 0
    for i in range(low, high):
        along[i] = ((vectors[order[i]] - mean) * direction).sum()
        left += along[i] <= 0
    return left


@numba.njit(cache=True, fastmath=True)
def _widest_direction(vectors: Any, order: Any, low: int, high: int, mean: Any) -> Any:  # pragma: no cover - compiled
    """Power iteration from the farthest row towards the first principal component, on samples of the rows."""
    count = high - low
    direction = vectors[order[low]] - mean
    farthest = 0.0
    for i in range(low, high, max(1, count // 64)):
        offset = vectors[order[i]] - mean
        length = (offset * offset).sum()
        if length > farthest:
            farthest, direction = length, offset
    for _ in range(2):
        turned = np.zeros(len(mean), np.float32)
        for i in range(low, high, max(1, count // 1024)):
            offset = vectors[order[i]] - mean
            turned += offset * (offset * direction).sum()
        length = np.sqrt((turned * turned).sum())
        if length > 0:
            direction = turned / length
    return direction


@numba.njit(cache=True, fastmath=True)
def _part(
    order: Any, low: int, high: int, left: int, along: Any, weights: Any, swap: Any
) -> tuple[float, float]:  # pragma: no cover - compiled
    """Move the `left` rows at most at the mean before the others; what the errors of both sides weigh."""
    mass_left, mass_right, spread_left, spread_right = 0.0, 0.0, 0.0, 0.0
    at_left, at_right = low, low + left
    for i in range(low, high):
        if along[i] <= 0:
            swap[at_left] = order[i]
            at_left += 1
            mass_left += weights[order[i]]
            spread_left += weights[order[i]] * along[i] * along[i]
        else:
            swap[at_right] = order[i]
            at_right += 1
            mass_right += weights[order[i]]
            spread_right += weights[order[i]] * along[i] * along[i]
    order[low:high] = swap[low:high]
    return np.sqrt(mass_left * spread_left), np.sqrt(mass_right * spread_right)
