"""Levels of detail: fewer Gaussians that look the same from afar, made by merging neighbours."""

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from splatkit.compress.curves import hilbert_order
from splatkit.compress.sog_encoder import log_means
from splatkit.orientation import quats_of, rotation_matrices
from splatkit.splats import Floats, Splats, join, logit, unit_quats

LEAST_SPLATS = 500  # no level has fewer
MOST_ALPHA = 0.9999
COLOUR_WEIGHT = 4.0  # of a difference in colour against one of place, in the choice of what to merge


def levels_of_detail(splats: Splats, count: int) -> list[Splats]:
    """The whole first, then each about half of the one before."""
    levels = [splats]
    while len(levels) < count and len(levels[-1]) // 2 >= LEAST_SPLATS:
        levels.append(merged(levels[-1], len(levels[-1]) // 2))
    return levels


def merged(splats: Splats, count: int) -> Splats:
    """At most `count` Gaussians: neighbours on a Hilbert curve become one of the same moments, cheapest first."""
    while len(splats) > count:
        splats = splats.take(hilbert_order(log_means(splats.means).astype(np.float32)))
        order = np.argsort(_costs(splats), kind="stable")
        firsts = _disjoint(order, len(splats) - count)
        alone = np.ones(len(splats), bool)
        alone[firsts] = alone[firsts + 1] = False
        splats = join([splats.take(alone), _merge(splats.take(firsts), splats.take(firsts + 1))])
    return splats


def _costs(splats: Splats) -> Floats:
    """Of merging each splat with the next: how far apart they are for their size, and how different in colour."""
    a, b = splats.take(slice(0, -1)), splats.take(slice(1, None))
    variance = (np.exp(2 * a.scales) + np.exp(2 * b.scales)).sum(axis=1)
    apart = ((a.means - b.means) ** 2).sum(axis=1) / (variance + 1e-20)
    colour = ((a.sh0 - b.sh0) ** 2).sum(axis=1)
    seen = a.alphas * np.exp(_broad(a)) + b.alphas * np.exp(_broad(b))
    return ((apart + COLOUR_WEIGHT * colour) * seen).astype(np.float32)


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


def _merge(a: Splats, b: Splats) -> Splats:
    """One Gaussian per pair with the pair's mean, covariance, mean colour and opacity times area."""
    mass = np.stack([s.alphas * np.exp(_broad(s)) for s in (a, b)]).astype(np.float64) + 1e-30
    share = (mass / mass.sum(axis=0))[..., None]
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
    return Splats(
        means=means.astype(np.float32),
        scales=scales,
        quats=quats_of(axes),
        opacities=logit(alphas),
        sh0=(share[0] * a.sh0 + share[1] * b.sh0).astype(np.float32),
        shN=(share[0][..., None] * a.shN + share[1][..., None] * b.shN).astype(np.float32),
    )


def _broad(splats: Splats) -> NDArray[np.float32]:
    """Logarithm of the area seen on the broad side."""
    return np.sort(splats.scales, axis=1)[:, 1:].sum(axis=1)
