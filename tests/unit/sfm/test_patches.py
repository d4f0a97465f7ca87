"""Aligning patches to a fraction of a pixel, and telling turning from moving."""

import numpy as np
import pytest
from PIL import Image

from splatkit.sfm.patches import MAX_SHIFT, _lucas_kanade, _sample
from splatkit.sfm.rotation import FOCALS, _turned


def texture(seed: int = 0, size: int = 200) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(30, 220, (size // 5, size // 5), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC))


def moved(photo: np.ndarray, x: float, y: float) -> np.ndarray:
    """What is at (u, v) comes to (u + x, v + y)."""
    rows, columns = np.mgrid[: photo.shape[0], : photo.shape[1]] + 0.5
    return _sample(photo, np.stack([columns - x, rows - y], axis=-1)).round().astype(np.uint8)


START = np.random.default_rng(1).uniform(30, 170, (40, 2))
SAME = np.tile(np.eye(2), (40, 1, 1))


@pytest.mark.parametrize(("x", "y"), [(0.0, 0.0), (0.4, -0.3), (-1.2, 0.9)])
def test_a_shift_is_found_to_a_twentieth_of_a_pixel(x: float, y: float) -> None:
    photo = texture()
    shift, good = _lucas_kanade(photo, moved(photo, x, y), START, START, SAME)
    assert good.mean() > 0.9
    assert np.abs(shift[good] - [x, y]).max() < 0.05


def test_brightness_and_contrast_may_differ() -> None:
    photo = texture()
    darker = (moved(photo, 0.5, 0.5) * 0.5 + 20).astype(np.uint8)
    shift, good = _lucas_kanade(photo, darker, START, START, SAME)
    assert good.mean() > 0.9 and np.abs(shift[good] - 0.5).max() < 0.08


def test_the_warp_between_the_views_is_followed() -> None:
    """The other photo is turned by 90 degrees: a shift is told in its own pixels."""
    photo = texture()
    turned = np.ascontiguousarray(np.rot90(photo))  # (u, v) comes to (v, 200 - u)
    found = np.stack([START[:, 1], 200 - START[:, 0]], axis=1) + np.array([0.6, -0.4])
    warp = np.tile(np.array([[0.0, 1.0], [-1.0, 0.0]]), (40, 1, 1))
    shift, good = _lucas_kanade(photo, turned, START, found, warp)
    assert good.mean() > 0.9 and np.abs(shift[good] - [-0.6, 0.4]).max() < 0.05


def test_what_does_not_match_or_is_too_far_or_has_no_texture_stays() -> None:
    photo = texture()
    assert _lucas_kanade(photo, texture(seed=9), START, START, SAME)[1].mean() < 0.1
    assert _lucas_kanade(photo, moved(photo, MAX_SHIFT + 1.0, 0.0), START, START, SAME)[1].mean() < 0.1
    even = np.full((200, 200), 90, np.uint8)
    assert not _lucas_kanade(even, even, START, START, SAME)[1].any()
    stripes = np.repeat(texture()[:1], 200, axis=0)  # may slide along themselves
    assert not _lucas_kanade(stripes, stripes, START, START, SAME)[1].any()


def test_sampling_uses_pixel_middles_and_stays_inside() -> None:
    photo = np.arange(12, dtype=np.uint8).reshape(3, 4)
    places = np.array([(0.5, 0.5), (1.0, 0.5), (3.5, 2.5), (-9.0, -9.0), (99.0, 99.0)])
    assert np.allclose(_sample(photo, places), [0, 0.5, 11, 0, 11], atol=0.02)


def seen(points: np.ndarray, centre: tuple[float, float, float], yaw: float, focal: float) -> np.ndarray:
    rotation = np.array([[np.cos(yaw), 0, -np.sin(yaw)], [0, 1, 0], [np.sin(yaw), 0, np.cos(yaw)]])
    local = (points - centre) @ rotation.T
    return np.asarray(focal * local[:, :2] / local[:, 2:])


@pytest.mark.parametrize("focal", [0.5, 0.8, 1.2])
def test_turning_is_told_from_moving(focal: float) -> None:
    rng = np.random.default_rng(3)
    reach = 0.5 / focal  # of the depth; the points fill the photo
    wide = rng.uniform((-reach, -0.7 * reach, 0.75), (reach, 0.7 * reach, 1.25), (200, 3)) * [1, 1, 80]
    wide[:, :2] *= wide[:, 2:]
    flat = np.hstack([wide[:, :2] / wide[:, 2:] * 80, np.full((200, 1), 80.0)])
    noise = rng.normal(0, 0.0004, (200, 2))

    def turned(points: np.ndarray, moved_by: float, yaw: float) -> bool:
        """moved_by: sideways, in widths of the photo."""
        centre = (moved_by * 80 / focal, 0.0, 0.0)
        first, second = seen(points, (0, 0, 0), 0, focal), seen(points, centre, yaw, focal) + noise
        return any(_turned(first, second, tried) for tried in FOCALS)

    assert turned(wide, 0.0, 0.2) and turned(flat, 0.0, 0.2)
    assert not turned(wide, 0.15, 0.0) and not turned(wide, 0.15, 0.1)
    assert not turned(flat, 0.26, 0.0)  # a flight over flat ground
