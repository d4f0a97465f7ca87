"""Steps between small and fine, and the search for the one that meets a limit of loss or of size."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from splatkit.compress.levels import merged
from splatkit.compress.quality import Judge, Quality
from splatkit.compress.sog_encoder import Encoded, Precision, encode_sog
from splatkit.errors import input_error
from splatkit.formats.spool import release
from splatkit.splats import Splats

Rows = NDArray[np.int64]

USUAL = Precision()
FINEST = Precision(means_step=1, quats_step=1, alpha_step=1, palette_noise=1e-4, palette_growth=64)
FINE = replace(FINEST, palette_noise=1e-3, palette_growth=2)
COARSE = replace(USUAL, keep_coded=False)
STEPS: dict[str, Precision] = {
    "finest": FINEST,
    "fine": FINE,
    "usual": USUAL,
    "small": replace(
        COARSE, quats_step=3, alpha_step=3, scales_error=2, sh0_error=2, palette_noise=0.02, palette_growth=1 / 2
    ),
    "smaller": replace(
        COARSE, means_step=4, quats_step=4, alpha_step=4, scales_error=3.5, sh0_error=4, palette_noise=0.05,
        palette_growth=1 / 4,
    ),
    "tiny": replace(
        COARSE, means_step=6, quats_step=7, alpha_step=6, scales_error=5, sh0_error=7, palette_noise=0.15,
        palette_growth=1 / 32,
    ),
    "least": replace(
        COARSE, means_step=12, quats_step=12, alpha_step=12, scales_error=10, sh0_error=12, sh_degree=0
    ),
}  # fmt: skip
FEWEST = 1000  # splats: below, there is no scene to speak of
BYTES_OF_ZIP = 1200  # headers of the bundle, at most


@dataclass(frozen=True)
class Attempt:
    step: str
    encoded: Encoded
    quality: Quality
    held: bool  # the limit that was asked for
    merged: int = 0  # splats fewer than the source has, to meet a size


def within_loss(splats: Splats, judge: Judge, max_loss_db: float, order: Rows, say: Callable[[str], None]) -> Attempt:
    """The usual precision, and finer ones until the pictures lose no more than allowed."""
    for step in ("usual", "fine", "finest"):
        encoded = encode_sog(splats, STEPS[step], order)
        quality = judge.compare(encoded.files.decode())
        held = quality.loss_db <= max_loss_db
        lost = f"{quality.loss_db:.3f} dB lost of {max_loss_db:g} allowed"
        say(f"precision {step}: {encoded.files.size / 1e6:.2f} MB, {lost}")
        if held:
            break
    return Attempt(step, encoded, quality, held)


def within_size(splats: Splats, judge: Judge, most_bytes: int, order: Rows, say: Callable[[str], None]) -> Attempt:
    """The finest precision that fits; below the coarsest, neighbouring splats are merged as well."""
    names, fitting = list(STEPS), None
    low, high = 0, len(names)
    while low < high:  # sizes fall from step to step
        middle = (low + high) // 2
        encoded = encode_sog(splats, STEPS[names[middle]], order)
        say(f"precision {names[middle]}: {encoded.files.size / 1e6:.2f} MB of {most_bytes / 1e6:.2f} allowed")
        if encoded.files.size + BYTES_OF_ZIP <= most_bytes:
            fitting, high = (names[middle], encoded), middle
        else:
            low = middle + 1
    if fitting:
        return Attempt(fitting[0], fitting[1], judge.compare(fitting[1].files.decode()), held=True)
    return _merged_to_size(splats, judge, most_bytes, say)


def _merged_to_size(splats: Splats, judge: Judge, most_bytes: int, say: Callable[[str], None]) -> Attempt:
    count, size = len(splats), most_bytes * 2
    for _ in range(12):
        count = int(count * min(0.95, 0.98 * most_bytes / size))
        if count < FEWEST:
            break
        encoded = encode_sog(merged(splats, count), STEPS["least"])
        release(splats.shN)
        size = encoded.files.size + BYTES_OF_ZIP
        say(f"merged to {count:,} splats: {size / 1e6:.2f} MB of {most_bytes / 1e6:.2f} allowed")
        if size <= most_bytes:
            quality = judge.compare(encoded.files.decode())
            return Attempt("least", encoded, quality, held=True, merged=len(splats) - count)
    cause = f"target_mb of {most_bytes / 1e6:g} leaves fewer than {FEWEST:,} of {len(splats):,} splats"
    raise input_error("target_too_small", cause, "Give a larger --target-mb.")
