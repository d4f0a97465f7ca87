"""A scene turned as a whole looks the same from a camera turned with it."""

import numpy as np
import pytest
from sample_splats import ball

from splatkit.formats.paletted import own_palette
from splatkit.view.rendering import Renderer, psnr
from splatkit.view.shots import framing, ring, turned_shot
from splatkit.view.turning import UPRIGHT, turned

pytestmark = pytest.mark.quality


@pytest.mark.parametrize("up", UPRIGHT)
def test_pictures_stay_the_same_with_all_bands_of_harmonics(up: str) -> None:
    splats, turn = ball(1500, degree=3), UPRIGHT[up]
    shot = ring(framing(splats), 5, 160, 120)[1]
    before = Renderer(own_palette(splats)).render(shot)
    after = Renderer(own_palette(turned(splats, turn))).render(turned_shot(shot, turn))
    assert psnr(before, after) > 60  # 100, the most that it reports; without harmonics 29
    without = Renderer(own_palette(turned(splats.with_sh_degree(0), turn))).render(turned_shot(shot, turn))
    assert psnr(before, without) < 40  # the harmonics do matter


def test_up_becomes_minus_y() -> None:
    for up, turn in UPRIGHT.items():
        axis = np.zeros(3)
        axis["xyz".index(up[-1])] = -1 if up[0] == "-" else 1
        np.testing.assert_allclose(turn @ axis, [0, -1, 0])
        assert np.linalg.det(turn) == pytest.approx(1)
