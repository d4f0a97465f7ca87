"""The steps of the CPU rasterizer as functions of torch, each with its gradient; the kernels have their own modules."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from splatkit.rasterizer.projection import project_gaussians, project_gaussians_backward, view_of
from splatkit.rasterizer.render import CHANNELS, composite, with_colors
from splatkit.rasterizer.sh import sh_colors, sh_colors_backward
from splatkit.rasterizer.tile_kernels import GRADIENTS, gather_gradients, render_tiles_backward
from splatkit.rasterizer.tile_lists import TILE, TileLists
from splatkit.threads import in_parallel


class Projection(torch.autograd.Function):
    """(means [N,3], quats [N,4], scales [N,3], opacities [N], viewmats [C,4,4], Ks [C,3,3]) to
    (means2d [C,N,2], depths [C,N], conics [C,N,3], compensations [C,N], radii [C,N,2]); what is not seen has radii 0.
    """

    @staticmethod
    def forward(
        ctx: Any, means: Tensor, quats: Tensor, scales: Tensor, opacities: Tensor, viewmats: Tensor, intrinsics: Tensor,
        width: int, height: int, eps2d: float, near: float, far: float, radius_clip: float, antialiased: bool,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
        cameras, count = len(viewmats), len(means)
        means2d, conics = means.new_zeros(cameras, count, 2), means.new_zeros(cameras, count, 3)
        depths, compensations = means.new_zeros(cameras, count), means.new_zeros(cameras, count)
        radii = torch.zeros(cameras, count, 2, dtype=torch.int32)
        inputs = [x.detach().contiguous().numpy() for x in (means, quats, scales, opacities)]
        views, frame = _views(viewmats, intrinsics), (float(width), float(height))
        limits = (eps2d, near, far, radius_clip, antialiased)
        outputs = [x.numpy() for x in (means2d, depths, conics, compensations, radii)]
        for c in range(cameras):
            in_parallel(count, project_gaussians, *inputs, *views[c], *frame, *limits, *(x[c] for x in outputs))
        ctx.mark_non_differentiable(radii)
        ctx.save_for_backward(means, quats, scales, viewmats, intrinsics, conics, compensations, radii)
        ctx.constants = (*frame, eps2d, antialiased)
        return means2d, depths, conics, compensations, radii

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        means, quats, scales, viewmats, intrinsics, conics, compensations, radii = ctx.saved_tensors
        v_means, v_quats, v_scales = torch.zeros_like(means), torch.zeros_like(quats), torch.zeros_like(scales)
        inputs = [x.detach().contiguous().numpy() for x in (means, quats, scales)]
        per_camera = [x.contiguous().numpy() for x in (conics, compensations, radii, *gradients[:4])]
        outputs = [x.numpy() for x in (v_means, v_quats, v_scales)]
        for c, view in enumerate(_views(viewmats, intrinsics)):
            camera = (x[c] for x in per_camera)
            in_parallel(len(means), project_gaussians_backward, *inputs, *view, *ctx.constants, *camera, *outputs)
        return v_means, v_quats, v_scales, *[None] * 10


def _views(viewmats: Tensor, intrinsics: Tensor) -> list[tuple[np.ndarray, np.ndarray]]:
    return [view_of(v, k) for v, k in zip(viewmats.detach().numpy(), intrinsics.detach().numpy(), strict=True)]


class SphericalHarmonics(torch.autograd.Function):
    """(means [N,3], coefficients [N,K,3], camera centre [3], seen [N] bool) to max(0, colour + 0.5) [N,3]."""

    @staticmethod
    def forward(ctx: Any, means: Tensor, coefficients: Tensor, centre: Tensor, seen: Tensor, degree: int) -> Tensor:
        colors = means.new_zeros(len(means), 3)
        arrays = [x.detach().contiguous().numpy() for x in (means, coefficients, centre.double(), seen)]
        in_parallel(len(means), sh_colors, *arrays, degree, colors.numpy())
        ctx.save_for_backward(means, coefficients, centre, seen, colors)
        ctx.degree = degree
        return colors

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        means, coefficients, centre, seen, colors = ctx.saved_tensors
        v_means, v_coefficients = torch.zeros_like(means), torch.zeros_like(coefficients)
        arrays = [x.detach().contiguous().numpy() for x in (means, coefficients, centre.double(), seen, colors)]
        outputs = v_means.numpy(), v_coefficients.numpy()
        in_parallel(len(means), sh_colors_backward, *arrays, ctx.degree, gradients[0].contiguous().numpy(), *outputs)
        return v_means, v_coefficients, None, None, None


class AbsGradient:
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
        lists: list[TileLists], width: int, height: int, absolute: AbsGradient | None, only: bool,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        cameras, _, depth = colors.shape
        images = means2d.new_empty(cameras, height, width, CHANNELS)
        transmittance = means2d.new_empty(cameras, height, width)
        last_member = torch.empty(cameras, height, width, dtype=torch.int32)
        behind = np.zeros((cameras, CHANNELS), np.float32)
        if backgrounds is not None:
            behind[:, :depth] = backgrounds.detach().numpy()
        for c in range(cameras):
            outputs = (images[c].numpy(), transmittance[c].numpy(), last_member[c].numpy())
            composite(lists[c], colors[c].detach().numpy(), behind[c], *outputs)
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
                lists.packed if ctx.only else with_colors(lists, colors[c].detach().numpy()),
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
