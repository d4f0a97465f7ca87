"""The first look: on the scene, whatever lies far behind it."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sample_splats import ball

from splatkit.splats import join
from splatkit.view.shots import Framing, framing, photographed_from, ring, shot_from


def test_a_ball_is_framed_as_a_whole() -> None:
    frame = framing(ball(3000))
    np.testing.assert_allclose(frame.centre, 0, atol=0.1)
    assert 1.0 < frame.radius < 1.4


def test_a_wide_backdrop_and_strays_do_not_shrink_the_scene() -> None:
    scene, sky, stray = ball(3000), ball(900, seed=2), ball(20, seed=3)
    sky = replace(sky, means=sky.means * np.float32(80), scales=sky.scales + np.float32(4.4))
    stray = replace(stray, means=stray.means * np.float32(1000) + np.float32(9000))
    frame = framing(join([scene, sky, stray]))
    np.testing.assert_allclose(frame.centre, 0, atol=0.3)
    assert 0.9 < frame.radius < 2


def test_one_splat_and_all_in_one_place_have_a_frame() -> None:
    heap = ball(50)
    for splats in (heap.take(slice(0, 1)), *(replace(heap, means=heap.means * 0 + np.float32(x)) for x in (3, 9e11))):
        frame = framing(splats)
        assert frame.radius > 0 and np.isfinite(frame.centre).all()
        assert np.isfinite(ring(frame, 1, 64, 48)[0].camera_from_world).all()


def test_the_first_look_is_from_where_photos_were_taken_but_not_from_straight_above() -> None:
    frame = Framing(np.array([1.0, 2.0, 3.0]), 1.0)
    photo = Path("photo.jpg")
    for azimuth, elevation in ((0.7, 0.5), (-2.9, 0.1), (3.0, 1.0)):
        taken = replace(shot_from(frame, azimuth, elevation, 640, 480), photo=photo)
        assert photographed_from(frame, [taken]) == pytest.approx((azimuth, elevation))
    above = replace(ring(frame, 1, 640, 480)[0], photo=photo)
    above.camera_from_world[:] = np.diag([1.0, 1, 1, 1])
    above.camera_from_world[:3, :3] = [[1, 0, 0], [0, 0, -1], [0, 1, 0]]
    above.camera_from_world[:3, 3] = -above.camera_from_world[:3, :3] @ np.add(frame.centre, [0, -9, 0])
    azimuth, elevation = photographed_from(frame, [above])
    assert elevation == pytest.approx(math.radians(60))
    assert np.isfinite(shot_from(frame, azimuth, elevation, 64, 48).camera_from_world).all()
    assert photographed_from(frame, ring(frame, 3, 640, 480))[0] == 0  # without photos: the front
