"""Space-filling curves."""

import numpy as np

from splatkit.compress.curves import hilbert_order, morton_order


def test_along_a_hilbert_curve_a_grid_is_walked_without_a_jump() -> None:
    grid = np.stack(np.meshgrid(*[np.arange(8)] * 3), -1).reshape(-1, 3).astype(np.float32)
    walked = grid[hilbert_order(grid)]
    np.testing.assert_array_equal(np.abs(np.diff(walked, axis=0)).sum(axis=1), 1)


def test_morton_order_interleaves_the_bits() -> None:
    grid = np.stack(np.meshgrid(*[np.arange(4)] * 3, indexing="ij"), -1).reshape(-1, 3).astype(np.float32)
    first = grid[morton_order(grid)][:8]
    assert first.tolist() == [[x, y, z] for z in (0, 1) for y in (0, 1) for x in (0, 1)]


def test_points_in_one_place_keep_their_order() -> None:
    points = np.ones((10, 3), np.float32)
    for order in (hilbert_order(points), morton_order(points)):
        assert order.tolist() == list(range(10))


def test_points_that_differ_by_less_than_an_inverse_can_hold_are_one_place() -> None:
    points = np.zeros((10, 3), np.float32)
    points[::2] = 1e-40
    with np.errstate(all="raise", under="ignore"):
        for order in (hilbert_order(points), morton_order(points)):
            assert order.tolist() == list(range(10))
