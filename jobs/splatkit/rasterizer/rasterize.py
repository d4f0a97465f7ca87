"""Differentiable rendering of Gaussians on a CPU, with the signature, conventions and results of gsplat.rasterization.

What it covers: pinhole cameras, colours or spherical harmonics to degree 3, RGB and depth, antialiased mode, absolute
gradients for densification. What it does not (gradients of poses, packed mode, other camera models) it refuses.
"""

from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from splatkit.rasterizer.projection import Projection
from splatkit.rasterizer.sh import SphericalHarmonics
from splatkit.rasterizer.tile_kernels import GRADIENTS, gather_gradients, render_tiles, render_tiles_backward
from splatkit.rasterizer.tile_lists import RED, TILE, TileLists, tile_lists
from splatkit.threads import in_parallel

RenderMode = Literal["RGB", "D", "ED", "RGB+D", "RGB+ED"]
CHANNELS = 3  # composited in one pass


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
    near_plane: float = 0.01,
    far_plane: float = 1e10,
    radius_clip: float = 0.0,
    eps2d: float = 0.3,
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
    holder = _AbsGradient() if absgrad else None
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


class _AbsGradient:
    """Carries the absolute gradients from the backward pass to means2d.absgrad, where gsplat puts them."""

    means2d: Tensor | None = None

    def add(self, gradient: Tensor) -> None:
        if self.means2d is not None:
            before = getattr(self.means2d, "absgrad", None)
            self.means2d.absgrad = gradient if before is None else before + gradient  # type: ignore[attr-defined]


class Compositing(torch.autograd.Function):
    """Tiles, front to back: means2d [C,N,2], conics [C,N,3], colors [C,N,<=3], alphas [C,N] to image and alpha."""

    @staticmethod
    def forward(
        ctx: Any, means2d: Tensor, conics: Tensor, colors: Tensor, alphas: Tensor, backgrounds: Tensor | None,
        lists: list[TileLists], width: int, height: int, absolute: _AbsGradient | None, only: bool,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        cameras, _, depth = colors.shape
        images = means2d.new_empty(cameras, height, width, CHANNELS)
        transmittance = means2d.new_empty(cameras, height, width)
        last_member = torch.empty(cameras, height, width, dtype=torch.int32)
        behind = np.zeros((cameras, CHANNELS), np.float32)
        if backgrounds is not None:
            behind[:, :depth] = backgrounds.detach().numpy()
        for c in range(cameras):
            packed = _with_colors(lists[c], colors[c])
            outputs = (images[c].numpy(), transmittance[c].numpy(), last_member[c].numpy())
            columns, tiles = -(-width // TILE), len(lists[c].offsets) - 1
            arguments = (columns, lists[c].offsets, lists[c].members, packed, behind[c])
            in_parallel(tiles, render_tiles, *arguments, *outputs)
        ctx.lists, ctx.behind, ctx.absolute, ctx.depth, ctx.only = lists, behind, absolute, depth, only
        ctx.has_background = backgrounds is not None
        ctx.save_for_backward(colors, transmittance, last_member)
        return images[..., :depth], (1 - transmittance)[..., None]

    @staticmethod
    def backward(ctx: Any, *v_outputs: Tensor) -> tuple[Tensor | None, ...]:
        colors, transmittance, last_member = ctx.saved_tensors
        cameras, count, depth = colors.shape
        height, width = transmittance.shape[1:]
        v_images = v_outputs[0].new_zeros(cameras, height, width, CHANNELS)
        v_images[..., :depth] = v_outputs[0]
        v_alphas = v_outputs[1][..., 0].contiguous()
        v = v_images.new_zeros(cameras, count, GRADIENTS)
        for c, lists in enumerate(ctx.lists):
            shares = np.zeros((len(lists.members), GRADIENTS), np.float32)
            columns, tiles = -(-width // TILE), len(lists.offsets) - 1
            arguments = (
                columns,
                lists.offsets,
                lists.members,
                lists.slots,
                # Another group of channels was drawn from the same lists since, unless there is but one.
                lists.packed if ctx.only else _with_colors(lists, colors[c]),
                ctx.behind[c],
            )
            image = [x[c].numpy() for x in (transmittance, last_member, v_images, v_alphas)]
            in_parallel(tiles, render_tiles_backward, *arguments, *image, shares)
            in_parallel(len(lists.order), gather_gradients, lists.order, lists.first_slot, shares, v[c].numpy())
        if ctx.absolute:
            ctx.absolute.add(v[..., 9:11].clone())
        v_behind = (v_images * transmittance[..., None]).sum((1, 2))[:, :depth] if ctx.has_background else None
        gradients = (v[..., 6:8], v[..., 3:6], v[..., :depth], v[..., 8])
        return *(x.contiguous() for x in gradients), v_behind, None, None, None, None, None


def _with_colors(lists: TileLists, colors: Tensor) -> np.ndarray:
    lists.packed[:, RED:] = 0
    lists.packed[:, RED : RED + colors.shape[-1]] = colors.detach().numpy()[lists.order]
    return lists.packed


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
