"""A training in several processes: what they exchange, that they fail and stop as one, and what comes of it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import train
from gsplat.strategy import DefaultStrategy
from gsplat_on_cpu import put_torch_in
from little_scene import write_scene
from small_stage import SMALL, STEPS
from torch import Tensor

from splatkit.errors import FAILED, INPUT_ERROR, INTERRUPTED, StageError
from splatkit.formats.ply import read_ply
from splatkit.rasterizer.rasterize import rasterization
from splatkit.train.backend import gsplat_rasterizer
from splatkit.train.launch import GpuFullError, gpus_to_use, in_ranks
from splatkit.train.options import TrainOptions
from splatkit.train.ranks import ALONE, Ranks, map_rows, rasterization_of_all

CPU = torch.device("cpu")
LEARNED = ("means", "quats", "scales", "opacities", "colors")
CAMERA = {"viewmats": torch.eye(4)[None], "Ks": torch.tensor([[[30.0, 0, 16], [0, 30.0, 12], [0, 0, 1]]])}


def cloud() -> dict[str, Tensor]:
    dice = torch.Generator().manual_seed(0)
    return {
        "means": torch.randn(31, 3, generator=dice) + torch.tensor([0.0, 0, 4]),
        "quats": torch.randn(31, 4, generator=dice),
        "scales": torch.rand(31, 3, generator=dice) * 0.3,
        "opacities": torch.rand(31, generator=dice),
        "colors": torch.randn(31, 4, 3, generator=dice),
    }


def loss_of(rasterize: Any, values: dict[str, Tensor], rank: int) -> Tensor:
    """Each rank's camera stands a step further to the side."""
    camera = {**CAMERA, "viewmats": CAMERA["viewmats"].clone()}
    camera["viewmats"][0, 0, 3] = 0.3 * rank
    image, _, _ = rasterize(**values, **camera, width=32, height=24, sh_degree=1)
    return image.square().sum()


def render_together(ranks: Ranks, rendezvous: str) -> dict[str, Any]:
    ranks.join(rendezvous, CPU)
    own = {name: value[ranks.rank :: ranks.count].clone().requires_grad_() for name, value in cloud().items()}
    loss = loss_of(rasterization_of_all(rasterization, ranks), own, ranks.rank)
    loss.backward()
    found: dict[str, Any] = {"loss": ranks.mean(float(loss.detach())) * ranks.count}
    found["sizes"] = ranks.sizes(len(own["means"]))
    # As lists: a tensor would travel as a file of a process that is gone by then.
    found["gradients"] = {
        name: ranks.merged(value.grad).tolist() for name, value in own.items() if value.grad is not None
    }
    found["flags"] = [ranks.any(ranks.rank == 1), ranks.any(False)]
    ranks.leave()
    return found


@pytest.mark.quality
def test_ranks_together_get_the_images_and_gradients_that_one_gets() -> None:
    found = in_ranks(2, render_together)
    whole = {name: value.requires_grad_() for name, value in cloud().items()}
    loss = loss_of(rasterization, whole, 0) + loss_of(rasterization, whole, 1)
    loss.backward()
    assert found["loss"] == pytest.approx(loss.item(), rel=1e-6)
    assert found["sizes"] == [16, 15]
    dealt = torch.cat([torch.arange(31)[0::2], torch.arange(31)[1::2]])
    for name in LEARNED:
        assert whole[name].grad is not None
        torch.testing.assert_close(
            torch.tensor(found["gradients"][name]), whole[name].grad[dealt], rtol=1e-4, atol=1e-6
        )
    assert found["flags"] == [True, False]


BACKGROUND = torch.tensor([[0.3, 0.6, 0.1]])


def loss_by_gsplat(ranks: Ranks, values: dict[str, Tensor], camera: int) -> tuple[Tensor, dict[str, Any]]:
    view = CAMERA["viewmats"].clone()
    view[0, 0, 3] = 0.6 * camera
    image, _, info = gsplat_rasterizer(ranks)(
        **values, viewmats=view, Ks=CAMERA["Ks"], width=32, height=24, sh_degree=1, backgrounds=BACKGROUND
    )
    info["means2d"].retain_grad()
    return image.square().sum(), info


def render_by_gsplat(ranks: Ranks, rendezvous: str) -> dict[str, Any]:
    ranks.join(rendezvous, CPU)
    put_torch_in(ranks)
    own = {name: value[ranks.rank :: ranks.count].clone().requires_grad_() for name, value in cloud().items()}
    loss, info = loss_by_gsplat(ranks, own, ranks.rank)
    loss.backward()
    strategy = DefaultStrategy()
    state = strategy.initialize_state()
    strategy._update_state(own, state, info)
    found: dict[str, Any] = {"loss": ranks.mean(float(loss.detach())) * ranks.count}
    found["gradients"] = {name: ranks.merged(value.grad).tolist() for name, value in own.items()}  # type: ignore[arg-type]
    found["state"] = {name: ranks.merged(state[name]).tolist() for name in ("grad2d", "count")}
    ranks.leave()
    return found


@pytest.mark.quality
def test_gsplats_distributed_rendering_gives_what_one_gpu_gives_for_each_photo() -> None:
    """Its own code and our call of it, with a background, on CPUs: losses, gradients, and what its strategies count."""
    found = in_ranks(2, render_by_gsplat)
    alone = in_ranks(1, render_alone_by_gsplat)
    dealt = torch.cat([torch.arange(31)[0::2], torch.arange(31)[1::2]])
    assert found["loss"] == pytest.approx(alone["loss"], rel=1e-5)
    for part in ("gradients", "state"):
        for name, expected in alone[part].items():
            wanted = torch.tensor(expected)[dealt]
            assert wanted.abs().max() > 0
            torch.testing.assert_close(torch.tensor(found[part][name]), wanted, rtol=1e-4, atol=1e-5)
    assert max(alone["state"]["count"]) == 2 and min(alone["state"]["count"]) < 2, "not each is seen by both cameras"


def render_alone_by_gsplat(ranks: Ranks, _rendezvous: str) -> dict[str, Any]:
    """Both photos, one after the other."""
    put_torch_in(ranks)
    values = {name: value.requires_grad_() for name, value in cloud().items()}
    strategy = DefaultStrategy()
    state, total = strategy.initialize_state(), 0.0
    for camera in range(2):
        loss, info = loss_by_gsplat(ranks, values, camera)
        loss.backward()
        strategy._update_state(values, state, info)
        total += loss.item()
    gradients = {name: value.grad.tolist() for name, value in values.items() if value.grad is not None}
    return {
        "loss": total,
        "gradients": gradients,
        "state": {name: state[name].tolist() for name in ("grad2d", "count")},
    }


def fail(ranks: Ranks, rendezvous: str, how: str) -> dict[str, Any]:
    ranks.join(rendezvous, CPU)
    if ranks.rank == 1:
        if how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "crashed":
            os._exit(9)
        if how == "input":
            raise StageError("bad_photo", "view_01.png cannot be read", "Copy it again.", exit_code=INPUT_ERROR)
        if how == "memory":
            raise GpuFullError(1234)
        raise ZeroDivisionError("a bug")
    ranks.any(False)
    return {"never": "reached"}


@pytest.mark.parametrize(
    ("how", "expected", "said"),
    [
        ("killed", StageError, r"process 2 of 2, one per GPU, was killed by SIGKILL"),
        ("crashed", StageError, r"process 2 of 2, one per GPU, ended with exit code 9"),
        ("input", StageError, r"view_01.png cannot be read"),
        ("memory", GpuFullError, r"full with 1234 Gaussians"),
        ("bug", RuntimeError, r"(?s)in process 2 of 2.*ZeroDivisionError: a bug"),
    ],
)
def test_a_rank_that_fails_ends_all_and_its_reason_is_told(how: str, expected: Any, said: str) -> None:
    with pytest.raises(expected, match=said) as caught:
        in_ranks(2, fail, how)
    if how == "killed":
        assert not caught.value.retryable and caught.value.exit_code == FAILED and "more memory" in caught.value.fix
    if how == "crashed":
        assert caught.value.retryable and "checkpoint" in caught.value.fix
        assert caught.value.exit_code == INTERRUPTED, "which is what the platform runs again"
    if how == "input":
        assert caught.value.exit_code == INPUT_ERROR and caught.value.fix == "Copy it again."


def test_rows_go_back_to_where_they_were_or_are_dealt_anew() -> None:
    sizes = [3, 5, 2]
    assert [Ranks(r, 3).rows(sizes).tolist() for r in range(3)] == [[0, 1, 2], [3, 4, 5, 6, 7], [8, 9]]
    dealt = [Ranks(r, 2).rows(sizes) for r in range(2)]
    assert sorted(torch.cat(dealt).tolist()) == list(range(10)) and len(dealt[0]) == 5
    assert ALONE.rows(sizes).tolist() == list(range(10))


def test_only_rows_of_gaussians_are_changed() -> None:
    tree = {"a": torch.arange(4), "b": [{"c": torch.zeros(4, 2), "step": torch.tensor(4.0)}], "binoms": torch.eye(4)}
    tree |= {"other": torch.zeros(5), "name": "x", "none": None}
    changed = map_rows(tree, 4, lambda tensor: tensor[:1])
    assert changed["a"].tolist() == [0] and changed["b"][0]["c"].shape == (1, 2)
    assert changed["b"][0]["step"] == 4 and changed["binoms"].shape == (4, 4) and len(changed["other"]) == 5
    assert changed["name"] == "x" and changed["none"] is None and len(tree["a"]) == 4


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"device": "cpu", "strategy": "default"}, "strategy is default with gpus 2 on a CPU"),
        ({"device": "cuda", "absgrad": True}, "absgrad is true"),
    ],
)
def test_what_several_gpus_cannot_do_is_refused(
    more: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    with pytest.raises(StageError, match=said):
        gpus_to_use(TrainOptions(input_dir=Path(), output_dir=Path(), gpus=2, **more))


def test_all_visible_gpus_are_used_unless_a_number_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)

    def used(gpus: int, device: Any) -> int:
        return gpus_to_use(TrainOptions(input_dir=Path(), output_dir=Path(), gpus=gpus, device=device))

    assert [used(0, "cuda"), used(2, "cuda"), used(0, "cpu"), used(3, "cpu")] == [4, 2, 1, 3]
    with pytest.raises(StageError, match="gpus is 5, but 4 can be seen"):
        used(5, "cuda")


def command(scene: Path, out: Path, *more: str) -> list[str]:
    folders = ["--input-dir", str(scene), "--output-dir", str(out), "--checkpoint-dir", f"{out}.kept"]
    return [*folders, "--preset", "draft", *SMALL, "--plateau-gain", "0", "--gpus", "2", *more]


@pytest.mark.quality
def test_a_training_in_two_processes_is_stopped_and_goes_on_bit_for_bit(tmp_path: Path) -> None:
    scene, out, whole = write_scene(tmp_path / "scene"), tmp_path / "out", tmp_path / "whole"
    arguments = command(scene, out, "--checkpoint-seconds", "0.05")
    child = subprocess.Popen([sys.executable, train.__file__, *arguments], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while not any(int(path.name[5:13]) for path in Path(f"{out}.kept").glob("step-*.pt")) and child.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    child.terminate()
    assert child.wait(60) == INTERRUPTED
    assert json.loads((out / "result.json").read_text())["error"]["code"] == "interrupted"
    saved = max(Path(f"{out}.kept").glob("step-*.pt"))
    state = torch.load(saved, weights_only=True)
    assert len(state["sizes"]) == 2 and min(state["sizes"]) > 100 and 0 < state["step"] < STEPS
    assert len(state["values"]["means"]) == sum(state["sizes"])
    assert train.main(arguments) == 0
    assert train.main(command(scene, whole)) == 0
    assert (out / "splat.ply").read_bytes() == (whole / "splat.ply").read_bytes()
    metrics = json.loads((out / "result.json").read_text())["metrics"]
    assert metrics["gaussians"] == len(read_ply(out / "splat.ply")) > 300
    assert metrics["steps"] == STEPS and metrics["processes"] == 2
    rows = (out / "metrics.csv").read_text().splitlines()
    assert float(rows[-1].split(",")[2]) > float(rows[1].split(",")[2]) + 2, "PSNR rises"


def test_one_process_goes_on_from_the_checkpoint_of_two(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scene, out = write_scene(tmp_path / "scene", views=9), tmp_path / "out"
    assert train.main(command(scene, out, "--gpus", "2")) == 0
    assert train.main(command(scene, out, "--gpus", "1")) == 0
    assert f"going on from step {STEPS} with" in capsys.readouterr().out
    states = [torch.load(path, weights_only=True) for path in Path(f"{out}.kept").glob("step-*.pt")]
    by_two, by_one = sorted(states, key=lambda state: -len(state["sizes"]))
    assert len(by_two["sizes"]) == 2 and by_one["sizes"] == [sum(by_two["sizes"])]
    for name, value in by_one["values"].items():
        assert torch.equal(value, by_two["values"][name][ALONE.rows(by_two["sizes"])])
