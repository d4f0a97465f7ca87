"""The stage as it is run: what it writes, what it refuses, and that it goes on where it was cut off."""

import dataclasses
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
import train
from little_scene import OFFSET, UNIT, write_scene
from PIL import Image

from splatkit.errors import FAILED, INPUT_ERROR, INTERRUPTED
from splatkit.formats.ply import read_ply
from splatkit.train import loop
from splatkit.train.launch import GpuFullError
from splatkit.train.training import Training

STEPS = 120
SMALL = (
    "--max-steps",
    str(STEPS),
    "--cap-max",
    "600",
    "--flythrough-seconds",
    "0",
    "--hold-out-every",
    "4",
    "--device",
    "cpu",
)
TRAIN = Path(train.__file__)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scene(tmp_path_factory.mktemp("scene"))


ALL_AT_ONCE = ("--sky", "--antialiased", "--exposure", "--background", "random")
KINDS = {
    "mcmc": ("--strategy", "mcmc"),
    "default": ("--strategy", "default", "--absgrad", "--grow-gradient", "0.0008"),
    "standard": ("--preset", "standard", "--cap-max", "5000", *ALL_AT_ONCE),
}


@pytest.fixture(scope="module")
def undisturbed(scene: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The splat of each kind of training when nothing gets in the way."""
    splats = {}
    for kind, options in KINDS.items():
        out = tmp_path_factory.mktemp("undisturbed") / "out"
        assert run(scene, out, *options) == 0
        splats[kind] = (out / "splat.ply").read_bytes()
    return splats


def run(scene: Path, out: Path, *more: str) -> int:
    return train.main(["--input-dir", str(scene), "--output-dir", str(out), "--preset", "draft", *SMALL, *more])


def newest(out: Path) -> Path:
    return max(out.with_name(f"{out.name}.checkpoint").glob("step-*.pt"), key=lambda path: path.name)


def saved_step(out: Path) -> int:
    return int(newest(out).name.split("-")[1])


def result(out: Path) -> dict[str, Any]:
    return dict(json.loads((out / "result.json").read_text()))


def test_a_training_writes_a_splat_in_the_frame_of_the_input_and_what_tells_of_it(scene: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    code = run(scene, out, "--max-steps", "500", "--cap-max", "1500", "--flythrough-seconds", "0.5")
    assert code == 0, result(out)
    splats = read_ply(out / "splat.ply")
    middle = np.median(splats.means, axis=0)
    assert np.abs(middle - OFFSET).max() < 0.5 * UNIT
    widths = np.exp(splats.scales)
    assert 0.01 * UNIT < np.median(widths) < 0.5 * UNIT
    metrics = result(out)["metrics"]
    assert metrics["psnr"] > 20 and metrics["ssim"] > 0.7
    assert metrics["gaussians"] == len(splats) and metrics["sh_degree"] == 1
    assert metrics["held_out"] == 6 and metrics["photos"] == 18
    rows = (out / "metrics.csv").read_text().splitlines()
    assert len(rows) > 10 and rows[0].startswith("step,seconds,psnr")
    first, last = rows[1].split(","), rows[-1].split(",")
    assert float(last[2]) > float(first[2]) + 5, "PSNR rises"
    for name in ("loss.png", "psnr.png", "preview.jpg"):
        with Image.open(out / name) as image:
            image.load()
            assert np.asarray(image).std() > 5, f"{name} shows something"
    beside = sorted((out / "held_out").iterdir())
    assert [p.name for p in beside] == [f"view_{n:02d}.jpg" for n in range(2, 24, 4)]
    photo, render = np.split(np.asarray(Image.open(beside[0]), float), 2, axis=1)
    assert np.abs(photo - render).mean() < 0.5 * photo.std()
    with av.open(str(out / "flythrough.mp4")) as video:
        frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
    assert len(frames) == 12 and frames[0].shape == (64, 96, 3)
    assert np.abs(frames[0].astype(float) - frames[6]).mean() > 3, "the camera moves"
    progress = json.loads((out / "progress.json").read_text())
    assert progress["stage"] == "train" and progress["fraction"] == 1.0


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_run_that_is_told_to_stop_goes_on_bit_for_bit(
    kind: str, scene: Path, undisturbed: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = sorted(random.Random(kind).sample(range(1, STEPS), 3))
    original = Training.train_step

    def interrupted(self: Training) -> None:
        original(self)
        if at and self.step == at[0]:
            at.pop(0)
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Training, "train_step", interrupted)
    out = tmp_path / "out"
    for _ in range(3):
        assert run(scene, out, *KINDS[kind]) == INTERRUPTED
        assert result(out)["status"] == "interrupted" and result(out)["error"]["retryable"]
    assert run(scene, out, *KINDS[kind]) == 0
    assert not at
    assert (out / "splat.ply").read_bytes() == undisturbed[kind]


def test_a_killed_run_goes_on_bit_for_bit_even_from_the_checkpoint_before(
    scene: Path, undisturbed: dict[str, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, kept = tmp_path / "out", tmp_path / "kept"
    often = ("--checkpoint-dir", str(kept), "--checkpoint-seconds", "0.01")
    command = [sys.executable, str(TRAIN), "--input-dir", str(scene), "--output-dir", str(out), "--preset", "draft"]
    child = subprocess.Popen([*command, *SMALL, *often], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(list(kept.glob("step-*.pt"))) < 2 and child.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    child.kill()
    assert child.wait() == -signal.SIGKILL
    newest = max(kept.glob("step-*.pt"), key=lambda p: p.name)
    newest.write_bytes(newest.read_bytes()[: newest.stat().st_size // 2])
    assert run(scene, out, *often) == 0
    said = capsys.readouterr().out
    assert f"{newest.name} is damaged" in said and "going on from step" in said
    assert (out / "splat.ply").read_bytes() == undisturbed["mcmc"]


def test_a_stopped_run_goes_on_even_where_others_came_further(
    scene: Path, undisturbed: dict[str, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, kept = tmp_path / "out", tmp_path / "kept"
    for seed in ("1", "2"):  # finished, in the same folder, and 30 steps longer
        assert run(scene, out, "--checkpoint-dir", str(kept), "--max-steps", "150", "--seed", seed) == 0
    command = [sys.executable, str(TRAIN), "--input-dir", str(scene), "--output-dir", str(out), "--preset", "draft"]
    often = ("--checkpoint-dir", str(kept), "--checkpoint-seconds", "0.01")
    child = subprocess.Popen([*command, *SMALL, *often], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not any(0 < int(path.name[5:13]) < STEPS for path in kept.glob("step-*.pt")) and child.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    child.terminate()
    assert child.wait(60) == INTERRUPTED
    capsys.readouterr()
    assert run(scene, out, *often) == 0
    assert re.search(r"going on from step [1-9]", capsys.readouterr().out)
    assert (out / "splat.ply").read_bytes() == undisturbed["mcmc"]


def test_sigterm_ends_the_process_with_75_within_seconds(scene: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, str(TRAIN), "--input-dir", str(scene), "--output-dir", str(out), "--preset", "draft"]
    child = subprocess.Popen([*command, *SMALL, "--max-steps", "100000"], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while "training" not in (out / "progress.json").read_text() if (out / "progress.json").exists() else True:
        assert time.monotonic() < deadline and child.poll() is None
        time.sleep(0.05)
    time.sleep(0.5)
    asked = time.monotonic()
    child.terminate()
    assert child.wait(20) == INTERRUPTED
    assert time.monotonic() - asked < 20
    assert list((tmp_path / "out.checkpoint").glob("step-*.pt"))


def test_another_option_starts_anew(scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert run(scene, out, "--max-steps", "10") == 0
    assert run(scene, out, "--max-steps", "11") == 0
    assert "is of other photos or options" in capsys.readouterr().out


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


def test_one_white_photo_among_forty_is_no_divergence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = write_scene(tmp_path / "scene", views=40)
    Image.new("RGB", (96, 64), "white").save(scene / "images" / "view_03.png")
    # So soon the other photos are not known so well that this one stands out as it will.
    monkeypatch.setattr("splatkit.train.training.DIVERGED", 3.0)
    more = ("--max-steps", "180", "--hold-out-every", "0", "--coarse-until", "0", "--dropout", "0")
    assert run(scene, tmp_path / "out", *more, "--opacity-weight", "0") == 0, result(tmp_path / "out")


def test_gaussians_that_are_no_numbers_are_never_saved(
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


def test_a_run_that_had_ended_stays_as_it_is(scene: Path, tmp_path: Path) -> None:
    """As after a kill while the results are written: on a plateau, and at the last step."""
    plateau = ("--plateau-gain", "100", "--plateau-after", "0.3", "--plateau-window", "0.1")
    for name, more, last in (("plateau", plateau, 36), ("whole", ("--plateau-gain", "0"), STEPS)):
        out = tmp_path / name
        found = []
        for _ in range(2):
            assert run(scene, out, *more) == 0
            assert result(out)["metrics"]["steps"] == last
            found.append([(out / file).read_bytes() for file in ("splat.ply", "metrics.csv")])
        assert found[0] == found[1]
        steps = [row.split(",")[0] for row in (out / "metrics.csv").read_text().splitlines()[1:]]
        assert steps[-1] == str(last) and len(set(steps)) == len(steps)


def test_the_time_of_a_training_that_is_told_to_stop_is_counted_whole(
    scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, spent = Training.train_step, []

    def timed(self: Training) -> None:
        begun = time.monotonic()
        original(self)
        spent.append(time.monotonic() - begun)
        if self.step == 50:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Training, "train_step", timed)
    assert run(scene, tmp_path / "out", "--evaluate-every", "1000") == INTERRUPTED
    state = torch.load(newest(tmp_path / "out"), weights_only=True)
    assert sum(spent) <= state["seconds"] < 2 * sum(spent) + 5


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
    [(train, "warm_up"), (Training, "__init__"), (Training, "restore"), (Training, "state"), (Training, "gather")],
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
    limit = {"warm_up": 420, "__init__": 420}.get(name, 210)  # 70 % of the cap, or of the Gaussians that there were
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
    assert run(scene, tmp_path / "none", "--max-steps", "5") == FAILED
    assert result(tmp_path / "none")["error"]["code"] == "out_of_memory"
    assert (tmp_path / "none" / "splat.ply").is_file()


class Distance(torch.nn.Module):
    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return (a - b).abs().mean()


class OfOne(torch.nn.Module):
    def forward(self, a: torch.Tensor) -> torch.Tensor:
        return a.mean()


@pytest.mark.parametrize("broken", ["cut off", "of one image"])
def test_a_broken_lpips_is_refused_before_the_training(broken: str, scene: Path, tmp_path: Path) -> None:
    file = tmp_path / "lpips.pt"
    torch.jit.script(OfOne()).save(str(file))
    if broken == "cut off":
        file.write_bytes(file.read_bytes()[:100])
    assert run(scene, tmp_path / "out", "--models-dir", str(tmp_path)) == INPUT_ERROR
    error = result(tmp_path / "out")["error"]
    assert error["code"] == "bad_lpips" and "lpips.pt" in error["cause"] and "remove it" in error["fix"]


def test_the_folder_where_it_is_started_can_be_the_output(
    scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert run(scene, Path(), "--max-steps", "5") == 0
    assert list((tmp_path / "here.checkpoint").glob("step-*.pt"))


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


def test_a_stopped_run_has_a_preview_and_the_platform_its_metrics(
    scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    original = Training.train_step

    def interrupted(self: Training) -> None:
        original(self)
        if self.step == 60:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Training, "train_step", interrupted)
    monkeypatch.setenv("RUN_ID", "run")
    out = tmp_path / "out"
    assert run(scene, out, "--checkpoint-seconds", "0.01", "--evaluate-every", "20") == INTERRUPTED
    with Image.open(out / "preview.jpg") as image:
        assert image.size == (96, 64)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    assert [line["Step"] for line in lines] == [20, 40]
    assert all(line["PSNR"] > 5 and line["StepsPerSecond"] > 0 and line["Stage"] == "train" for line in lines)


def test_a_gpu_that_stays_full_ends_with_advice(scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[int | None] = []

    def full(_ranks: Any, _rendezvous: str, _scene: Any, _options: Any, limit: int | None, _progress: Any) -> None:
        limits.append(limit)
        raise GpuFullError(limit or 1000)

    monkeypatch.setattr(train, "train_in_rank", full)
    assert run(scene, tmp_path / "out") == FAILED
    assert limits == [None, 700, 489, 342, 239]
    error = result(tmp_path / "out")["error"]
    assert error["code"] == "out_of_memory" and "cap_max" in error["fix"]


@pytest.mark.parametrize(("preset", "degree"), [("standard", 3), ("high", 3)])
def test_the_other_presets_train_on_a_cpu_too(preset: str, degree: int, scene: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(scene, out, "--preset", preset, "--max-steps", "400", "--cap-max", "1000") == 0, result(out)
    metrics = result(out)["metrics"]
    assert metrics["psnr"] > 20 and metrics["sh_degree"] == degree and metrics["image_size"] == [96, 64]
    assert read_ply(out / "splat.ply").sh_degree == degree


def test_a_sky_fills_what_lies_behind_the_points_and_antialiasing_does_no_harm(scene: Path, tmp_path: Path) -> None:
    psnr = {}
    for name, more in {"plain": (), "sky": ("--sky",), "antialiased": ("--antialiased",)}.items():
        assert run(scene, tmp_path / name, "--max-steps", "300", "--cap-max", "5000", *more) == 0
        psnr[name] = result(tmp_path / name)["metrics"]["psnr"]
    # The photos' background is a dark grey, which black leaves out and Gaussians far off can show.
    assert psnr["sky"] > psnr["plain"] + 0.3, psnr
    assert abs(psnr["antialiased"] - psnr["plain"]) < 2, psnr
    assert [read_ply(tmp_path / name / "splat.ply").antialiased for name in psnr] == [False, False, True]
    distance = np.linalg.norm(read_ply(tmp_path / "sky" / "splat.ply").means - OFFSET, axis=1) / UNIT
    assert (distance > 30).sum() > 50, "of the 1,250 that it began with"


def test_a_psnr_under_the_gate_fails_with_advice(scene: Path, tmp_path: Path) -> None:
    assert run(scene, tmp_path / "out", "--max-steps", "5", "--min-psnr", "60") == FAILED
    error = result(tmp_path / "out")["error"]
    assert error["code"] == "low_psnr" and "60 dB" in error["cause"] and "overlapping" in error["fix"]
    assert (tmp_path / "out" / "splat.ply").exists()


def test_photos_through_a_distorting_lens_are_undistorted_first(tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "in", views=6, k1=0.05)
    assert run(scene, tmp_path / "out", "--max-steps", "20") == 0, result(tmp_path / "out")
    assert len(read_ply(tmp_path / "out" / "splat.ply")) > 100


def remove(*names: str) -> Callable[[Path], None]:
    def change(scene: Path) -> None:
        for name in names:
            for path in scene.glob(name):
                path.unlink()

    return change


def edit(name: str, old: str, new: str) -> Callable[[Path], None]:
    def change(scene: Path) -> None:
        path = scene / "sparse" / "0" / name
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new, 1))

    return change


def two_views(scene: Path) -> None:
    path = scene / "sparse" / "0" / "images.txt"
    path.write_text("\n".join(path.read_text().split("\n")[:4]) + "\n")


def break_photo(scene: Path) -> None:
    photo = scene / "images" / "view_01.png"
    photo.write_bytes(photo.read_bytes()[:500])


def turn_photo(scene: Path) -> None:
    photo = scene / "images" / "view_01.png"
    Image.open(photo).transpose(Image.Transpose.ROTATE_90).save(photo)


def empty_points(scene: Path) -> None:
    (scene / "sparse" / "0" / "points3D.txt").write_text("")


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        (remove("sparse/0/*"), "no_model", "no COLMAP model"),
        (remove("images/*"), "no_photos", "none of the model's 24 photos"),
        (empty_points, "no_points", "0 usable points"),
        (edit("images.txt", " 1 view_03.png", " 1 ../../etc/passwd"), "bad_model", "outside"),
        (edit("cameras.txt", "PINHOLE", "WINDOW"), "bad_model", "cannot be read"),
        (edit("cameras.txt", "80.0 80.0", "nan 80.0"), "bad_model", "camera.VerifyParams"),
        (two_views, "too_few_views", "2 photos with a pose, at least 3"),
        (break_photo, "bad_photo", "view_01.png cannot be read"),
        (turn_photo, "wrong_size", "view_01.png is 64x96"),
    ],
)
def test_what_cannot_be_trained_is_refused_with_the_fix(
    change: Callable[[Path], None], code: str, said: str, tmp_path: Path
) -> None:
    scene = write_scene(tmp_path / "in", points=50)
    change(scene)
    assert run(scene, tmp_path / "out") == INPUT_ERROR
    error = result(tmp_path / "out")["error"]
    assert error["code"] == code and said in error["cause"] and error["fix"]


def test_poses_of_nan_in_a_text_model_are_refused(tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "in", points=50)
    path = scene / "sparse" / "0" / "images.txt"
    lines = path.read_text().split("\n")
    fields = lines[2].split()
    lines[2] = " ".join([*fields[:5], "nan", *fields[6:]])
    path.write_text("\n".join(lines))
    assert run(scene, tmp_path / "out") == INPUT_ERROR
    error = result(tmp_path / "out")["error"]  # pycolmap's word; it reads those of a binary model, and we refuse them
    assert error["code"] == "bad_model" and "cam_from_world.translation().x()" in error["cause"]


def test_a_gpu_job_without_a_gpu_is_refused(scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    monkeypatch.setenv("COMPUTE_TYPE", "gpu")
    assert run(scene, tmp_path / "out", "--device", "auto") == INPUT_ERROR
    error = result(tmp_path / "out")["error"]
    assert error["code"] == "no_gpu" and "--device cpu" in error["fix"]


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--max-steps", "-1", "max_steps is -1; allowed is 0 or more"),
        ("--sh-degree", "4", "allowed is 0 to 3"),
        ("--hold-out-every", "1", "leaves nothing to train on"),
        ("--preset", "best", "allowed is one of draft, standard, high"),
        ("--ssim-weight", "1.5", "allowed is 0 to 1"),
        ("--seed", "99999999999999999999", "allowed is 0 to 4294967295"),
        ("--cap-max", "7", "allowed is 0 or 100 and more"),
    ],
)
def test_an_impossible_option_is_named(
    option: str, value: str, said: str, scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(scene, tmp_path / "out", option, value) == INPUT_ERROR
    assert said in capsys.readouterr().err
