"""What a training that comes to nothing leaves, and what is no divergence."""

import dataclasses
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
import train
from little_scene import write_scene
from PIL import Image
from small_stage import newest, result, run, saved_step

from splatkit.errors import FAILED, INTERRUPTED
from splatkit.train.training import Training


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scene(tmp_path_factory.mktemp("scene"))


def test_a_diverging_loss_stops_the_stage_and_keeps_the_last_good_checkpoint(
    scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Training._loss

    def poisoned(self: Training, *arguments: Any) -> torch.Tensor:
        return original(self, *arguments) * (float("nan") if self.step >= 60 else 1)

    monkeypatch.setattr(Training, "_loss", poisoned)
    out = tmp_path / "out"
    assert run(scene, out, "--checkpoint-seconds", "0.05") == FAILED
    error = result(out)["error"]
    assert error["code"] == "diverged" and "nan at step 60" in error["cause"]
    assert result(out)["metrics"]["step"] == 60
    assert max((tmp_path / "out.checkpoint").glob("step-*.pt")).name < "step-00000061"


@pytest.mark.quality
def test_a_loss_that_explodes_and_stays_high_stops_the_stage_with_a_checkpoint_of_before(
    scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Training._loss

    def exploded(self: Training, *arguments: Any) -> torch.Tensor:
        return original(self, *arguments) * (100 if self.step >= 60 else 1)

    monkeypatch.setattr(Training, "_loss", exploded)
    monkeypatch.setattr("splatkit.train.loop.CHECKPOINT_SHARE", 1e9)
    out = tmp_path / "out"
    assert run(scene, out, "--checkpoint-seconds", "0.0001") == FAILED
    error = result(out)["error"]
    assert error["code"] == "diverged" and "stayed there for 9 looks" in error["cause"], "half a round of 18 photos"
    assert result(out)["metrics"]["step"] == 68
    assert 0 < saved_step(out) <= 60


@pytest.mark.quality
def test_one_white_photo_among_forty_is_no_divergence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = write_scene(tmp_path / "scene", views=40)
    Image.new("RGB", (96, 64), "white").save(scene / "images" / "view_03.png")
    # So soon the other photos are not known so well that this one stands out as it will.
    monkeypatch.setattr("splatkit.train.loss_watch.DIVERGED", 3.0)
    more = ("--max-steps", "180", "--hold-out-every", "0", "--coarse-until", "0", "--dropout", "0")
    assert run(scene, tmp_path / "out", *more, "--opacity-weight", "0") == 0, result(tmp_path / "out")


def test_many_gaussians_that_are_no_numbers_are_never_saved(
    scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A GPU looks at the loss every 10 steps only."""
    original, choose = Training._loss, train.choose_backend

    def poisoned(self: Training, *arguments: Any) -> torch.Tensor:
        return original(self, *arguments) * (float("nan") if self.step >= 52 else 1)

    monkeypatch.setattr(Training, "_loss", poisoned)
    monkeypatch.setattr("splatkit.train.loop.CHECKPOINT_SHARE", 1e9)
    monkeypatch.setattr(train, "choose_backend", lambda *given: dataclasses.replace(choose(*given), look_every=10))
    out = tmp_path / "out"
    assert run(scene, out, "--checkpoint-seconds", "0.0001") == FAILED
    assert result(out)["error"]["code"] == "diverged"
    assert "not finite: no checkpoint of step 60" in capsys.readouterr().out
    state = torch.load(newest(out), weights_only=True)
    assert state["step"] == 50 and all(value.isfinite().all() for value in state["values"].values())
    more = ("--max-steps", "57", "--plateau-gain", "0")
    assert run(scene, tmp_path / "end", *more) == FAILED, "the last steps are looked at, too"
    assert "not finite at step 57" in result(tmp_path / "end")["error"]["cause"]


def test_a_few_gaussians_that_are_no_numbers_stop_no_checkpoint_and_are_left_out_at_the_end(
    scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Training.train_step
    poisoned: list[int] = []

    def poison(self: Training) -> None:
        original(self)
        if self.step == 100 and not poisoned:
            with torch.no_grad():
                self.values["means"][:3] = float("nan")
            poisoned.append(self.count)
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Training, "train_step", poison)
    out = tmp_path / "out"
    assert run(scene, out, "--plateau-gain", "0") == INTERRUPTED
    assert saved_step(out) == 100 and poisoned[0] > 300
    assert run(scene, out, "--plateau-gain", "0") == 0
    metrics = result(out)["metrics"]
    assert (metrics["steps"], metrics["gaussians"]) == (120, poisoned[0] - 3)
