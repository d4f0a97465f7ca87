"""gsplat and our rasterizer side by side, and the training stage on GPUs. All but the fixture's test need CUDA."""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import train
from gsplat_scene import FIXTURE, MODES, assert_alike, outputs, scene

from splatkit.errors import INTERRUPTED
from splatkit.rasterizer.rasterize import rasterization
from splatkit.train.backend import choose_backend
from splatkit.train.ssim import ssim_torch
from splatkit.train.training import Training

sys.path.append(str(Path(__file__).parents[1] / "unit" / "train"))
from little_scene import write_scene

GPUS = torch.cuda.device_count()
on_gpu = pytest.mark.skipif(GPUS < 1, reason="needs an NVIDIA GPU: run this file on a machine with one, and gsplat")


@pytest.mark.parametrize("mode", MODES)
def test_our_rasterizer_gives_what_gsplat_gave_on_a_gpu(mode: str) -> None:
    if not FIXTURE.is_file():
        pytest.skip(f"{FIXTURE.name} is not there: python tests/gpu/make_fixture.py makes it on a machine with a GPU")
    with np.load(FIXTURE) as saved:
        parts = {name: torch.from_numpy(saved[name]) for name in saved.files if "/" in name}
    values = {name.removeprefix("input/"): part for name, part in parts.items() if name.startswith("input/")}
    theirs = {name.removeprefix(f"{mode}/"): part for name, part in parts.items() if name.startswith(f"{mode}/")}
    assert_alike(outputs(rasterization, values, mode, "cpu"), theirs)


def test_the_comparison_sees_what_differs() -> None:
    right = outputs(rasterization, scene(), "classic", "cpu")
    assert_alike(right, right)
    for name, value in right.items():
        wrong = {**right, name: value * 2 if name == "radii" else value * 1.02}
        with pytest.raises(AssertionError):
            assert_alike(wrong, right)
    with pytest.raises(AssertionError):
        assert_alike(outputs(rasterization, scene(), "antialiased", "cpu"), right)


@on_gpu
@pytest.mark.parametrize("mode", MODES)
def test_gsplat_renders_and_differentiates_as_ours(mode: str) -> None:
    import gsplat

    theirs = outputs(gsplat.rasterization, scene(), mode, "cuda")
    assert_alike(outputs(rasterization, scene(), mode, "cpu"), theirs)


def stage(scene_folder: Path, out: Path, *more: str) -> dict[str, Any]:
    folders = ["--input-dir", str(scene_folder), "--output-dir", str(out), "--device", "cuda", "--preset", "draft"]
    small = ["--max-steps", "1000", "--cap-max", "2000", "--hold-out-every", "4", "--plateau-gain", "0"]
    code = train.main([*folders, *small, "--flythrough-seconds", "0.5", *more])
    return {"code": code, **json.loads((out / "result.json").read_text())}


@on_gpu
@pytest.mark.parametrize("strategy", ["mcmc", "default"])
def test_a_training_on_a_gpu_is_stopped_goes_on_and_ends_as_well(
    strategy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_scene(tmp_path / "scene")
    options = ("--gpus", "1", "--strategy", strategy)
    whole = stage(folder, tmp_path / "whole", *options)
    assert whole["code"] == 0 and whole["metrics"]["backend"].startswith("gsplat"), whole
    assert whole["metrics"]["psnr"] > 20
    original, asked = Training.train_step, []

    def interrupted(self: Training) -> None:
        original(self)
        if self.step == 400 and not asked:
            asked.append(self.step)
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Training, "train_step", interrupted)
    assert stage(folder, tmp_path / "cut", *options)["code"] == INTERRUPTED
    again = stage(folder, tmp_path / "cut", *options)
    assert again["code"] == 0 and asked
    # Atomic sums make no two runs on a GPU alike, here by more than on a scene of full size.
    assert abs(again["metrics"]["psnr"] - whole["metrics"]["psnr"]) < 0.5


@on_gpu
@pytest.mark.parametrize("noise", [0.005, 0.02, 0.08])
def test_ssim_on_a_gpu_is_that_of_double_precision(noise: float) -> None:
    """Of a smooth photo and a render that is almost the same, where TF32 would leave nothing of the variances."""
    backend = choose_backend("cuda")
    dice = torch.Generator().manual_seed(0)
    down, across = torch.meshgrid(torch.linspace(0, 1, 120), torch.linspace(0, 1, 160), indexing="ij")
    target = torch.stack([down, across, (down + across) / 2], -1) * 0.5 + 0.25
    image = target + noise * torch.randn(target.shape, generator=dice)
    exact = image.double().requires_grad_()
    wanted = ssim_torch(exact, target.double())
    wanted.backward()
    shown = image.to(backend.device).requires_grad_()
    found = backend.ssim(shown, target.to(backend.device))
    found.backward()
    assert exact.grad is not None and shown.grad is not None
    assert found.item() == pytest.approx(wanted.item(), abs=1e-3)
    assert torch.cosine_similarity(shown.grad.cpu().double().flatten(), exact.grad.flatten(), dim=0) > 0.999


@on_gpu
def test_a_gpu_trains_as_well_as_a_cpu(tmp_path: Path) -> None:
    folder = write_scene(tmp_path / "scene")
    found = [stage(folder, tmp_path / device, "--device", device)["metrics"]["psnr"] for device in ("cpu", "cuda")]
    assert abs(found[0] - found[1]) < 0.7, found


@pytest.mark.skipif(GPUS < 2, reason="needs two NVIDIA GPUs: run this file on a machine with them, and gsplat")
def test_two_gpus_train_together_and_one_goes_on_from_their_checkpoint(tmp_path: Path) -> None:
    folder, out = write_scene(tmp_path / "scene"), tmp_path / "out"
    both = stage(folder, out, "--gpus", "2")
    assert both["code"] == 0 and both["metrics"]["processes"] == 2 and both["metrics"]["psnr"] > 18, both
    white = stage(folder, tmp_path / "white", "--gpus", "2", "--background", "white", "--strategy", "default")
    assert white["code"] == 0 and white["metrics"]["gaussians"] <= 2000, "which gsplat's packed mode refuses"
    alone = stage(folder, out, "--gpus", "1")
    assert alone["metrics"]["gaussians"] == both["metrics"]["gaussians"]
