"""The gate on quality: it judges, or says at the start that it cannot."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import train
from little_scene import write_scene
from PIL import Image

from splatkit.train.loop import optimise
from splatworks.contract.exit_codes import ExitCode


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scene(tmp_path_factory.mktemp("scene"), views=6, points=60)


def run(scene: Path, out: Path, *more: str) -> int:
    options = ("--preset", "draft", "--max-steps", "3", "--device", "cpu", "--flythrough-seconds", "0")
    return train.main(["--input-dir", str(scene), "--output-dir", str(out), *options, *more])


def error(out: Path) -> dict[str, Any]:
    return dict(json.loads((out / "result.json").read_text())["error"])


@pytest.mark.parametrize(
    ("views", "options", "said"),
    [
        (6, ("--hold-out-every", "0"), "none of the 6 photos is held out (hold_out_every is 0)"),
        (4, (), "none of the 4 photos is held out (every 8th from number 4 on)"),
        (6, ("--hold-out-first", "6"), "from number 6 on"),
    ],
)
def test_a_gate_without_a_photo_that_could_tell_is_refused_before_the_training(
    views: int, options: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_scene(tmp_path / "in", views=views, points=60)
    trained: list[int] = []

    def counted(*arguments: Any) -> None:
        trained.append(1)
        optimise(*arguments)

    monkeypatch.setattr(train, "optimise", counted)
    assert run(folder, tmp_path / "out", "--min-psnr", "60", *options) == ExitCode.INPUT_ERROR
    found = error(tmp_path / "out")
    assert found["code"] == "nothing_held_out" and said in found["cause"]
    assert trained == []
    cure = found["fix"].split("Give ")[1].split(",")[0].split()
    assert run(folder, tmp_path / "out", "--min-psnr", "60", *options, *cure) == ExitCode.FAILED
    assert trained == [1] and error(tmp_path / "out")["code"] == "low_psnr", "now there is a photo to judge by"


def test_without_a_gate_it_is_said_that_nothing_is_measured(
    scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(scene, tmp_path / "out", "--hold-out-every", "0") == 0
    assert "no photo is held out" in capsys.readouterr().out
    assert "psnr" not in json.loads((tmp_path / "out" / "result.json").read_text())["metrics"]


def test_held_out_photos_that_are_masked_wholly_pass_no_gate(scene: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(scene, tmp_path / "in"))
    (folder / "masks").mkdir()
    Image.fromarray(np.zeros((64, 96), np.uint8)).save(folder / "masks" / "view_04.png")
    assert run(folder, tmp_path / "out", "--min-psnr", "5") == ExitCode.FAILED
    assert error(tmp_path / "out")["code"] == "not_measured"
