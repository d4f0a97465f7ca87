"""Levels of detail: fewer Gaussians that look the same from afar, made by merging neighbours."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from splatkit.compress.curves import hilbert_order
from splatkit.compress.sog_encoder import is_visible, log_means
from splatkit.formats.spool import release
from splatkit.orientation import quats_of, rotation_matrices
from splatkit.splats import Floats, Splats, join, logit, unit_quats

LEAST_SPLATS = 500  # no level has fewer
MOST_ALPHA = 0.9999
ROWS_AT_ONCE = 1 << 16
COLOUR_WEIGHT = 4.0  # of a difference in colour against one of place, in the choice of what to merge

Index = NDArray[np.int64]


def levels_of_detail(splats: Splats, count: int) -> Iterator[Splats]:
    """The whole first, then each about half of the one before.

    Only what shows: the encoder puts the rest last, and a leaf of the files, which names a range, would name others.
    """
    splats = visible_part(splats)
    yield splats
    for _ in range(count - 1):
        if len(splats) // 2 < LEAST_SPLATS:
            return
        splats = visible_part(merged(splats, len(splats) // 2))
        yield splats


def visible_part(splats: Splats) -> Splats:
    visible = is_visible(splats)
    return splats if visible.all() or not visible.any() else splats.take(visible)


def merged(splats: Splats, count: int) -> Splats:
    """At most `count` Gaussians: neighbours on a Hilbert curve become one of the same moments, cheapest first."""
    geometry = splats.with_sh_degree(0)
    into, share = np.arange(len(splats)), np.ones(len(splats), np.float32)  # which one each becomes a part of
    while len(geometry) > count:
        order = hilbert_order(log_means(geometry.means).astype(np.float32))
        firsts = _disjoint(np.argsort(_costs(geometry, order), kind="stable"), len(geometry) - count)
        geometry, becomes, shares = _merge_pairs(geometry, order[firsts], order[firsts + 1])
        share *= shares[into]
        into = becomes[into]
    harmonics = np.zeros((len(geometry), *splats.shN.shape[1:]), np.float32)
    for start in range(0, len(splats) if splats.sh_degree else 0, ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        _mix(splats.shN[part], into[part], share[part], harmonics)
        release(splats.shN)
    return replace(geometry, shN=harmonics)


def _costs(splats: Splats, order: Index) -> Floats:
    """Of merging each splat with the next in order: how far apart they are for their size, how different in colour."""
    costs = np.empty(len(order) - 1, np.float32)
    for start in range(0, len(costs), ROWS_AT_ONCE):
        near = splats.take(order[start : start + ROWS_AT_ONCE + 1])
        a, b = near.take(slice(0, -1)), near.take(slice(1, None))
        variance = (np.exp(2 * a.scales) + np.exp(2 * b.scales)).sum(axis=1)
        apart = ((a.means - b.means) ** 2).sum(axis=1) / (variance + 1e-20)
        colour = ((a.sh0 - b.sh0) ** 2).sum(axis=1)
        seen = a.alphas * np.exp(_broad(a)) + b.alphas * np.exp(_broad(b))
        costs[start : start + len(a)] = (apart + COLOUR_WEIGHT * colour) * seen
    return costs


@numba.njit(cache=True)
def _disjoint(order: Any, wanted: int) -> Any:  # pragma: no cover - compiled
    """The first of each pair (i, i + 1), taken in `order` where both are still free, until there are enough."""
    free = np.ones(len(order) + 1, np.bool_)
    firsts = np.empty(min(wanted, len(order)), np.int64)
    found = 0
    for i in order:
        if found == wanted:
            break
        if free[i] and free[i + 1]:
            free[i] = free[i + 1] = False
            firsts[found] = i
            found += 1
    return firsts[:found]


def _merge_pairs(splats: Splats, first: Index, second: Index) -> tuple[Splats, Index, Floats]:
    """What is alone, then the pairs as one each; what each splat becomes, and its share in that."""
    alone = np.ones(len(splats), bool)
    alone[first] = alone[second] = False
    becomes, shares = np.cumsum(alone) - 1, np.ones(len(splats), np.float32)
    becomes[first] = becomes[second] = np.arange(len(first)) + np.count_nonzero(alone)
    parts = [splats.take(alone)]
    for start in range(0, len(first), ROWS_AT_ONCE):
        a, b = (rows[start : start + ROWS_AT_ONCE] for rows in (first, second))
        pairs, share = _merge(splats.take(a), splats.take(b))
        parts.append(pairs)
        shares[a], shares[b] = share
    return join(parts), becomes, shares


def _merge(a: Splats, b: Splats) -> tuple[Splats, Floats]:
    """One Gaussian per pair with the pair's mean, covariance, mean colour and opacity times area; [2, n] shares."""
    mass = np.stack([s.alphas * np.exp(_broad(s)) for s in (a, b)]).astype(np.float64) + 1e-30
    shares = mass / mass.sum(axis=0)
    share = shares[..., None]
    means = share[0] * a.means + share[1] * b.means
    covariance = np.zeros((len(a), 3, 3))
    for part, weight in zip((a, b), share, strict=True):
        turned = rotation_matrices(unit_quats(part.quats)) * np.exp(part.scales)[:, None, :]
        offset = part.means - means
        own = np.einsum("nij,nkj->nik", turned, turned) + np.einsum("ni,nj->nij", offset, offset)
        covariance += weight[..., None] * own
    variances, axes = np.linalg.eigh(covariance)
    axes[..., 0] *= np.sign(np.linalg.det(axes))[:, None]
    scales = (0.5 * np.log(np.maximum(variances, 1e-30))).astype(np.float32)
    area = np.exp(np.sort(scales, axis=1)[:, 1:].sum(axis=1))
    alphas = np.minimum(mass.sum(axis=0) / area, MOST_ALPHA).astype(np.float32)
    pairs = replace(
        a,
        means=means.astype(np.float32),
        scales=scales,
        quats=quats_of(axes),
        opacities=logit(alphas),
        sh0=(share[0] * a.sh0 + share[1] * b.sh0).astype(np.float32),
    )
    return pairs, shares.astype(np.float32)


@numba.njit(cache=True)
def _mix(harmonics: Any, into: Any, share: Any, mixed: Any) -> None:  # pragma: no cover - compiled
    """Adds each splat's harmonics, by its share, to those of the splat that it became a part of."""
    for i in range(len(harmonics)):
        for k in range(harmonics.shape[1]):
            for channel in range(3):
                mixed[into[i], k, channel] += share[i] * harmonics[i, k, channel]


def _broad(splats: Splats) -> NDArray[np.float32]:
    """Logarithm of the area seen on the broad side."""
    return np.sort(splats.scales, axis=1)[:, 1:].sum(axis=1)
