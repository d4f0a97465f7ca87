"""Which order of the splats makes the smallest SOG."""

from collections.abc import Callable
from typing import Literal

from splatkit.orientation import canonical
from splatkit.sog_encoder import ORDERS, Precision, encode_sog
from splatkit.splats import Splats

OrderChoice = Literal["auto", "hilbert", "morton", "plas"]
TRIED = ("hilbert", "morton")


def in_order(splats: Splats, order: OrderChoice, say: Callable[[str], None]) -> Splats:
    splats = canonical(splats)
    if order != "auto":
        return splats.take(ORDERS[order](splats))
    without_harmonics = splats.with_sh_degree(0)  # they are a palette, and cost the same in any order
    sizes = {}
    for name in TRIED:
        ordered = without_harmonics.take(ORDERS[name](splats))
        sizes[name] = encode_sog(ordered, Precision(), "given").files.size
    best = min(sizes, key=lambda name: sizes[name])
    say(f"order {best}: " + ", ".join(f"{name} {size / 1e6:.3f} MB" for name, size in sizes.items()))
    return splats.take(ORDERS[best](splats))
