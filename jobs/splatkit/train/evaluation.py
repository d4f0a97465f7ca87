"""How good a training is on photos it has not seen: PSNR, SSIM, and LPIPS where a model of it is at hand."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from splatkit.train.photo_cache import PhotoCache
from splatkit.train.training import Training

LPIPS_FILE = "lpips.pt"
FEWEST_PIXELS = 16  # of a mask, for a photo to count


@dataclass(frozen=True)
class Score:
    name: str
    psnr: float
    ssim: float
    lpips: float | None
    psnr_corrected: float  # after one gain and offset per channel: without what the camera's exposure does


@torch.no_grad()
def score_views(
    training: Training, indices: Sequence[int], *, photos: PhotoCache, lpips: Any = None,
    on_image: Callable[[int, Tensor, Tensor], None] | None = None, between: Callable[[], None] = lambda: None,
) -> list[Score]:  # fmt: skip
    """on_image gets the index, the render and the photo, both [H, W, 3] in 0..1. between may raise, to stop."""
    scores = []
    for number, index in enumerate(indices):
        between()
        for coming in indices[number + 1 : number + 1 + photos.ahead]:
            photos.prefetch(coming)
        photo = photos.get(index)
        image = training.render(index, photo, background=training.backdrop).image.clamp(0, 1)
        target = torch.tensor(photo.pixels, device=image.device).float() / 255
        mask = torch.ones_like(image[..., 0], dtype=torch.bool)
        if photo.mask is not None:
            mask = torch.tensor(photo.mask).to(image.device) > 0
        if mask.sum() < FEWEST_PIXELS:
            continue
        seen, wanted = image * mask[..., None], target * mask[..., None]
        distance = None if lpips is None else float(lpips(_as_batch(seen), _as_batch(wanted)).mean())
        alike = float(training.backend.ssim(seen, wanted))
        corrected = psnr(_color_corrected(image[mask], target[mask]), target[mask])
        name = training.scene.views[index].name
        scores.append(Score(name, psnr(image[mask], target[mask]), alike, distance, corrected))
        if on_image:
            on_image(index, image, target)
    return scores


def mean_scores(scores: Sequence[Score]) -> dict[str, float]:
    """Means over the photos, of what was measured."""
    means = {}
    for name in ("psnr", "psnr_corrected", "ssim", "lpips"):
        values = [value for score in scores if (value := getattr(score, name)) is not None]
        if values:
            means[name] = sum(values) / len(values)
    return means


def psnr(image: Tensor, target: Tensor) -> float:
    error = ((image - target) ** 2).double().mean()
    return float(-10 * torch.log10(error.clamp(min=1e-10)))


def load_lpips(models_dir: Path | None, device: torch.device) -> Any:
    """A TorchScript module of (image, image) [1, 3, H, W] in -1..1, or None where there is none."""
    if models_dir is None or not (models_dir / LPIPS_FILE).is_file():
        return None
    return torch.jit.load(models_dir / LPIPS_FILE, map_location=device).eval()


def _as_batch(image: Tensor) -> Tensor:
    return image.permute(2, 0, 1)[None] * 2 - 1


def _color_corrected(image: Tensor, target: Tensor) -> Tensor:
    """[P, 3] each; gain and offset per channel by least squares."""
    mean_image, mean_target = image.mean(0), target.mean(0)
    spread = ((image - mean_image) ** 2).mean(0).clamp(min=1e-8)
    gain = ((image - mean_image) * (target - mean_target)).mean(0) / spread
    return ((image - mean_image) * gain + mean_target).clamp(0, 1)
