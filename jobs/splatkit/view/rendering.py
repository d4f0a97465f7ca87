"""Pictures of splats, for reports: the rasterizer that training uses on a CPU, without gradients."""

from pathlib import Path
from typing import Any

import numba
import numpy as np
from PIL import Image

from splatkit.formats.paletted import Paletted
from splatkit.formats.spool import release
from splatkit.rasterizer.render import render
from splatkit.rasterizer.sh import sh_basis
from splatkit.splats import Floats
from splatkit.ssim import ssim_and_derivatives
from splatkit.threads import in_parallel
from splatkit.view.shots import Shot


class Renderer:
    """Keeps what every shot needs; colours are made shot by shot, as copies of all harmonics would fill the memory."""

    def __init__(self, scene: Paletted, on_white: bool = False) -> None:
        self._background = 1.0 if on_white else 0.0
        self._scene, self._scales, self._alphas = scene, np.exp(scene.splats.scales), scene.splats.alphas

    def render(self, shot: Shot) -> Floats:
        """[height, width, 3] between 0 and 1."""
        splats = self._scene.splats
        gaussians = (splats.means, splats.quats, self._scales, self._alphas, self._colours(shot))
        camera = (shot.camera_from_world, shot.intrinsics, shot.width, shot.height)
        image = render(*gaussians, *camera, splats.antialiased, self._background)
        return np.clip(image, 0, 1, out=image)

    def _colours(self, shot: Shot) -> Floats:
        """[N, 3] as this camera sees them."""
        scene, colours = self._scene, np.empty_like(self._scene.splats.means)
        inputs = (scene.splats.means, scene.splats.sh0, scene.palette, scene.labels, shot.eye, scene.sh_degree)
        in_parallel(len(scene), _colours_from, *inputs, colours)
        release(scene.palette)
        return colours


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _colours_from(
    first: int, last: int, means: Any, sh0: Any, palette: Any, labels: Any, eye: Any, degree: int, colours: Any
) -> None:  # pragma: no cover - compiled
    basis = np.empty(16)
    for n in range(first, last):
        x, y, z = means[n, 0] - eye[0], means[n, 1] - eye[1], means[n, 2] - eye[2]
        inverse = 1 / max(np.sqrt(x * x + y * y + z * z), 1e-30)
        sh_basis(degree, x * inverse, y * inverse, z * inverse, basis)
        for channel in range(3):
            value = 0.5 + basis[0] * sh0[n, channel]
            for k in range(palette.shape[1]):
                value += basis[k + 1] * palette[labels[n], k, channel]
            colours[n, channel] = max(0.0, value)


def psnr(image: Floats, target: Floats) -> float:
    """In dB; 100 for pictures that are alike to a hundred-thousandth."""
    error = float(((image.astype(np.float64) - target) ** 2).mean())
    return -10 * float(np.log10(max(error, 1e-10)))


def ssim(image: Floats, target: Floats) -> float:
    return ssim_and_derivatives(np.ascontiguousarray(image), np.ascontiguousarray(target))[0]


def read_photo(photo: Path, width: int, height: int) -> Floats:
    with Image.open(photo) as opened:
        resized = opened.convert("RGB").resize((width, height), Image.Resampling.BOX)
        return np.asarray(resized, np.float32) / np.float32(255)


def to_bytes(image: Floats) -> np.ndarray:
    return np.asarray(np.rint(image * 255), np.uint8)
