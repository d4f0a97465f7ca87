"""Splats that cannot or need not be kept: broken numbers, and Gaussians that no picture shows."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from splatkit.compress.sog_encoder import is_visible
from splatkit.errors import input_error
from splatkit.formats.limits import require_believable
from splatkit.splats import Splats

MOST_BROKEN = 0.05  # of all splats; beyond, the training is at fault
OPAQUE_LOGIT = 13.8  # what +infinity, an opacity of exactly one, becomes
# What is finite and yet broken, by magnitude. One splat that far out takes so much of the 16 bits that SOG has for the
# logarithm of positions that all others move by a tenth of a pixel.
FARTHEST = 1e12
# Logarithms: what float32's exp still holds, to which flatter ones are set; what would fill that space.
SMALLEST, LARGEST = -85.0, 27.6
LONGEST_QUAT = 1e12  # and its inverse: float32 holds the squares, by which they are normalised
BRIGHTEST = 1000.0  # sh0 and shN: 255 times white, so that even the faintest splat would be a white one
ROWS_AT_ONCE = 1 << 16
FAR = 100  # times the median distance from the median centre: a splat there is a training's stray


@dataclass(frozen=True)
class Cleaned:
    splats: Splats
    dropped: dict[str, int]  # by reason


def without_broken(splats: Splats) -> Cleaned:
    """Raises StageError (input_error) when more than 5 % have NaN, infinite or impossible values, or none is left."""
    scales = np.where(splats.scales > -np.inf, np.maximum(splats.scales, np.float32(SMALLEST)), splats.scales)
    splats = replace(splats, opacities=np.minimum(splats.opacities, np.float32(OPAQUE_LOGIT)), scales=scales)
    broken = _broken_by_attribute(splats)
    any_broken = np.logical_or.reduce(list(broken.values()))
    counts = {name: int(rows.sum()) for name, rows in broken.items() if rows.any()}
    if any_broken.sum() > MOST_BROKEN * len(splats):
        which = ", ".join(f"{name} of {count:,}" for name, count in counts.items())
        cause = f"{any_broken.sum():,} of {len(splats):,} splats have NaN, infinite or impossible values: {which}"
        raise input_error("broken_splats", cause, "The training diverged: train again, with lower learning rates.")
    dropped = {"broken": int(any_broken.sum())} if any_broken.any() else {}
    return Cleaned(splats.take(~any_broken) if dropped else splats, dropped)


def _broken_by_attribute(splats: Splats) -> dict[str, NDArray[np.bool_]]:
    """-infinity is an honest opacity of zero, but nothing can be stored of it."""
    most = float(np.finfo(np.float32).max)
    limits: dict[str, tuple[float, float]] = {
        "means": (-FARTHEST, FARTHEST), "scales": (SMALLEST, LARGEST), "quats": (-LONGEST_QUAT, LONGEST_QUAT),
        "opacities": (-most, most), "sh0": (-BRIGHTEST, BRIGHTEST), "shN": (-BRIGHTEST, BRIGHTEST),
    }  # fmt: skip
    broken = {name: _outside(getattr(splats, name).reshape(len(splats), -1), *limits[name]) for name in limits}
    broken["quats"] |= np.abs(splats.quats).max(axis=1) < 1 / LONGEST_QUAT
    return broken


def _outside(values: NDArray[np.float32], low: float, high: float) -> NDArray[np.bool_]:
    """[N] rows with a value that is not from `low` to `high`, or no number."""
    parts = (values[start : start + ROWS_AT_ONCE] for start in range(0, len(values), ROWS_AT_ONCE))
    return np.concatenate([~((part >= low) & (part <= high)).all(axis=1) for part in parts])


def without_invisible(splats: Splats) -> tuple[NDArray[np.int64], dict[str, int]]:
    """(rows that stay, how many go by reason): what is fainter than 8 bits can show goes, and strays far outside."""
    faint = ~is_visible(splats)
    centre = np.median(splats.means, axis=0)
    distance = np.linalg.norm(splats.means - centre, axis=1)
    far = distance > FAR * max(float(np.median(distance)), 1e-12)
    gone = faint | far
    if gone.all():
        raise input_error("no_splats", "not one splat is visible", "Look at the training's report and train again.")
    counts = {"faint": int(faint.sum()), "outside": int((far & ~faint).sum())}
    return np.flatnonzero(~gone), {reason: count for reason, count in counts.items() if count}


def require_readable(splats: int, visible: int, held: int) -> None:
    """A million invisible splats take so few bytes that a careful reader, ours too, takes the file for a forgery."""
    try:
        require_believable(splats, held)
    except ValueError as problem:
        cause = (
            f"{splats - visible:,} of {splats:,} splats are invisible, and no reader would believe the file: {problem}"
        )
        raise input_error("mostly_invisible", cause, "Give --prune true, which leaves them out.") from problem
