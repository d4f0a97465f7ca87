"""Differentiable rendering of Gaussians on a CPU, with the signature, conventions and results of gsplat.rasterization.

What it covers: pinhole cameras, colours or spherical harmonics to degree 3, RGB and depth, antialiased mode, absolute
gradients for densification. What it does not (gradients of poses, packed mode, other camera models) it refuses.
"""

from typing import Any, Literal

import torch
from torch import Tensor

from splatkit.rasterizer.autograd import AbsGradient, Compositing, Projection, SphericalHarmonics
from splatkit.rasterizer.projection import EPS2D, FAR, NEAR
from splatkit.rasterizer.render import CHANNELS
from splatkit.rasterizer.tile_lists import TILE, tile_lists

RenderMode = Literal["RGB", "D", "ED", "RGB+D", "RGB+ED"]


def rasterization(
    means: Tensor,  # [N, 3]
    quats: Tensor,  # [N, 4] w x y z, of any length
    scales: Tensor,  # [N, 3]
    opacities: Tensor,  # [N]
    colors: Tensor,  # [N, K, 3] coefficients with sh_degree, else [N, D] or [C, N, D]
    viewmats: Tensor,  # [C, 4, 4] camera from world
    Ks: Tensor,  # noqa: N803 gsplat's name; [C, 3, 3]
    width: int,
    height: int,
    near_plane: float = NEAR,
    far_plane: float = FAR,
    radius_clip: float = 0.0,
    eps2d: float = EPS2D,
    sh_degree: int | None = None,
    packed: bool = False,
    tile_size: int = TILE,
    backgrounds: Tensor | None = None,  # [C, D]
    render_mode: RenderMode = "RGB",
    absgrad: bool = False,
    rasterize_mode: Literal["classic", "antialiased"] = "classic",
) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """Colours [C, H, W, D], alphas [C, H, W, 1] and what the strategies need. ValueError for what it cannot do."""
    _check(means, quats, scales, opacities, colors, viewmats, Ks, sh_degree, packed, tile_size, render_mode)
    antialiased = rasterize_mode == "antialiased"
    projection_options = (width, height, eps2d, near_plane, far_plane, radius_clip, antialiased)
    means2d, depths, conics, compensations, radii = Projection.apply(
        means, quats, scales, opacities, viewmats, Ks, *projection_options
    )
    alphas = opacities[None] * compensations if antialiased else opacities.expand(len(viewmats), -1)
    features = _features(means, colors, viewmats, radii, depths, sh_degree, render_mode)
    if backgrounds is not None:
        backgrounds = torch.cat([backgrounds, backgrounds.new_zeros(len(viewmats), 1)], 1)[:, : features.shape[-1]]
        if render_mode in ("D", "ED"):
            backgrounds = torch.zeros_like(backgrounds[:, :1])
    images, covers = [], []
    lists = []
    for c in range(len(viewmats)):
        numbers: Any = [x[c].detach().contiguous().numpy() for x in (means2d, conics, alphas, depths, radii)]
        lists.append(tile_lists(width, height, *numbers))
    holder = AbsGradient() if absgrad else None
    for begin in range(0, features.shape[-1], CHANNELS):
        chunk = features[..., begin : begin + CHANNELS]
        behind = None if backgrounds is None else backgrounds[:, begin : begin + CHANNELS]
        only = features.shape[-1] <= CHANNELS
        image, cover = Compositing.apply(means2d, conics, chunk, alphas, behind, lists, width, height, holder, only)
        images.append(image)
        covers.append(cover)
    rendered, alpha = torch.cat(images, -1), covers[0]
    if render_mode in ("ED", "RGB+ED"):
        expected = rendered[..., -1:] / alpha.clamp(min=1e-10)
        rendered = torch.cat([rendered[..., :-1], expected], -1)
    if holder:
        holder.means2d = means2d
    meta = {
        "means2d": means2d, "depths": depths, "conics": conics, "opacities": alphas, "radii": radii, "width": width,
        "height": height, "tile_size": TILE, "tile_width": -(-width // TILE), "tile_height": -(-height // TILE),
        "n_cameras": len(viewmats), "n_batches": 1, "camera_ids": None, "gaussian_ids": None,
        "n_isects": sum(len(x.members) for x in lists),
    }  # fmt: skip
    return rendered, alpha, meta


def _features(
    means: Tensor,
    colors: Tensor,
    viewmats: Tensor,
    radii: Tensor,
    depths: Tensor,
    sh_degree: int | None,
    mode: RenderMode,
) -> Tensor:
    """[C, N, D]: what is composited."""
    if mode in ("D", "ED"):
        return depths[..., None]
    if sh_degree is None:
        features = colors.expand(len(viewmats), -1, -1) if colors.dim() == 2 else colors
    else:
        seen, centres = (radii > 0).all(-1), torch.inverse(viewmats.detach())[:, :3, 3]
        views = [SphericalHarmonics.apply(means, colors, centres[c], seen[c], sh_degree) for c in range(len(viewmats))]
        features = torch.stack(views)
    return features if mode == "RGB" else torch.cat([features, depths[..., None]], -1)


def _check(
    means: Tensor, quats: Tensor, scales: Tensor, opacities: Tensor, colors: Tensor, viewmats: Tensor,
    intrinsics: Tensor, sh_degree: int | None, packed: bool, tile_size: int, render_mode: str,
) -> None:  # fmt: skip
    n, c = len(means), len(viewmats)
    expected = {
        "means": (means, (n, 3)), "quats": (quats, (n, 4)), "scales": (scales, (n, 3)), "opacities": (opacities, (n,)),
        "viewmats": (viewmats, (c, 4, 4)), "Ks": (intrinsics, (c, 3, 3)),
    }  # fmt: skip
    for name, (tensor, shape) in expected.items():
        if tuple(tensor.shape) != shape:
            raise ValueError(f"{name} has the shape {tuple(tensor.shape)}, not {shape}")
    for name, tensor in {**{k: v[0] for k, v in expected.items()}, "colors": colors}.items():
        if tensor.dtype != torch.float32 or tensor.device.type != "cpu":
            raise ValueError(f"{name} is {tensor.dtype} on {tensor.device}, not float32 on the CPU")
    if viewmats.requires_grad or intrinsics.requires_grad:
        raise ValueError("gradients of viewmats and Ks are not computed here")
    if sh_degree is not None and not (0 <= sh_degree <= 3 and colors.dim() == 3 and colors.shape[0] == n):
        raise ValueError(f"spherical harmonics are [N, K, 3] of degree 0 to 3, not {tuple(colors.shape)}, {sh_degree}")
    if sh_degree is not None and (sh_degree + 1) ** 2 > colors.shape[1]:
        raise ValueError(f"degree {sh_degree} needs {(sh_degree + 1) ** 2} coefficients, not {colors.shape[1]}")
    if packed or tile_size != TILE or render_mode not in ("RGB", "D", "ED", "RGB+D", "RGB+ED"):
        raise ValueError(f"not supported: packed={packed}, tile_size={tile_size}, render_mode={render_mode!r}")
