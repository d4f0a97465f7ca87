"""A cloud of Gaussians before a camera, and all that a rasterizer makes of it: what the two of ours must agree on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

FIXTURE = Path(__file__).parent / "gsplat.npz"
WIDTH, HEIGHT, SH_DEGREE = 80, 60, 3
LEARNED = ("means", "quats", "scales", "opacities", "colors")
MODES = ("classic", "antialiased")


def scene(count: int = 250) -> dict[str, Tensor]:
    """It reaches beyond the frame, behind the camera and close to the lens."""
    dice = torch.Generator().manual_seed(4)
    view = torch.eye(4)
    view[:3, 3] = torch.tensor([0.1, -0.2, 3.0])
    return {
        "means": torch.randn(count, 3, generator=dice) * torch.tensor([1.6, 1.2, 1.4]),
        "quats": torch.randn(count, 4, generator=dice) * 3,
        "scales": torch.exp(torch.randn(count, 3, generator=dice) * 0.7 - 2.4),
        "opacities": torch.rand(count, generator=dice) * 0.99 + 0.005,
        "colors": torch.randn(count, 16, 3, generator=dice) * 0.4,
        "viewmats": view[None],
        "Ks": torch.tensor([[[64.0, 0, 39.0], [0, 61.0, 31.0], [0, 0, 1]]]),
    }


def outputs(rasterize: Callable[..., Any], values: dict[str, Tensor], mode: str, device: str) -> dict[str, Tensor]:
    """Image, alpha, depth, radii and gradients for a fixed loss, on the CPU."""
    inputs = {k: v.to(device).detach().clone().requires_grad_(k in LEARNED) for k, v in values.items()}
    image, alpha, info = rasterize(
        **inputs, width=WIDTH, height=HEIGHT, sh_degree=SH_DEGREE, render_mode="RGB+D", rasterize_mode=mode,
        packed=False, absgrad=True, backgrounds=torch.tensor([[0.2, 0.7, 0.4]], device=device),
    )  # fmt: skip
    info["means2d"].retain_grad()
    dice = torch.Generator().manual_seed(5)
    weights = torch.randn(HEIGHT, WIDTH, 5, generator=dice).to(device)
    (torch.cat([image[0], alpha[0]], -1) * weights).sum().backward()
    found = {"image": image[0, ..., :3], "depth": image[0, ..., 3:], "alpha": alpha[0], "radii": info["radii"][0]}
    found |= {f"gradient_{name}": inputs[name].grad for name in LEARNED}
    found |= {"gradient_means2d": info["means2d"].grad[0], "gradient_absolute": info["means2d"].absgrad[0]}
    return {name: value.detach().cpu() for name, value in found.items()}


def assert_alike(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    """By the largest value of each: gradients of far-off Gaussians are sums of almost nothing."""
    assert ours.keys() == theirs.keys()
    seen = {name: (found["radii"] > 0).all(-1) for name, found in (("ours", ours), ("theirs", theirs))}
    assert (seen["ours"] == seen["theirs"]).float().mean() > 0.99, "the same Gaussians are seen"
    both = seen["ours"] & seen["theirs"]
    assert both.sum() > 100
    assert (ours["radii"][both] - theirs["radii"][both]).abs().max() <= 1
    for name, mine in ours.items():
        if name == "radii":
            continue
        limit = 5e-3 if name.startswith("gradient") else 1e-3
        peer = theirs[name].double()
        error = (mine.double() - peer).abs() / peer.abs().max()
        # A pixel may end a Gaussian earlier on one side of a threshold than on the other.
        assert error.flatten().quantile(0.999) < limit, f"{name}: {error.max():.2e} of the largest value"
        assert error.mean() < limit / 10, f"{name}: {error.mean():.2e} of the largest value in the mean"
