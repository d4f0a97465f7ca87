"""What a training leaves in its output folder, and what it does with what lay there."""

import json
import shutil
from pathlib import Path
from typing import Any

import matplotlib.axes
import numpy as np
import pytest
import train
from little_scene import write_scene
from PIL import Image

from splatkit.train.backend import choose_backend
from splatkit.train.options import TrainOptions
from splatkit.train.outputs import names_beside, write_plots
from splatkit.train.photo_cache import PhotoCache
from splatkit.train.scene import Scene, read_scene
from splatkit.train.training import Training
from splatworks.contract.exit_codes import ExitCode


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """0.jpg, 0.png and 0.tif show something else, and so on."""
    folder = write_scene(tmp_path_factory.mktemp("scene"), views=8, points=60)
    names = folder / "sparse" / "0" / "images.txt"
    text = names.read_text()
    for number in range(8):
        old, new = f"view_{number:02d}.png", f"{number // 3}.{('jpg', 'tif', 'png')[number % 3]}"
        Image.open(folder / "images" / old).save(folder / "images" / new, quality=95)
        (folder / "images" / old).unlink()
        text = text.replace(old, new)
    names.write_text(text)
    return folder


def run(scene: Path, out: Path, *more: str) -> int:
    options = ("--preset", "draft", "--max-steps", "3", "--device", "cpu", "--flythrough-seconds", "0")
    return train.main(["--input-dir", str(scene), "--output-dir", str(out), *options, *more])


def photo_in(path: Path) -> np.ndarray:
    return np.split(np.asarray(Image.open(path), float), 2, axis=1)[0]


def test_photos_of_one_stem_have_pictures_of_their_own(scene: Path, tmp_path: Path) -> None:
    assert run(scene, tmp_path / "out", "--hold-out-every", "2", "--hold-out-first", "0") == 0
    per_photo = json.loads((tmp_path / "out" / "metrics.json").read_text())["per_photo"]
    names = [photo["name"] for photo in per_photo]
    assert names == ["0.jpg", "0.tif", "1.png", "2.jpg"]
    files = {name: f"{name}.jpg" for name in names} | {"0.jpg": "0.jpg", "2.jpg": "2.jpg"}
    assert sorted(path.name for path in (tmp_path / "out" / "held_out").iterdir()) == sorted(files.values())
    for name, file in files.items():
        taken = np.asarray(Image.open(scene / "images" / name).convert("RGB"), float)
        assert np.abs(photo_in(tmp_path / "out" / "held_out" / file) - taken).mean() < 8


def test_no_two_photos_have_one_file_name() -> None:
    photos = ["a/1.jpg", "a/1.png", "a__1.jpg", "A/1.jpg", "b.c.jpg", "b.d.jpg", "x.png"]
    names = names_beside(photos)
    assert names[:3] == ["a__1.jpg", "a__1.png.jpg", "a__1.jpg.jpg"] and names[4:] == ["b.c.jpg", "b.d.jpg", "x.jpg"]
    assert len({name.lower() for name in names}) == len(photos)
    assert not any("/" in name for name in names)


def test_pictures_of_an_earlier_training_go_and_those_of_people_stay(scene: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(scene, out, "--hold-out-every", "4", "--hold-out-first", "0") == 0
    first = {path.name for path in (out / "held_out").iterdir()}
    Image.new("RGB", (8, 8)).save(out / "held_out" / "mine.jpg")
    (out / "held_out" / "broken.jpg").write_text("no picture")
    assert run(scene, out, "--hold-out-every", "4", "--hold-out-first", "1") == 0
    second = {path.name for path in (out / "held_out").iterdir()} - {"mine.jpg", "broken.jpg"}
    assert len(second) == 2 and second != first
    assert (out / "held_out" / "mine.jpg").exists() and (out / "held_out" / "broken.jpg").exists()
    assert run(scene, out, "--hold-out-every", "0") == 0
    assert {path.name for path in (out / "held_out").iterdir()} == {"mine.jpg", "broken.jpg"}


def test_an_earlier_splat_does_not_lie_beside_a_failure(scene: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(scene, out) == 0 and (out / "splat.ply").exists()
    (out / "mine.txt").write_text("precious")
    assert run(scene, out, "--hold-out-every", "2", "--min-psnr", "99", "--max-steps", "20") == ExitCode.FAILED
    lone = scene_without_points(scene, tmp_path / "no points")
    assert run(lone, out) == ExitCode.INPUT_ERROR
    assert {path.name for path in out.iterdir()} == {"mine.txt", "held_out", "progress.json", "result.json"}


def test_a_splat_that_no_training_has_put_there_is_not_removed(scene: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for content in (None, "[]", "{}", "no JSON"):
        (out / "splat.ply").write_text("precious")
        if content:
            (out / "metrics.json").write_text(content)
        assert run(scene_without_points(scene, tmp_path / str(content)), out) == ExitCode.INPUT_ERROR
        assert (out / "splat.ply").read_text() == "precious"


def scene_without_points(scene: Path, folder: Path) -> Path:
    shutil.copytree(scene, folder)
    (folder / "sparse" / "0" / "points3D.txt").write_text("")
    return folder


def scene_of(folder: Path, tmp_path: Path) -> Scene:
    return read_scene(folder, tmp_path, tmp_path / "log")


def test_the_loss_is_plotted_over_the_steps_at_which_it_was_looked_at(
    scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = scene_of(scene, tmp_path)

    def training() -> Training:
        options = TrainOptions(input_dir=Path(), output_dir=Path(), preset="draft", max_steps=60)
        return Training(seen, options, choose_backend("cpu"), PhotoCache(seen.views, 96), 100)

    run, again = training(), training()
    for _ in range(3):
        run.train_step()
    for step in (3, 5, 7):  # as two processes go on, which take two steps at once
        run.step = step
        run.watch.look(step, 0.1, 1)
    again.restore(run.state())
    drawn: list[list[float]] = []
    original = matplotlib.axes.Axes.plot

    def plot(self: Any, x: Any, y: Any, **more: Any) -> Any:
        drawn.append(list(x))
        return original(self, x, y, **more)

    monkeypatch.setattr(matplotlib.axes.Axes, "plot", plot)
    write_plots(tmp_path, again)
    assert drawn == [[0, 1, 2, 3, 5, 7]]
