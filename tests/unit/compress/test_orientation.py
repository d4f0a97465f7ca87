"""The 24 ways to write one Gaussian: one is always chosen, and the Gaussian stays the same."""

import numpy as np
from sample_splats import ball

from splatkit.compress.quality import covariances
from splatkit.orientation import canonical, quats_of, rotation_matrices
from splatkit.splats import unit_quats


def test_the_ellipsoid_stays_the_same_whatever_way_is_chosen() -> None:
    splats = ball(3000)
    before, after = covariances(splats), covariances(canonical(splats))
    size = np.abs(before).max(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(after / size, before / size, atol=2e-5)


def test_no_rotation_is_left_larger_than_a_cube_allows() -> None:
    quats = canonical(ball(3000)).quats
    assert np.degrees(2 * np.arccos(quats[:, 0].min())) < 62.9  # the corner of the truncated cube of rotations
    assert (np.abs(quats).argmax(axis=1) == 0).all()


def test_all_24_ways_come_out_as_one() -> None:
    splats = canonical(ball(200))
    once = canonical(splats)
    np.testing.assert_allclose(once.quats, splats.quats, atol=1e-6)
    np.testing.assert_array_equal(once.scales, splats.scales)


def test_matrices_and_quaternions_are_each_others_inverse() -> None:
    quats = unit_quats(np.random.default_rng(0).normal(size=(500, 4)).astype(np.float32))
    quats[0] = [0, 1, 0, 0]  # a half turn, where the trace is no help
    back = quats_of(rotation_matrices(quats))
    np.testing.assert_allclose(np.abs((quats * back).sum(axis=1)), 1, atol=1e-5)
