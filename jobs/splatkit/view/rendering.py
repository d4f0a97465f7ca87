"""Pictures of splats, for reports: the rasterizer that training uses on a CPU, without gradients."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from splatkit.rasterizer.rasterize import rasterization
from splatkit.splats import Floats, Splats
from splatkit.train.ssim import ssim_cpu
from splatkit.view.shots import Shot


class Renderer:
    """Keeps the splats as tensors between shots."""

    def __init__(self, splats: Splats, background: tuple[float, float, float] = (0, 0, 0)) -> None:
        self._means = torch.from_numpy(splats.means)
        self._quats = torch.from_numpy(splats.quats)
        self._scales = torch.exp(torch.from_numpy(splats.scales))
        self._alphas = torch.from_numpy(splats.alphas)
        self._colours = torch.from_numpy(np.concatenate([splats.sh0[:, None], splats.shN], axis=1))
        self._degree = splats.sh_degree
        self._background = torch.tensor([background], dtype=torch.float32)

    @torch.no_grad()
    def render(self, shot: Shot) -> Floats:
        """[height, width, 3] between 0 and 1."""
        images, _, _ = rasterization(
            self._means, self._quats, self._scales, self._alphas, self._colours,
            torch.tensor(shot.camera_from_world[None], dtype=torch.float32),
            torch.tensor(shot.intrinsics[None], dtype=torch.float32),
            shot.width, shot.height, sh_degree=self._degree, backgrounds=self._background,
        )  # fmt: skip
        return images[0].clamp(0, 1).numpy()


def psnr(image: Floats, target: Floats) -> float:
    """In dB; 100 for pictures that are alike to a hundred-thousandth."""
    error = float(((image.astype(np.float64) - target) ** 2).mean())
    return -10 * float(np.log10(max(error, 1e-10)))


def ssim(image: Floats, target: Floats) -> float:
    return float(ssim_cpu(torch.from_numpy(image), torch.from_numpy(np.ascontiguousarray(target))))


def read_photo(photo: Path, width: int, height: int) -> Floats:
    with Image.open(photo) as opened:
        resized = opened.convert("RGB").resize((width, height), Image.Resampling.BOX)
        return np.asarray(resized, np.float32) / np.float32(255)


def to_bytes(image: Floats) -> np.ndarray:
    return np.asarray(np.rint(image * 255), np.uint8)
