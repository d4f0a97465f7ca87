"""Parallel Linear Assignment Sorting: splats laid out on the picture so that neighbours on it are alike.

After Morgenstern et al., Compact 3D Scene Representation via Self-Organizing Gaussian Grids (2024): the grid is
blurred, and groups of four splats from one neighbourhood change places so that each lies nearest to the blurred value
there; the neighbourhood shrinks step by step. Here the blur is a box made of running sums, and blocks are sorted on all
cores. On a GPU the authors' package does it where it is installed. On real scenes Hilbert's order made smaller files,
by 2 to 3 %: positions cost more than colours and scales save.
"""

import os
from collections.abc import Mapping
from importlib.util import find_spec
from itertools import permutations
from typing import Any, Literal

import numba
import numpy as np
from numpy.typing import NDArray

from splatkit.compress.curves import hilbert_order
from splatkit.compress.sog_encoder import log_means
from splatkit.errors import StageError
from splatkit.splats import Floats, Splats
from splatkit.threads import in_parallel

PERMUTATIONS = np.array(list(permutations(range(4))), np.int64)
SHRINK = 0.95  # of the radius per step
LEAST_RADIUS = 1.0
PASSES = 20  # over all blocks per radius, at most; fewer once a pass improves too little
LEAST_IMPROVEMENT = 3e-4  # of the distance to the blurred grid
PACKAGE_FAILED = "plas_failed"
PACKAGE_BREAK = 1e-4  # the package's own measure of the same
PACKAGE_LEAST_SIDE = 16  # its smallest block: of less it makes nothing
# What a channel weighs: about the bytes that a step of it costs, measured on real scenes.
WEIGHTS = {"means": 4.0, "scales": 1.0, "quats": 0.5, "sh0": 1.0, "alphas": 0.3}


def plas_order(splats: Splats, seed: int = 0) -> NDArray[np.int64]:
    """An order which, written row by row on SOG's picture, is smooth in both directions."""
    width = -(-int(np.ceil(np.sqrt(len(splats)))) // 4) * 4
    start = hilbert_order(log_means(splats.means).astype(np.float32))
    rows = len(splats) // width  # what does not fill a row stays at the end
    if rows < 4:
        return start
    items = features(splats)[start[: rows * width]].reshape(rows, width, FEATURES)
    device = package_device() if rows >= PACKAGE_LEAST_SIDE else None
    # Hilbert brought them near, so that ours need not begin with half the width.
    places = sort_with_package(items, seed, device) if device else sort_grid(items, seed, width / 8)
    return np.concatenate([start[places], start[len(places) :]])


def package_device() -> Literal["cuda"] | None:
    """Where the authors' package is worth calling: on a GPU. On a CPU it takes 3 to 11 times longer for no more.

    Torch takes 200 MB, so it is not imported only to hear that there is no package.
    """
    if os.environ.get("COMPUTE_TYPE") == "cpu" or find_spec("plas") is None:
        return None
    import torch

    return "cuda" if torch.cuda.is_available() else None


def sort_with_package(items: Floats, seed: int, device: str) -> NDArray[np.int64]:
    """As sort_grid, for a grid no higher than wide. The package sorts squares: columns beyond one stay as they were.

    They are the last items, filled in row by row. Raises StageError for what is no permutation.
    """
    import plas
    import torch

    height, width, depth = items.shape
    count = height * height
    square = torch.from_numpy(items.reshape(-1, depth)[:count].T.reshape(depth, height, height).copy())
    try:
        _, indices = plas.sort_with_plas(square.to(device), improvement_break=PACKAGE_BREAK, seed=seed, verbose=False)
    except RuntimeError as problem:  # torch's own, a GPU without memory among them
        raise _package_failed(f"failed: {problem}") from problem
    places = indices.flatten().cpu().numpy().astype(np.int64)
    if not np.array_equal(np.sort(places), np.arange(count)):
        raise _package_failed(f"returned {len(np.unique(places))} different places for {count} splats")
    beside = np.arange(count, height * width).reshape(height, width - height)
    return np.concatenate([places.reshape(height, height), beside], axis=1).ravel()


def _package_failed(how: str) -> StageError:
    fix = "Give --order hilbert, or install the version of docker/gpu.Dockerfile."
    return StageError(PACKAGE_FAILED, f"the plas package {how}", fix)


def sort_grid(items: Floats, seed: int = 0, start_radius: float | None = None) -> NDArray[np.int64]:
    """[H * W] which item (row-major in [H, W, D] `items`) belongs at each place; the same for any number of threads."""
    height, width, depth = items.shape
    draw = np.random.default_rng(seed)
    flat = np.ascontiguousarray(items.reshape(-1, depth), np.float32)
    places = np.arange(height * width)
    radius = start_radius or max(height, width) / 2
    while radius >= LEAST_RADIUS:
        target = _blurred(flat[places].reshape(height, width, depth), max(1, round(radius)))
        target = np.ascontiguousarray(target.reshape(-1, depth))
        for _ in range(PASSES):
            before, after = _swap(flat, target, places, (height, width), int(2 * radius) + 2, draw)
            if before - after < LEAST_IMPROVEMENT * before:
                break
        radius *= SHRINK
    return places


def neighbour_distance(items: Floats) -> float:
    """Mean distance of neighbours to the right and below, in an [H, W, D] grid: PLAS' own measure."""
    right = np.linalg.norm(np.diff(items, axis=1), axis=-1)
    below = np.linalg.norm(np.diff(items, axis=0), axis=-1)
    return float((right.sum() + below.sum()) / (right.size + below.size))


FEATURES = 14


def features(splats: Splats, weights: Mapping[str, float] = WEIGHTS) -> Floats:
    """[N, FEATURES] what is sorted by, each between 0 and its weight."""
    attributes: dict[str, NDArray[np.floating]] = {
        "means": log_means(splats.means), "scales": splats.scales, "quats": splats.quats, "sh0": splats.sh0,
        "alphas": splats.alphas[:, None],
    }  # fmt: skip
    columns = []
    for name, values in attributes.items():
        low, high = np.quantile(values, [0.01, 0.99], axis=0)
        columns.append(weights[name] * (np.clip(values, low, high) - low) / np.maximum(high - low, 1e-12))
    return np.concatenate(columns, axis=1).astype(np.float32)


def _blurred(grid: Floats, radius: int) -> Floats:
    """Mean over a square of (2 radius + 1) places a side, less at the edges."""
    for axis in (0, 1):
        length = grid.shape[axis]
        sums = np.concatenate(
            [np.zeros_like(grid.take([0], axis), np.float64), np.cumsum(grid, axis, np.float64)], axis
        )
        low = np.maximum(np.arange(length) - radius, 0)
        high = np.minimum(np.arange(length) + radius + 1, length)
        shape = (-1, 1, 1) if axis == 0 else (1, -1, 1)
        grid = ((sums.take(high, axis) - sums.take(low, axis)) / (high - low).reshape(shape)).astype(np.float32)
    return grid


def _swap(
    items: Floats,
    target: Floats,
    places: NDArray[np.int64],
    size: tuple[int, int],
    side: int,
    draw: np.random.Generator,
) -> tuple[float, float]:
    """One pass over blocks of `side` places a side at a random offset; returns the distance before and after."""
    height, width = size
    top, left = (int(draw.integers(0, side)) for _ in range(2))
    rows, columns = -(-(height + top) // side), -(-(width + left) // side)
    seeds = draw.integers(0, 1 << 31, rows * columns)
    distance = np.zeros((rows * columns, 2))
    layout = np.array([height, width, side, top, left, columns])
    in_parallel(rows * columns, _sort_blocks, items, target, places, layout, seeds, distance)
    before, after = distance.sum(axis=0)
    return float(before), float(after)


@numba.njit(cache=True, nogil=True, fastmath=True)
def _sort_blocks(
    first: int, last: int, items: Any, target: Any, places: Any, layout: Any, seeds: Any, distance: Any
) -> None:  # pragma: no cover - compiled
    inside = np.empty(layout[2] * layout[2], np.int64)
    costs = np.empty((4, 4), np.float32)  # of each of four items at each of four places
    for block in range(first, last):
        np.random.seed(seeds[block])
        count = _shuffled_places(block, layout, inside)
        for start in range(0, count - 3, 4):
            at = inside[start : start + 4]
            four = (places[at[0]], places[at[1]], places[at[2]], places[at[3]])
            costs[:] = 0
            for d in range(items.shape[1]):
                for place in range(4):  # four sums side by side make one vector instruction
                    wanted = target[at[place], d]
                    costs[place, 0] += (items[four[0], d] - wanted) ** 2
                    costs[place, 1] += (items[four[1], d] - wanted) ** 2
                    costs[place, 2] += (items[four[2], d] - wanted) ** 2
                    costs[place, 3] += (items[four[3], d] - wanted) ** 2
            best, least = 0, np.float32(np.inf)
            for p in range(24):
                chosen = PERMUTATIONS[p]
                total = costs[0, chosen[0]] + costs[1, chosen[1]] + costs[2, chosen[2]] + costs[3, chosen[3]]
                if total < least:
                    best, least = p, total
            distance[block, 0] += costs[0, 0] + costs[1, 1] + costs[2, 2] + costs[3, 3]
            distance[block, 1] += least
            for place in range(4):
                places[at[place]] = four[PERMUTATIONS[best, place]]


@numba.njit(cache=True, nogil=True)
def _shuffled_places(block: int, layout: Any, inside: Any) -> int:  # pragma: no cover - compiled
    """Fill `inside` with the places of the grid in a block, in random order; their number."""
    height, width, side, top, left, columns = layout
    row, column = block // columns * side - top, block % columns * side - left
    count = 0
    for y in range(max(row, 0), min(row + side, height)):
        for x in range(max(column, 0), min(column + side, width)):
            inside[count] = y * width + x
            count += 1
    for i in range(count - 1, 0, -1):
        j = int(np.random.random() * (i + 1))
        inside[i], inside[j] = inside[j], inside[i]
    return count
