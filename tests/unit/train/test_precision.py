"""Models far from their origin: refused where float32 cannot hold the splat, trained where it can."""

import json
import re
from pathlib import Path

import little_scene
import numpy as np
import pytest
import train

from splatkit.splats import Splats
from splatkit.train.precision import require_precision, too_coarse
from splatkit.train.scene import read_scene
from splatworks.contract.exit_codes import ExitCode

UTM = np.array([500_000.0, 5_400_000.0, 300.0])
GUIDE = Path(train.__file__).parents[1] / "docs" / "guides" / "train.md"


def write(folder: Path, monkeypatch: pytest.MonkeyPatch, offset: np.ndarray, unit: float) -> Path:
    monkeypatch.setattr(little_scene, "OFFSET", offset)
    monkeypatch.setattr(little_scene, "UNIT", unit)
    return little_scene.write_scene(folder, views=6, points=100)


def run(scene: Path, out: Path) -> int:
    options = ("--preset", "draft", "--max-steps", "2", "--device", "cpu", "--flythrough-seconds", "0")
    return train.main(["--input-dir", str(scene), "--output-dir", str(out), *options])


def test_a_model_in_utm_coordinates_is_refused_and_the_guides_command_mends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = write(tmp_path / "in", monkeypatch, UTM, 2.0)
    assert run(scene, tmp_path / "out") == ExitCode.INPUT_ERROR
    error = json.loads((tmp_path / "out" / "result.json").read_text())["error"]
    assert error["code"] == "far_from_origin" and "0.5 apart (float32)" in error["cause"]
    shift = [float(value) for value in error["fix"].split("(")[1].split(")")[0].split(",")]
    assert np.abs(np.array(shift) + UTM).max() < 10
    command = re.search(r'python -c "(import pycolmap;.*)"', GUIDE.read_text())
    assert command
    monkeypatch.chdir(scene)
    exec(command[1])
    assert run(scene, tmp_path / "out") == 0
    moved = read_scene(scene, tmp_path, tmp_path / "log")
    assert np.abs(moved.frame.origin - UTM + [500_000, 5_400_000, 0]).max() < 10


@pytest.mark.parametrize(
    ("offset", "unit"), [(UTM, 2000.0), (np.array([900.0, -300.0, 40.0]), 2.0), (np.zeros(3), 1e-3)]
)
def test_models_that_float32_can_hold_are_trained(
    offset: np.ndarray, unit: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = write(tmp_path / "in", monkeypatch, offset, unit)
    require_precision(read_scene(scene, tmp_path, tmp_path / "log"))


def splats(width: float, away: float) -> Splats:
    dice = np.random.default_rng(0)
    means = (dice.normal(size=(50, 3)) + np.array([0, away, 0])).astype(np.float32)
    of_each = {"quats": 4, "sh0": 3}
    zeros = {name: np.zeros((50, size), np.float32) for name, size in of_each.items()}
    scales = np.full((50, 3), np.log(width), np.float32)
    return Splats(
        means=means, scales=scales, opacities=np.zeros(50, np.float32), shN=np.zeros((50, 0, 3), np.float32), **zeros
    )


def test_a_splat_of_gaussians_smaller_than_the_grid_is_told_of() -> None:
    assert "0.0312 apart (float32), its Gaussians 0.1 wide" in too_coarse(splats(0.1, 500_000))
    assert not too_coarse(splats(0.2, 500_000)) and not too_coarse(splats(1e-3, 0))
