"""A GPU that is full, at any moment: what is done with less, and what is left out."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
import train
from little_scene import write_scene
from small_stage import result, run

from splatkit.formats.ply import read_ply
from splatkit.train import loop
from splatkit.train.launch import GpuFullError
from splatkit.train.training import Training
from splatworks.contract.exit_codes import ExitCode


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scene(tmp_path_factory.mktemp("scene"))


def test_a_gpu_that_is_full_is_answered_by_fewer_gaussians(
    scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    original = Training.train_step

    def full(self: Training) -> None:
        if self.step > 20 and self.count > 330:
            raise torch.OutOfMemoryError("tried to allocate 2 GiB")
        original(self)

    monkeypatch.setattr(Training, "train_step", full)
    out = tmp_path / "out"
    assert run(scene, out, "--checkpoint-seconds", "0.05") == 0
    assert result(out)["metrics"]["gaussians"] <= 330
    said = capsys.readouterr().out
    assert "trying again with at most" in said
    begun = [int(step) for step in re.findall(r"going on from step (\d+) with", said)]
    assert begun and min(begun) > 0, "from the checkpoint, not anew"


FULL = "CUDA out of memory. Tried to allocate 2.00 GiB"


def full_once(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, problem: RuntimeError) -> None:
    original, asked = getattr(owner, name), []

    def full(*arguments: Any, **more: Any) -> Any:
        if not asked:
            asked.append(name)
            raise problem
        return original(*arguments, **more)

    monkeypatch.setattr(owner, name, full)


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (train, "choose_backend"),
        (train, "warm_up"),
        (Training, "__init__"),
        (Training, "restore"),
        (Training, "state"),
        (Training, "gather"),
    ],
)
def test_a_gpu_may_be_full_at_any_time(
    owner: Any,
    name: str,
    scene: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    if name == "restore":
        assert run(scene, out, "--max-steps", "20") == 0
    full_once(monkeypatch, owner, name, torch.OutOfMemoryError(FULL))
    assert run(scene, out, "--max-steps", "20") == 0, result(out)
    begun = name in ("restore", "state", "gather")
    limit = 210 if begun else 420  # 70 % of the Gaussians that there were, or of the cap
    assert f"trying again with at most {limit}" in capsys.readouterr().out
    assert len(read_ply(out / "splat.ply")) <= limit


@pytest.mark.parametrize(
    "problem", [torch.OutOfMemoryError(FULL), RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED")]
)
@pytest.mark.parametrize(
    ("owner", "name", "said"),
    [
        (train, "write_preview", "the preview is left out"),
        (train, "write_flythrough", "the fly-through is left out"),
        (loop, "write_preview", "no preview this time"),
    ],
)
def test_what_a_full_gpu_cannot_draw_costs_nothing_else(
    owner: Any, name: str, said: str, problem: RuntimeError, scene: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    full_once(monkeypatch, owner, name, problem)
    out = tmp_path / "out"
    more = ("--max-steps", "20", "--flythrough-seconds", "0.1", "--checkpoint-seconds", "0.01")
    assert run(scene, out, *more) == 0, result(out)
    assert said in capsys.readouterr().out and (out / "splat.ply").is_file() and result(out)["metrics"]["psnr"] > 10


def test_a_film_that_a_full_gpu_cuts_short_is_not_among_the_results(
    scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    draw = train.write_flythrough

    def full_at_the_second_frame(path: Path, training: Any, seconds: float, on_frame: Any) -> None:
        def on_this(done: int, total: int) -> None:
            on_frame(done, total)
            if done == 2:
                raise torch.OutOfMemoryError(FULL)

        draw(path, training, seconds, on_this)

    monkeypatch.setattr(train, "write_flythrough", full_at_the_second_frame)
    assert run(scene, tmp_path / "out", "--max-steps", "20", "--flythrough-seconds", "0.2") == 0
    assert "the fly-through is left out" in capsys.readouterr().out
    assert not [path.name for path in (tmp_path / "out").iterdir() if "fly" in path.name]


def test_evaluation_on_a_full_gpu_goes_without_lpips_or_says_so(
    scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.jit.script(Distance()).save(str(tmp_path / "lpips.pt"))
    more = ("--max-steps", "5", "--models-dir", str(tmp_path))
    assert run(scene, tmp_path / "measured", *more) == 0
    assert result(tmp_path / "measured")["metrics"]["lpips"] > 0
    full_once(monkeypatch, train, "score_views", torch.OutOfMemoryError(FULL))
    assert run(scene, tmp_path / "without", *more) == 0
    metrics = result(tmp_path / "without")["metrics"]
    assert "LPIPS is left out" in capsys.readouterr().out and "lpips" not in metrics and metrics["psnr"] > 5
    full_once(monkeypatch, train, "score_views", torch.OutOfMemoryError(FULL))
    assert run(scene, tmp_path / "none", "--max-steps", "5") == ExitCode.FAILED
    assert result(tmp_path / "none")["error"]["code"] == "out_of_memory"
    assert (tmp_path / "none" / "splat.ply").is_file()


class Distance(torch.nn.Module):
    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return (a - b).abs().mean()


class OfOne(torch.nn.Module):
    def forward(self, a: torch.Tensor) -> torch.Tensor:
        return a.mean()


class Pair(torch.nn.Module):
    def forward(self, a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return (a - b).abs().mean(), b.mean()


class Number(torch.nn.Module):
    def forward(self, a: torch.Tensor, b: torch.Tensor) -> float:
        return float((a - b).abs().mean())


@pytest.mark.parametrize("broken", ["cut off", "of one image", "a pair", "a number"])
def test_a_broken_lpips_is_refused_before_the_training(broken: str, scene: Path, tmp_path: Path) -> None:
    file = tmp_path / "lpips.pt"
    module = {"a pair": Pair, "a number": Number}.get(broken, OfOne)()
    torch.jit.script(module).save(str(file))
    if broken == "cut off":
        file.write_bytes(file.read_bytes()[:100])
    assert run(scene, tmp_path / "out", "--models-dir", str(tmp_path)) == ExitCode.INPUT_ERROR
    error = result(tmp_path / "out")["error"]
    assert error["code"] == "bad_lpips" and "lpips.pt" in error["cause"] and "remove it" in error["fix"]


def test_after_the_last_step_nothing_of_the_optimizers_is_held(
    scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[Any] = []
    original = train.score_views

    def spy(run: Training, *arguments: Any, **more: Any) -> Any:
        held.append((run.tools, run.refinement.state, [value.grad for value in run.values.values()]))
        return original(run, *arguments, **more)

    monkeypatch.setattr(train, "score_views", spy)
    assert run(scene, tmp_path / "out", "--max-steps", "5") == 0
    assert held == [({}, {}, [None] * 6)]


def test_a_gpu_that_stays_full_ends_with_advice(scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[int | None] = []

    def full(_ranks: Any, _rendezvous: str, _scene: Any, _options: Any, limit: int | None, _progress: Any) -> None:
        limits.append(limit)
        raise GpuFullError(limit or 1000)

    monkeypatch.setattr(train, "train_in_rank", full)
    assert run(scene, tmp_path / "out") == ExitCode.FAILED
    assert limits == [None, 700, 489, 342, 239]
    error = result(tmp_path / "out")["error"]
    assert error["code"] == "out_of_memory" and "cap_max" in error["fix"]
