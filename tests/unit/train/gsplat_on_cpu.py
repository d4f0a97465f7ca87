"""gsplat's own rasterization(), distribution and all, on CPUs: torch in place of its kernels, gloo in that of NCCL."""

from typing import Any

import gsplat.rendering
import torch
import torch.distributed as dist
from gsplat.cuda._torch_impl import _fully_fused_projection, _quat_scale_to_covar_preci, _spherical_harmonics
from torch import Tensor

from splatkit.train.ranks import Ranks


def put_torch_in(ranks: Ranks) -> None:
    """For the rest of this process."""
    gsplat.rendering.fully_fused_projection = projection
    gsplat.rendering.spherical_harmonics = colors_of
    gsplat.rendering.isect_tiles = lambda means2d, radii, depths, *_, **__: (None, None, depths.argsort(-1))
    gsplat.rendering.isect_offset_encode = lambda _, images, width, height: torch.zeros(images, height, width)
    gsplat.rendering.rasterize_to_pixels = composited
    gsplat.rendering.all_gather_int32 = lambda _, value, device: ranks.sizes(value)
    if ranks.count > 1:
        dist.all_to_all = exchange
        dist.get_backend = lambda group=None: "nccl"  # torch's all_to_all with gradients goes another way with gloo


def projection(means: Tensor, _covars: None, quats: Tensor, scales: Tensor, *where: Any, **more: Any) -> Any:
    assert not more["packed"]
    covariances, _ = _quat_scale_to_covar_preci(quats, scales, True, False)
    kept = {name: more[name] for name in ("eps2d", "near_plane", "far_plane", "calc_compensations")}
    return _fully_fused_projection(means, covariances, *where, **kept)


def colors_of(degree: int, directions: Tensor, coefficients: Tensor, masks: Tensor) -> Tensor:
    return _spherical_harmonics(degree, directions, coefficients) * masks[..., None]


def composited(
    means2d: Tensor, conics: Tensor, colors: Tensor, opacities: Tensor, width: int, height: int, _tile: int,
    _offsets: Tensor, order: Tensor, backgrounds: Tensor | None, packed: bool, absgrad: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Every Gaussian at every pixel, front to back. One camera, as a rank has."""
    assert not packed and len(means2d) == 1
    first = order[0]
    rows, columns = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    x, y = columns[..., None] - means2d[0, first, 0], rows[..., None] - means2d[0, first, 1]
    a, b, c = conics[0, first].unbind(-1)
    alpha = opacities[0, first] * torch.exp(-0.5 * (a * x * x + c * y * y) - b * x * y)
    left = torch.cumprod(1 - alpha.clamp(max=0.999), -1)
    weights = alpha.clamp(max=0.999) * torch.cat([torch.ones_like(left[..., :1]), left[..., :-1]], -1)
    image = weights @ colors[0, first]
    if backgrounds is not None:
        image = image + left[..., -1:] * backgrounds[0]
    return image[None], (1 - left[..., -1:])[None]


def exchange(received: list[Tensor], sent: list[Tensor], **_: Any) -> None:
    """all_to_all, which gloo has not, one pair after another."""
    own = dist.get_rank()
    received[own].copy_(sent[own])
    for other in range(len(sent)):
        if other != own:
            pair = [dist.isend(sent[other].contiguous(), other), dist.irecv(received[other], other)]
            for request in pair:
                assert request is not None
                request.wait()
