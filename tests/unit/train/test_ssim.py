"""The fused SSIM against torch's convolutions in double precision."""

import pytest
import torch

from splatkit.train.ssim import ssim_cpu, ssim_torch


@pytest.mark.parametrize(("height", "width"), [(40, 61), (7, 90), (3, 2), (64, 33)])
def test_the_fused_ssim_and_its_gradient_are_those_of_convolutions(height: int, width: int) -> None:
    dice = torch.Generator().manual_seed(height)
    target = torch.rand(height, width, 3, generator=dice)
    image = (target + 0.2 * torch.randn(height, width, 3, generator=dice)).requires_grad_()
    exact = image.detach().double().requires_grad_()
    ours, theirs = ssim_cpu(image, target), ssim_torch(exact, target.double())
    assert abs(ours.item() - theirs.item()) < 1e-5
    (3 * ours).backward()
    (3 * theirs).backward()
    assert image.grad is not None and exact.grad is not None
    assert (image.grad.double() - exact.grad).abs().max() < 1e-4 * exact.grad.abs().max()


def test_an_image_is_most_similar_to_itself() -> None:
    image = torch.rand(30, 40, 3)
    assert ssim_cpu(image, image).item() == pytest.approx(1, abs=1e-5)
    assert ssim_cpu(image, 1 - image).item() < 0.2
