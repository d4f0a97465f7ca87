"""The parameters that are trained: how they begin, how fast they move, and how wide they may be."""

import numpy as np
import pytest
import torch

from splatkit.train.gaussians import LEARNING_RATES, from_points, haste, narrow, optimizers, parameters, set_rates

pytestmark = pytest.mark.quality


def test_the_first_gaussians_are_as_wide_as_their_neighbours_are_far() -> None:
    grid = np.stack(np.meshgrid(*[np.arange(6.0)] * 3), -1).reshape(-1, 3) * 0.25
    values = from_points(grid, np.full((216, 3), 0.5), sh_degree=2, opacity=0.1, scale=1.0, cap=1000, seed=0)
    assert torch.allclose(values["scales"].exp(), torch.tensor(0.25), atol=1e-4)
    assert values["shN"].shape == (216, 8, 3) and (values["sh0"] == 0).all()
    assert torch.allclose(values["opacities"].sigmoid(), torch.tensor(0.1))
    doubled = from_points(np.zeros((20, 3)), np.zeros((20, 3)), sh_degree=0, opacity=0.1, scale=1.0, cap=9, seed=0)
    assert len(doubled["means"]) == 9 and torch.isfinite(doubled["scales"]).all()


def test_rates_of_a_short_training_fall_late_and_those_of_a_long_one_stay() -> None:
    grid = np.stack(np.meshgrid(*[np.arange(3.0)] * 3), -1).reshape(-1, 3)
    start = from_points(grid, np.full((27, 3), 0.5), sh_degree=1, opacity=0.1, scale=1.0, cap=100, seed=0)

    def rates(steps: int, photos: int = 1) -> dict[str, list[float]]:
        tools = optimizers(parameters(start, torch.device("cpu")), haste(steps), photos)
        found: dict[str, list[float]] = {name: [] for name in tools}
        for progress in (0.0, 0.3, 0.65, 1.0):
            set_rates(tools, progress, haste(steps), photos)
            for name, tool in tools.items():
                found[name].append(tool.param_groups[0]["lr"])
        return found

    short, long = rates(2_000), rates(30_000)
    for name, usual in LEARNING_RATES.items():
        if name != "means":
            assert long[name] == pytest.approx([usual] * 4)
            assert short[name][0] == short[name][1] > 2.9 * usual
            assert short[name][3] == pytest.approx(short[name][1] / haste(2_000) ** 2)
            assert short[name][1] > short[name][2] > short[name][3]
    assert long["means"][3] == pytest.approx(0.01 * long["means"][0])
    assert rates(30_000, photos=4)["means"] == pytest.approx([2 * rate for rate in long["means"]])


def test_narrowing_takes_any_number_of_gaussians_and_a_camera_within_one(monkeypatch: pytest.MonkeyPatch) -> None:
    means = torch.tensor([[float(i), 0, 0] for i in range(7)])
    for at_once in (1, 4, 1 << 22):
        monkeypatch.setattr("splatkit.train.gaussians.PAIRS_AT_ONCE", at_once)
        values = {"means": means, "scales": torch.zeros(7, 3)}
        narrow(values, torch.tensor([[0.0, 0, 0], [6.0, 0, 0]]), 0.5)
        wanted = torch.tensor([1e-6, 0.5, 1, 1, 1, 0.5, 1e-6])[:, None].expand(7, 3)
        torch.testing.assert_close(values["scales"].exp(), wanted)
