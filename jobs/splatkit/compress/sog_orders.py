"""Which order of the splats makes the smallest SOG."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from splatkit.compress.plas import PACKAGE_FAILED, package_device, plas_order
from splatkit.compress.sog_encoder import ORDERS as CURVES
from splatkit.compress.sog_encoder import Precision, encode_sog
from splatkit.errors import StageError
from splatkit.formats.webp import QUICK
from splatkit.orientation import canonical
from splatkit.splats import Splats
from splatworks.contract.stages.compress import Order

Rows = NDArray[np.int64]
ORDERS: dict[str, Callable[[Splats], Rows]] = {**CURVES, "plas": plas_order}
PLAS_SPLATS = 300_000  # sorting more takes longer than it can be worth
PLAS_SPLATS_ON_GPU = 2_000_000  # its arrays then take about 2 GB of the GPU


def order_of(splats: Splats, order: Order, say: Callable[[str], None]) -> Rows:
    """The rows in the order of the file."""
    splats = canonical(splats.with_sh_degree(0))  # harmonics are a palette, and cost the same in any order
    if order != "auto":
        return ORDERS[order](splats)
    best, least, sizes = np.arange(len(splats)), 0, []
    for name in orders_worth_trying(len(splats)):
        try:
            rows = ORDERS[name](splats)
        except StageError as problem:
            if problem.code != PACKAGE_FAILED:
                raise
            say(f"order {name} is left out: {problem.cause}")
            continue
        size = encode_sog(splats, Precision(), rows, QUICK).files.size
        sizes.append((size, name))
        if not least or size < least:
            best, least = rows, size
    say(f"order {min(sizes)[1]}: " + ", ".join(f"{name} {size / 1e6:.3f} MB" for size, name in sizes))
    return best


def orders_worth_trying(count: int) -> list[str]:
    most = PLAS_SPLATS_ON_GPU if package_device() else PLAS_SPLATS
    return list(ORDERS if count <= most else CURVES)
