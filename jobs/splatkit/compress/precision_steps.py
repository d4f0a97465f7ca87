"""Steps between small and fine, and the search for the one that meets a limit of loss or of size."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from splatkit.compress.levels import LEAST_SPLATS, merged, visible_part
from splatkit.compress.quality import Judge, Quality
from splatkit.compress.sog_encoder import Encoded, Precision, encode_sog
from splatkit.errors import input_error
from splatkit.splats import Splats

Order = Callable[[Splats], NDArray[np.int64]]

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
BYTES_OF_ZIP = 1200  # headers of the bundle, at most
FILLED, AIM = 0.9, 0.96  # of a size that was asked for: what is good enough, and what is tried for
MOST_TRIES = 12


@dataclass(frozen=True)
class Encoding:
    step: str
    encoded: Encoded
    quality: Quality
    merged: int = 0  # splats fewer than the source has, to meet a size


def within_loss(
    splats: Splats, judge: Judge, max_loss_db: float, order: Order, say: Callable[[str], None], cut_db: float = 0
) -> Encoding:
    """The usual precision, and finer ones until the pictures lose no more than allowed.

    `cut_db` is what they lost before, as was asked for: it comes on top.
    """
    rows = order(splats)
    for step in ("usual", "fine", "finest"):
        encoded = encode_sog(splats, STEPS[step], rows)
        quality = judge.compare(encoded.files.decode())
        cut = f" beside {cut_db:.3f} cut away" if cut_db else ""
        lost = f"{quality.loss_db:.3f} dB lost of {max_loss_db:g} allowed{cut}"
        say(f"precision {step}: {encoded.files.size / 1e6:.2f} MB, {lost}")
        if quality.loss_db - cut_db <= max_loss_db:
            break
    return Encoding(step, encoded, quality)


def within_size(splats: Splats, judge: Judge, most_bytes: int, order: Order, say: Callable[[str], None]) -> Encoding:
    """The finest precision that fits; below the coarsest, neighbouring splats are merged as well."""
    names, fitting, size = list(STEPS), None, 0
    low, high, rows = 0, len(names), order(splats)
    while low < high:  # sizes fall from step to step
        middle = (low + high) // 2
        encoded = encode_sog(splats, STEPS[names[middle]], rows)
        size = encoded.files.size + BYTES_OF_ZIP
        say(f"precision {names[middle]}: {size / 1e6:.3f} MB of {most_bytes / 1e6:.3f} allowed")
        if size <= most_bytes:
            fitting, high = (names[middle], encoded), middle
        else:
            low = middle + 1
    if fitting:
        return Encoding(fitting[0], fitting[1], judge.compare(fitting[1].files.decode()))
    encoded = _merged_to_size(splats, size, most_bytes, order, say)  # the last one tried was the coarsest
    quality = judge.compare(encoded.files.decode())
    return Encoding("least", encoded, quality, merged=len(splats) - len(encoded.order))


def _merged_to_size(splats: Splats, size: int, most_bytes: int, order: Order, say: Callable[[str], None]) -> Encoded:
    """As many splats as fit, by secants between a number that fits and one that does not; `size` is that of all."""
    source = visible_part(splats.with_sh_degree(0))  # the coarsest precision has no harmonics
    few, many = (0, BYTES_OF_ZIP), (len(source), size)  # numbers of splats, and what they take
    best: Encoded | None = None
    for _ in range(MOST_TRIES):
        count = _between(few, many, AIM * most_bytes)
        if not few[0] < count < many[0]:
            break
        part = merged(source, count)
        encoded = encode_sog(part, STEPS["least"], order(part))
        size = encoded.files.size + BYTES_OF_ZIP
        say(f"merged to {count:,} splats: {size / 1e6:.3f} MB of {most_bytes / 1e6:.3f} allowed")
        if size > most_bytes:
            many = count, size
            continue
        few, best = (count, size), encoded
        if size >= FILLED * most_bytes:
            break
    if best is None:
        cause = f"target_mb of {most_bytes / 1e6:g} leaves fewer than {LEAST_SPLATS:,} of {len(splats):,} splats"
        raise input_error("target_too_small", cause, "Give a larger --target-mb.")
    return best


def _between(few: tuple[int, int], many: tuple[int, int], size: float) -> int:
    """The number of splats on the line through both at `size`; away from its ends, so that each try narrows it."""
    share = (size - few[1]) / max(many[1] - few[1], 1)
    return max(round(few[0] + min(max(share, 0.05), 0.95) * (many[0] - few[0])), LEAST_SPLATS)
