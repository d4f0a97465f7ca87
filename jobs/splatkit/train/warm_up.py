"""Compiles what the training will call, before its clock starts and while a stop signal can still end it at once."""

import torch

from splatkit.train.backend import Backend


def warm_up(backend: Backend) -> None:
    """Renders three Gaussians forward and backward; on a first run this compiles the kernels."""
    device = backend.device
    count = 3
    means = torch.tensor([[0.0, 0, 2], [0.2, 0, 3], [0, 0.2, 4]], device=device, requires_grad=True)
    colors = torch.zeros(count, 4, 3, device=device, requires_grad=True)
    image, _, _ = backend.rasterize(
        means=means, quats=torch.ones(count, 4, device=device), scales=torch.full((count, 3), 0.1, device=device),
        opacities=torch.full((count,), 0.5, device=device), colors=colors, viewmats=torch.eye(4, device=device)[None],
        Ks=torch.tensor([[[20.0, 0, 16], [0, 20.0, 16], [0, 0, 1]]], device=device), width=32, height=32, sh_degree=1,
    )  # fmt: skip
    (1 - backend.ssim(image[0], torch.zeros_like(image[0]))).backward()
