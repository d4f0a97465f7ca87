"""The trained parameters: made from a point cloud, their optimizers and learning rates, and out as Splats."""

import math
from collections.abc import Mapping

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from splatkit.splats import SH_C0, SH_COEFFICIENTS, Splats
from splatkit.threads import cores
from splatkit.train.scene import Frame

NEIGHBOURS = 3
# Per step of Adam, as in the 3DGS paper; means in units of the normalised scene.
LEARNING_RATES = {"means": 1.6e-4, "scales": 5e-3, "quats": 1e-3, "opacities": 5e-2, "sh0": 2.5e-3, "shN": 2.5e-3 / 20}
PAPER_STEPS, HASTE_POWER, HASTE_MOST = 30_000, 0.4, 3.0  # see haste()
# Powers of the haste: colours bear more of it than shapes do.
POWERS = {"means": 1.0, "scales": 1.0, "quats": 1.0, "opacities": 1.0, "sh0": 1.6, "shN": 2.3}
HASTE_UNTIL = 0.3  # share of the steps from which on the rates fall, to the inverse square of the haste at the end
MEANS_END = 0.01  # share of the means' rate that is left at the last step
SKY_DISTANCE = 60.0  # units of the normalised scene
PAIRS_AT_ONCE, LEAST_WIDTH = 1 << 22, 1e-6
BYTES_PER_GAUSSIAN = 59 * 4 * 4 + 600  # parameter, gradient and two moments, and what rendering keeps

Parameters = dict[str, torch.nn.Parameter]
Optimizers = dict[str, torch.optim.Optimizer]


def from_points(
    points: np.ndarray, colors: np.ndarray, *, sh_degree: int, opacity: float, scale: float, cap: int, seed: int
) -> dict[str, Tensor]:
    """One Gaussian per point, as wide as the mean distance to its nearest neighbours times `scale`."""
    if len(points) > cap:
        chosen = np.sort(np.random.default_rng(seed).choice(len(points), cap, replace=False))
        points, colors = points[chosen], colors[chosen]
    distances, _ = cKDTree(points).query(points, k=min(len(points), NEIGHBOURS + 1), workers=cores())
    spread = np.sqrt((distances[:, 1:] ** 2).mean(axis=1))
    # A lone point far out must not begin as a balloon, nor doubled points as nothing.
    spread = np.clip(spread, 1e-5, max(1e-4, float(np.quantile(spread, 0.99))))
    dice = torch.Generator().manual_seed(seed)
    count = len(points)
    return {
        "means": torch.tensor(points, dtype=torch.float32),
        "scales": torch.tensor(np.log(spread * scale), dtype=torch.float32)[:, None].repeat(1, 3),
        "quats": torch.nn.functional.normalize(torch.randn(count, 4, generator=dice), dim=-1),
        "opacities": torch.full((count,), math.log(opacity / (1 - opacity))),
        "sh0": torch.tensor((colors - 0.5) / SH_C0, dtype=torch.float32)[:, None],
        "shN": torch.zeros(count, SH_COEFFICIENTS[sh_degree], 3),
    }


def with_sky(start: dict[str, Tensor], sh_degree: int, count: int) -> dict[str, Tensor]:
    """Gaussians on a far sphere, light blue: training colours them, and removes those that are not seen."""
    index = np.arange(count) + 0.5
    height, turn = index / count * 2 - 1, index * math.pi * (3 - math.sqrt(5))
    across = np.sqrt(1 - height**2)
    points = SKY_DISTANCE * np.stack([across * np.cos(turn), across * np.sin(turn), height], 1)
    colors = np.broadcast_to([0.65, 0.75, 0.9], points.shape)
    sky = from_points(points, colors, sh_degree=sh_degree, opacity=0.3, scale=1.0, cap=count, seed=0)
    return {name: torch.cat([value, sky[name]]) for name, value in start.items()}


def parameters(values: Mapping[str, Tensor], device: torch.device) -> Parameters:
    # Degree 0 has an empty shN: nothing to train, and no optimizer. Contiguous: torch's fused Adam takes every second
    # row of a tensor for a whole one.
    return {n: torch.nn.Parameter(v.to(device).contiguous(), requires_grad=v.numel() > 0) for n, v in values.items()}


def haste(steps: int) -> float:
    """Factor on all learning rates: a short training takes larger steps. Measured on three scenes at 500 to 2,000."""
    return float(min(HASTE_MOST, max(1.0, (PAPER_STEPS / steps) ** HASTE_POWER)))


def optimizers(values: Parameters, hurry: float, photos: int = 1) -> Optimizers:
    """One Adam per parameter, so that strategies can reshape each one's state.

    photos: in a step; rates and decays follow, as in gsplat's trainer (Malladi et al. 2022, the square-root rule).
    """
    betas = (max(0.0, 1 - photos * 0.1), max(0.0, 1 - photos * 0.001))
    return {
        name: torch.optim.Adam(
            [{"params": value, "lr": LEARNING_RATES[name] * hurry ** POWERS[name] * math.sqrt(photos)}],
            eps=1e-15 / math.sqrt(photos), betas=betas, fused=True,
        )
        for name, value in values.items()
        if value.numel()
    }  # fmt: skip


def set_rates(tools: Optimizers, progress: float, hurry: float, photos: int = 1) -> float:
    """For this share (0..1) of the training. Returns the rate without the haste, which MCMC's noise is tuned to."""
    usual = math.sqrt(photos)
    late = max(0.0, (progress - HASTE_UNTIL) / (1 - HASTE_UNTIL))
    for name, tool in tools.items():
        tool.param_groups[0]["lr"] = LEARNING_RATES[name] * hurry ** (POWERS[name] - 2 * late) * usual
    rate = LEARNING_RATES["means"] * MEANS_END**progress * usual
    tools["means"].param_groups[0]["lr"] = rate * hurry
    return rate


def keep_most_opaque(values: Mapping[str, Tensor], count: int) -> Tensor:
    """Indices, in order, of the Gaussians that stay when only `count` may."""
    return torch.topk(values["opacities"].flatten(), min(count, len(values["opacities"]))).indices.sort().values


@torch.no_grad()
def narrow(values: Mapping[str, Tensor], eyes: Tensor, widest: float) -> None:
    """No standard deviation stays above `widest` times the distance to the nearest of the cameras at `eyes` [V, 3].

    What fills a photo from behind the scene is a wall before it to a camera that looks from elsewhere.
    """
    rows = max(1, PAIRS_AT_ONCE // len(eyes))
    for start in range(0, len(values["means"]), rows):
        part = slice(start, start + rows)
        # By differences: by products, small distances are lost, and the sum's order is the library's.
        nearest = torch.cdist(values["means"][part], eyes, compute_mode="donot_use_mm_for_euclid_dist").amin(1)
        nearest = nearest.nan_to_num(nan=math.inf)  # a place that is no number is skipped in renders, a width is not
        values["scales"][part].clamp_(max=(widest * nearest).clamp_min(LEAST_WIDTH).log()[:, None])


def to_splats(values: Mapping[str, Tensor], frame: Frame, antialiased: bool = False, on_white: bool = False) -> Splats:
    """In the frame of the input; Gaussians that are not finite are left out."""
    arrays = {name: value.detach().cpu().numpy() for name, value in values.items()}
    whole = np.isfinite(np.concatenate([a.reshape(len(a), -1) for a in arrays.values()], axis=1)).all(axis=1)
    arrays = {name: np.ascontiguousarray(a[whole], np.float32) for name, a in arrays.items()}
    return Splats(
        means=frame.to_input(arrays["means"].astype(np.float64)).astype(np.float32),
        scales=(arrays["scales"] + np.float32(math.log(frame.unit))).astype(np.float32),
        quats=arrays["quats"],
        opacities=arrays["opacities"],
        sh0=arrays["sh0"][:, 0],
        shN=arrays["shN"],
        antialiased=antialiased,
        on_white=on_white,
    )
