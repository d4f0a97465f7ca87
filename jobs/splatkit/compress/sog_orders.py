"""Which order of the splats makes the smallest SOG."""

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from splatkit.compress.plas import plas_order
from splatkit.compress.sog_encoder import ORDERS as CURVES
from splatkit.compress.sog_encoder import Precision, encode_sog
from splatkit.orientation import canonical
from splatkit.splats import Splats

OrderChoice = Literal["auto", "hilbert", "morton", "plas"]
ORDERS: dict[str, Callable[[Splats], NDArray[np.int64]]] = {**CURVES, "plas": plas_order}
PLAS_SPLATS = 300_000  # sorting more takes longer than it can be worth


def in_order(splats: Splats, order: OrderChoice, say: Callable[[str], None]) -> Splats:
    splats = canonical(splats)
    if order != "auto":
        return splats.take(ORDERS[order](splats))
    without_harmonics = splats.with_sh_degree(0)  # they are a palette, and cost the same in any order
    sizes, rows = {}, {}
    for name in ORDERS if len(splats) <= PLAS_SPLATS else CURVES:
        rows[name] = ORDERS[name](splats)
        sizes[name] = encode_sog(without_harmonics.take(rows[name]), Precision(), "given").files.size
    best = min(sizes, key=lambda name: sizes[name])
    say(f"order {best}: " + ", ".join(f"{name} {size / 1e6:.3f} MB" for name, size in sizes.items()))
    return splats.take(rows[best])
