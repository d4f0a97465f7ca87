"""Which photos are compared with which, and what holds together afterwards."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from splatworks.contract.stages.sfm import Matching

Pair = tuple[int, int]

EXHAUSTIVE_UP_TO = 40  # photos; 780 pairs take seconds, and nothing is missed
MAX_REPAIR_PAIRS_PER_PHOTO = 60
MIN_PART = 3  # photos that hold together; fewer are strays


@dataclass(frozen=True)
class MatchingPlan:
    method: str
    why: str
    pairs: list[Pair]  # indices into the photos, each pair once, smaller index first


@dataclass(frozen=True)
class Graph:
    """What the comparison found: verified pairs of photos with their matches, and the parts they connect."""

    compared: int
    links: list[tuple[int, int, int]]  # two indices into the photos, matches
    parts: list[list[int]]  # the largest first
    in_full: frozenset[Pair] = frozenset()  # pairs compared by all their features, not only by the largest


def plan_pairs(
    method: Matching, positions: np.ndarray | None, count: int, neighbours: int, overlap: int, frames: bool = False
) -> MatchingPlan:
    """positions: [count, 3] metres, or None unless (nearly) all photos have GPS; rows of NaN are matched by order.

    frames: all photos are frames of videos, so that their order is the camera's way.
    """
    chosen, why = _choose(method, positions, count, frames)
    if chosen == "spatial" and positions is not None:
        return MatchingPlan(chosen, why, spatial_pairs(positions, neighbours, overlap))
    if chosen == "sequential":
        return MatchingPlan(chosen, why, sequential_pairs(count, overlap))
    return MatchingPlan("exhaustive", why, list(combinations(range(count), 2)))


def _choose(method: Matching, positions: np.ndarray | None, count: int, frames: bool) -> tuple[str, str]:
    if method == "spatial" and positions is None:
        return "exhaustive", "spatial was asked for, but the photos have no GPS"
    if method != "auto":
        return method, "as asked"
    if count <= EXHAUSTIVE_UP_TO:
        return "exhaustive", f"{count} photos are at most {EXHAUSTIVE_UP_TO}"
    if positions is not None:
        return "spatial", "the photos have GPS"
    if frames:
        return "sequential", "the photos are frames of a video"
    if count <= 4 * EXHAUSTIVE_UP_TO:
        return "exhaustive", f"no GPS, and {count} photos are at most {4 * EXHAUSTIVE_UP_TO}"
    return "sequential", f"no GPS, and {count} photos are too many to compare all"


def spatial_pairs(positions: np.ndarray, neighbours: int, overlap: int) -> list[Pair]:
    """The nearest photos of each, so the cost grows linearly; photos without a place follow the order."""
    placed = np.flatnonzero(np.isfinite(positions).all(axis=1))
    pairs: set[Pair] = set()
    for index in placed.tolist():
        distance = np.linalg.norm(positions[placed] - positions[index], axis=1)
        nearest = placed[np.argsort(distance, kind="stable")[: neighbours + 1]]
        pairs |= {_ordered(index, other) for other in nearest.tolist() if other != index}
    for index in set(range(len(positions))) - set(placed.tolist()):
        near = range(max(0, index - overlap), min(len(positions), index + overlap + 1))
        pairs |= {_ordered(index, other) for other in near if other != index}
    return sorted(pairs)


def sequential_pairs(count: int, overlap: int) -> list[Pair]:
    """Each photo with the next `overlap`, and with some at doubling distances, which closes the turns of a flight."""
    steps = sorted({*range(1, overlap + 1), *(2**k for k in range(overlap.bit_length(), max(count, 2).bit_length()))})
    return sorted((i, i + step) for step in steps for i in range(count - step))


def components(count: int, pairs: Iterable[Pair]) -> list[list[int]]:
    """Connected parts, the largest first."""
    parent = list(range(count))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for i, j in pairs:
        parent[root(i)] = root(j)
    parts: dict[int, list[int]] = {}
    for i in range(count):
        parts.setdefault(root(i), []).append(i)
    return sorted(parts.values(), key=lambda part: (-len(part), part))


def tried_enough(graph: Graph, planned: Iterable[Pair]) -> set[Pair]:
    """Pairs that comparing once more would not help: those compared in full, and all planned ones of strays.

    A stray was compared in full with what it is most like. Photos of a larger part may lead to the others weakly.
    """
    strays = {index for part in graph.parts if len(part) < MIN_PART for index in part}
    return set(graph.in_full) | {pair for pair in planned if not strays.isdisjoint(pair)}


def repair_pairs(parts: Sequence[Sequence[int]], tried: Iterable[Pair], count: int) -> list[Pair]:
    """Untried pairs across the parts, evenly chosen when they are too many: the fallback when the graph falls apart.

    In order, as if chosen from the list of them all, which would take memory by the square of the photos.
    """
    part_of = np.zeros(count, dtype=int)
    for number, part in enumerate(parts):
        part_of[list(part)] = number
    known = _seconds_by_first((i, j) for i, j in set(tried) if i < j and part_of[i] != part_of[j])
    ends = np.cumsum(_later_in_other_parts(parts, count) - [len(known.get(i, ())) for i in range(count)])
    limit, total = MAX_REPAIR_PAIRS_PER_PHOTO * count, int(ends[-1]) if count else 0
    chosen = np.arange(total) if total <= limit else np.linspace(0, total - 1, limit).round().astype(int)
    pairs: list[Pair] = []
    for i, ranks in enumerate(np.split(chosen, np.searchsorted(chosen, ends))[:count]):
        if len(ranks):
            fits = part_of != part_of[i]
            fits[: i + 1] = False
            fits[known.get(i, [])] = False
            others = np.flatnonzero(fits)
            first = ends[i] - len(others)  # the rank, among all pairs, of the first of this photo
            pairs += [(i, j) for j in others[ranks - first].tolist()]
    return pairs


def _later_in_other_parts(parts: Sequence[Sequence[int]], count: int) -> np.ndarray:
    """Of each photo, how many after it lie in other parts."""
    later = np.arange(count)[::-1].copy()
    for part in parts:
        later[sorted(part)] -= np.arange(len(part))[::-1]
    return later


def _seconds_by_first(pairs: Iterable[Pair]) -> dict[int, list[int]]:
    seconds: dict[int, list[int]] = {}
    for first, second in pairs:
        seconds.setdefault(first, []).append(second)
    return seconds


def _ordered(i: int, j: int) -> Pair:
    return (i, j) if i < j else (j, i)
