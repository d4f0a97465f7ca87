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
    """The same on any device: the means of all five products by one pair of convolutions."""
    a, b = image.permute(2, 0, 1), target.permute(2, 0, 1)
    products = torch.cat([a, b, a * a, b * b, a * b])[None]
    count = products.shape[1]
    # One window per channel: on a GPU, torch has kernels of its own for such convolutions in float32, without TF32.
    window = torch.from_numpy(WINDOW).to(image).expand(count, 1, -1)
    rows = conv2d(products, window[..., None], padding=(RADIUS, 0), groups=count)
    means = conv2d(rows, window[:, :, None], padding=(0, RADIUS), groups=count)
    mean_a, mean_b, square_a, square_b, product = means[0].chunk(5)
    var_a, var_b, both = square_a - mean_a**2, square_b - mean_b**2, product - mean_a * mean_b
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
