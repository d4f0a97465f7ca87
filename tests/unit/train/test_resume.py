"""A training that is stopped or killed at any moment goes on as if nothing had been."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
import train
from little_scene import write_scene
from PIL import Image
from small_stage import SMALL, STEPS, newest, result, run

from splatkit.train.training import Training
from splatworks.contract.exit_codes import ExitCode

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


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_run_that_is_stop_requested_goes_on_bit_for_bit(
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
        assert run(scene, out, *KINDS[kind]) == ExitCode.INTERRUPTED
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
    assert child.wait(60) == ExitCode.INTERRUPTED
    capsys.readouterr()
    assert run(scene, out, *often) == 0
    assert re.search(r"going on from step [1-9]", capsys.readouterr().out)
    assert (out / "splat.ply").read_bytes() == undisturbed["mcmc"]


def test_sigterm_ends_the_process_with_75_long_before_the_last_step(scene: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, str(TRAIN), "--input-dir", str(scene), "--output-dir", str(out), "--preset", "draft"]
    child = subprocess.Popen([*command, *SMALL, "--max-steps", "100000"], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while "training" not in (out / "progress.json").read_text() if (out / "progress.json").exists() else True:
        assert time.monotonic() < deadline and child.poll() is None
        time.sleep(0.05)
    time.sleep(0.5)
    child.terminate()
    assert child.wait(60) == ExitCode.INTERRUPTED, (
        "a host that is reclaimed gives two minutes; all the steps take longer"
    )
    assert list((tmp_path / "out.checkpoint").glob("step-*.pt"))


def test_another_option_starts_anew(scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert run(scene, out, "--max-steps", "10") == 0
    assert run(scene, out, "--max-steps", "11") == 0
    assert "is of other photos or options" in capsys.readouterr().out


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


def test_the_time_of_a_training_that_is_stop_requested_is_counted_whole(
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
    begun = time.monotonic()
    assert run(scene, tmp_path / "out", "--evaluate-every", "1000") == ExitCode.INTERRUPTED
    whole = time.monotonic() - begun
    state = torch.load(newest(tmp_path / "out"), weights_only=True)
    assert sum(spent) <= state["seconds"] <= whole


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
    assert run(scene, out, "--checkpoint-seconds", "0.01", "--evaluate-every", "20") == ExitCode.INTERRUPTED
    with Image.open(out / "preview.jpg") as image:
        assert image.size == (96, 64)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    assert [line["Step"] for line in lines] == [20, 40]
    assert all(line["PSNR"] > 5 and line["StepsPerSecond"] > 0 and line["Stage"] == "train" for line in lines)


def test_what_a_checkpoint_held_is_not_kept_beside_the_training(
    scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    loaded: list[Any] = []
    alive: list[Any] = []
    assert run(scene, out, "--max-steps", "5") == 0
    load, optimise = train.load_checkpoint, train.optimise

    def spy(*arguments: Any) -> Any:
        saved = load(*arguments)
        assert saved is not None
        loaded.append(weakref.ref(saved["values"]["means"]))
        return saved

    def look(*arguments: Any) -> None:
        alive.extend(reference() for reference in loaded)
        optimise(*arguments)

    monkeypatch.setattr(train, "load_checkpoint", spy)
    monkeypatch.setattr(train, "optimise", look)
    assert run(scene, out, "--max-steps", "5") == 0
    assert alive == [None]
