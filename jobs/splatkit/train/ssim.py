"""Structural similarity as part of the loss. torch's convolutions take thirty times as long on a CPU as our kernels."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import conv2d

from splatkit.ssim import C1, C2, RADIUS, WINDOW, ssim_and_derivatives, ssim_gradient


def ssim_cpu(image: Tensor, target: Tensor) -> Tensor:
    """Of two [H, W, C] images; differentiable in the first."""
    return _Ssim.apply(image, target)


def ssim_torch(image: Tensor, target: Tensor) -> Tensor:
    """The same on any device, by convolutions."""
    a, b = image.permute(2, 0, 1)[:, None], target.permute(2, 0, 1)[:, None]
    window = torch.from_numpy(WINDOW).to(a)

    def blur(x: Tensor) -> Tensor:
        rows = conv2d(x, window.view(1, 1, -1, 1), padding=(RADIUS, 0))
        return conv2d(rows, window.view(1, 1, 1, -1), padding=(0, RADIUS))

    mean_a, mean_b = blur(a), blur(b)
    var_a, var_b, both = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2, blur(a * b) - mean_a * mean_b
    above = (2 * mean_a * mean_b + C1) * (2 * both + C2)
    return (above / ((mean_a**2 + mean_b**2 + C1) * (var_a + var_b + C2))).mean()


class _Ssim(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, image: Tensor, target: Tensor) -> Tensor:
        a, b = (np.ascontiguousarray(x.detach().numpy()) for x in (image, target))
        similarity, partial = ssim_and_derivatives(a, b)
        ctx.saved = (a, b, partial)
        return torch.tensor(similarity, dtype=image.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        image, target, partial = ctx.saved
        return torch.from_numpy(ssim_gradient(image, target, partial, float(gradients[0]))), None
