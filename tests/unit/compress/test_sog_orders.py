"""The order of the splats in the file: the one asked for, and by default the one that makes it smallest."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sample_splats import ball

from splatkit.compress import sog_orders
from splatkit.compress.sog_encoder import Precision, encode_sog
from splatkit.compress.sog_orders import ORDERS, order_of
from splatkit.errors import StageError
from splatkit.formats.ply import write_ply
from splatkit.formats.sog import read_sog
from splatkit.formats.webp import QUICK
from splatkit.orientation import canonical
from splatkit.splats import Splats
from splatworks.contract.exit_codes import ExitCode

Run = Callable[..., tuple[int, dict[str, Any]]]


def silent(text: str) -> None:
    pass


@pytest.fixture(scope="module")
def splats() -> Splats:
    return ball(3000)


@pytest.mark.parametrize("name", ["hilbert", "morton", "plas"])
def test_the_order_asked_for_is_that_of_the_file(splats: Splats, name: Any) -> None:
    rows = order_of(splats, name, silent)
    np.testing.assert_array_equal(rows, ORDERS[name](canonical(splats)))
    others = [ORDERS[other](canonical(splats)) for other in ORDERS if other != name]
    assert not any(np.array_equal(rows, other) for other in others)


@pytest.mark.parametrize("name", ["hilbert", "morton", "plas"])
def test_the_stage_writes_the_order_it_is_told(run: Run, tmp_path: Path, splats: Splats, name: Any) -> None:
    write_ply(tmp_path / "in" / "splat.ply", splats)
    assert run("--levels", "1", "--order", name)[0] == ExitCode.DONE
    rows = ORDERS[name](canonical(splats))
    seen = rows[splats.alphas[rows] >= 1 / 255]
    written = read_sog(tmp_path / "out" / "scene.sog").means[: len(seen)]
    np.testing.assert_allclose(written, splats.means[seen], atol=1e-3)


def test_auto_does_without_a_package_that_fails_and_says_so(splats: Splats, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: Splats) -> None:
        raise StageError("plas_failed", "the plas package failed: CUDA out of memory", "")

    monkeypatch.setitem(sog_orders.ORDERS, "plas", fails)
    said: list[str] = []
    rows = order_of(splats, "auto", said.append)
    assert any(np.array_equal(rows, ORDERS[name](canonical(splats))) for name in ("hilbert", "morton"))
    assert said[0] == "order plas is left out: the plas package failed: CUDA out of memory"
    with pytest.raises(StageError):
        order_of(splats, "plas", said.append)


@pytest.mark.parametrize("smallest", ["hilbert", "morton", "plas"])
def test_auto_keeps_the_smallest(splats: Splats, smallest: str, monkeypatch: pytest.MonkeyPatch) -> None:
    draw, best = np.random.default_rng(0), ORDERS["hilbert"](canonical(splats))
    for name in ORDERS:
        rows = best if name == smallest else draw.permutation(len(splats))
        monkeypatch.setitem(sog_orders.ORDERS, name, lambda _, rows=rows: rows)
    said: list[str] = []
    np.testing.assert_array_equal(order_of(splats, "auto", said.append), best)
    assert said[0].startswith(f"order {smallest}: ")


def test_auto_is_no_larger_than_any(splats: Splats) -> None:
    source = canonical(splats)

    def size(rows: Any) -> int:
        return encode_sog(source, Precision(), rows, QUICK).files.size

    assert size(order_of(splats, "auto", silent)) == min(size(order(source)) for order in ORDERS.values())
