"""What gsplat has for CUDA only, against the formulas it comes from; and how the set of Gaussians changes."""

import math
from typing import Any

import gsplat
import pytest
import torch
from gsplat.cuda._torch_impl import _quat_scale_to_covar_preci
from gsplat.strategy import ops

from splatkit.train.backend import choose_backend
from splatkit.train.gaussians import Optimizers, Parameters, from_points, optimizers, parameters
from splatkit.train.strategy import Refinement, StrategyName, covariances, refinement, relocation, use_cpu_operations

pytestmark = pytest.mark.quality

BINOMS = torch.zeros(51, 51)


def paper(opacity: float, scale: float, count: int) -> tuple[float, float]:
    """Equation 9 of 3D Gaussian Splatting as Markov Chain Monte Carlo, term by term."""
    fresh = 1 - (1 - opacity) ** (1 / count)
    below = sum(
        math.comb(i - 1, k) * (-1) ** k / math.sqrt(k + 1) * fresh ** (k + 1)
        for i in range(1, count + 1)
        for k in range(i)
    )
    return fresh, scale * opacity / below


@pytest.mark.parametrize("count", [1, 2, 3, 7, 20, 51, 80])
@pytest.mark.parametrize("opacity", [0.01, 0.5, 0.97])
def test_relocation_is_that_of_the_paper(opacity: float, count: int) -> None:
    opacities, scales = relocation(
        torch.tensor([opacity]), torch.tensor([[0.1, 0.2, 0.3]]), torch.tensor([count]), BINOMS
    )
    fresh, scale = paper(opacity, 0.2, min(count, 51))  # gsplat, too, counts no further than its table
    assert opacities.item() == pytest.approx(fresh, rel=1e-5)
    assert scales[0, 1].item() == pytest.approx(scale, rel=1e-4)
    assert scales[0].tolist() == pytest.approx([scale / 2, scale, scale * 1.5], rel=1e-4)


def test_covariances_are_those_of_gsplat() -> None:
    dice = torch.Generator().manual_seed(0)
    quats, scales = torch.randn(50, 4, generator=dice), torch.rand(50, 3, generator=dice)
    theirs, _ = _quat_scale_to_covar_preci(quats, scales, True, False)
    ours, _ = covariances(quats, scales, compute_covar=True, compute_preci=False, triu=False)
    torch.testing.assert_close(ours, theirs)


def test_the_cpu_functions_take_the_place_of_names_that_gsplat_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ops, "compute_relocation", None)
    use_cpu_operations()
    assert ops.compute_relocation is relocation and ops.quat_scale_to_covar_preci is covariances
    monkeypatch.delattr(ops, "compute_relocation")
    with pytest.raises(ImportError, match=r"1\.5\.3"):
        use_cpu_operations()
    ops.compute_relocation = relocation


def trained(
    name: StrategyName, count: int, cap: int, sky: float = math.inf
) -> tuple[Refinement, Parameters, Optimizers]:
    use_cpu_operations()
    dice = torch.Generator().manual_seed(0)
    points, colors = torch.randn(count, 3, generator=dice).numpy(), torch.rand(count, 3, generator=dice).numpy()
    values = parameters(
        from_points(points, colors, sh_degree=1, opacity=0.5, scale=1.0, cap=cap, seed=0), torch.device("cpu")
    )
    tools = optimizers(values, 1.0)
    for tool, value in zip(tools.values(), values.values(), strict=True):
        value.grad = torch.ones_like(value)
        tool.step()
    method = refinement(
        name,
        steps=1000,
        cap=cap,
        refine_every=10,
        grow_gradient=1e-4,
        absgrad=False,
        min_opacity=0.005,
        sky=sky,
    )
    return method, values, tools


def info(values: Parameters, gradient: float) -> dict[str, Any]:
    count = len(values["means"])
    means2d = torch.zeros(1, count, 2, requires_grad=True)
    (means2d * gradient).sum().backward()
    return {
        "means2d": means2d, "radii": torch.ones(1, count, 2, dtype=torch.int32), "width": 64, "height": 64,
        "n_cameras": 1, "gaussian_ids": None,
    }  # fmt: skip


def test_mcmc_grows_to_the_cap_and_moves_what_is_transparent() -> None:
    method, values, tools = trained("mcmc", 100, cap=108)
    with torch.no_grad():
        values["opacities"][:20] = -10.0
        values["means"][:20] = 100.0
    for step in (20, 30, 40):
        method.after_step(values, tools, step, {}, 1e-9)
    assert len(values["means"]) == 108
    assert (values["means"].abs() < 50).all(), "the transparent ones went to where others are"
    assert tools["means"].state[values["means"]]["exp_avg"].shape == (108, 3)
    assert values["opacities"].sigmoid().min() >= 0.0049


def test_the_default_strategy_adds_where_the_gradient_is_high_and_stops_at_the_cap() -> None:
    method, values, tools = trained("default", 100, cap=150)
    counts = []
    for step in range(1, 61):
        method.after_step(values, tools, step, info(values, 1.0), 0.0)
        counts.append(len(values["means"]))
    assert counts[0] == 100 and max(counts) == counts[-1] == 150


def test_the_room_that_is_left_goes_to_the_largest_gradients() -> None:
    method, values, tools = trained("default", 100, cap=110)
    for step in range(1, 21):
        means2d = torch.zeros(1, 100, 2, requires_grad=True)
        (means2d * torch.arange(100.0)[None, :, None]).sum().backward()
        before = values["sh0"].detach().clone()
        method.after_step(values, tools, step, {**info(values, 0.0), "means2d": means2d}, 0.0)
    assert len(values["means"]) == 110
    colors = {tuple(color) for color in before[:90, 0].tolist()}
    copies = [tuple(color) for color in values["sh0"].detach()[:, 0].tolist() if tuple(color) not in colors]
    assert len(copies) == 20 and len(set(copies)) == 10, "the last ten are there twice"


def test_of_a_sky_and_a_balloon_the_default_strategy_removes_the_balloon() -> None:
    for sky in (30.0, math.inf):
        method, values, tools = trained("default", 100, cap=1000, sky=sky)
        with torch.no_grad():
            values["scales"][:60], values["scales"][60:] = math.log(3.0), math.log(0.01)
            values["means"][:50] = 60.0 * torch.nn.functional.normalize(values["means"][:50], dim=-1)
        for step in range(1, 121):  # a large one goes after 100 steps, a tenth of the training
            method.after_step(values, tools, step, info(values, 0.0), 0.0)
        assert len(values["means"]) == (90 if sky == 30 else 40)
        assert method.state["scene_scale"] == 1.0


def test_the_default_strategy_lowers_no_opacities_as_gsplat_never_does() -> None:
    method, values, tools = trained("default", 100, cap=100)
    with torch.no_grad():
        values["scales"].fill_(math.log(0.01))
    before = values["opacities"].detach().clone()
    for step in range(1, 301):
        method.after_step(values, tools, step, info(values, 0.0), 0.0)
    assert method.strategy.reset_every == 100 and torch.equal(values["opacities"].detach(), before)


def test_a_gpu_gets_gsplats_own_functions_after_a_cpu_and_no_tf32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a GPU")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    choose_backend("cpu")
    assert ops.compute_relocation is relocation and torch.are_deterministic_algorithms_enabled()
    torch.backends.cudnn.allow_tf32 = True
    assert choose_backend("cuda").name.endswith("on a GPU")
    assert ops.compute_relocation.__module__ == "gsplat.relocation"
    assert ops.quat_scale_to_covar_preci is gsplat.quat_scale_to_covar_preci
    assert not torch.are_deterministic_algorithms_enabled() and not torch.backends.cudnn.allow_tf32
    choose_backend("cpu")
    assert ops.quat_scale_to_covar_preci is covariances and torch.are_deterministic_algorithms_enabled()


def test_the_default_strategy_leaves_still_gaussians_alone_and_removes_transparent_ones() -> None:
    method, values, tools = trained("default", 100, cap=1000)
    with torch.no_grad():
        values["opacities"][:30] = -10.0
    for step in range(1, 31):
        method.after_step(values, tools, step, info(values, 0.0), 0.0)
    assert len(values["means"]) == 70
