"""The fused SSIM against torch's convolutions in double precision."""

from typing import Any

import pytest
import torch

from splatkit.ssim import C1, C2, RADIUS, WINDOW
from splatkit.train.ssim import ssim_cpu, ssim_torch

pytestmark = pytest.mark.quality


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


def map_by_map(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """As Wang et al. write it, each mean by a convolution of its own with the whole window."""
    window = torch.outer(torch.from_numpy(WINDOW), torch.from_numpy(WINDOW)).to(a)[None, None]

    def mean(x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.conv2d(x.permute(2, 0, 1)[:, None], window, padding=RADIUS)

    variance_a, variance_b = mean(a * a) - mean(a) ** 2, mean(b * b) - mean(b) ** 2
    above = (2 * mean(a) * mean(b) + C1) * (2 * (mean(a * b) - mean(a) * mean(b)) + C2)
    return (above / ((mean(a) ** 2 + mean(b) ** 2 + C1) * (variance_a + variance_b + C2))).mean()


def test_all_means_by_one_pair_of_convolutions_are_those_of_one_each(monkeypatch: pytest.MonkeyPatch) -> None:
    dice = torch.Generator().manual_seed(1)
    target = torch.rand(23, 37, 3, generator=dice, dtype=torch.float64)
    images = [(target + 0.1).requires_grad_() for _ in range(2)]
    calls: list[int] = []
    original = torch.nn.functional.conv2d

    def counted(*arguments: Any, **more: Any) -> torch.Tensor:
        calls.append(more["groups"])
        return original(*arguments, **more)

    monkeypatch.setattr("splatkit.train.ssim.conv2d", counted)
    found = [ssim_torch(images[0], target), map_by_map(images[1], target)]
    assert calls == [15, 15]
    assert found[0].item() == pytest.approx(found[1].item(), abs=1e-7)  # the window is in float32
    for similarity in found:
        similarity.backward()
    assert images[0].grad is not None and images[1].grad is not None
    torch.testing.assert_close(images[0].grad, images[1].grad, rtol=1e-5, atol=1e-9)
