"""The background that is asked for lies behind every picture: in training, in evaluation, in what is written."""

import dataclasses
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from little_scene import write_scene
from PIL import Image
from small_stage import run

from splatkit.formats.ply import read_ply
from splatkit.train.backend import choose_backend
from splatkit.train.evaluation import score_views
from splatkit.train.options import TrainOptions
from splatkit.train.outputs import write_flythrough, write_preview
from splatkit.train.photo_cache import PhotoCache
from splatkit.train.scene import read_scene
from splatkit.train.training import Training

pytestmark = pytest.mark.quality

SHOWN = {"black": 0, "white": 255, "random": 0}


@pytest.fixture(params=list(SHOWN))
def invisible(request: pytest.FixtureRequest, tmp_path: Path) -> Training:
    """A training whose Gaussians show nothing of themselves: what is seen is the background."""
    scene = read_scene(write_scene(tmp_path / "in", views=5, points=20), tmp_path, tmp_path / "log")
    options = TrainOptions(
        input_dir=Path(), output_dir=Path(), preset="draft", max_steps=50, background=request.param, coarse_until=0.0
    )
    run = Training(scene, options, choose_backend("cpu"), PhotoCache(scene.views, 96), 100)
    with torch.no_grad():
        run.values["opacities"].fill_(-20.0)
    return run


def test_every_picture_is_rendered_on_the_background(invisible: Training, tmp_path: Path) -> None:
    shown = SHOWN[invisible.options.background]
    renders: list[torch.Tensor] = []
    score_views(invisible, [0], photos=invisible.photos, on_image=lambda _, render, photo: renders.append(render))
    assert (renders[0] * 255).round().unique().tolist() == [shown]
    write_preview(tmp_path / "preview.jpg", invisible)
    assert abs(np.asarray(Image.open(tmp_path / "preview.jpg")).astype(int) - shown).max() <= 2
    write_flythrough(tmp_path / "fly.mp4", invisible, 0.1, lambda *_: None)
    with av.open(str(tmp_path / "fly.mp4")) as video:
        frames = [frame.to_ndarray(format="rgb24").astype(int) for frame in video.decode(video=0)]
    assert len(frames) == 2 and all(abs(frame - shown).max() <= 3 for frame in frames)


def test_a_photo_of_the_background_alone_is_perfect(invisible: Training, tmp_path: Path) -> None:
    shown = SHOWN[invisible.options.background]
    for view in invisible.scene.views:
        Image.new("RGB", (view.width, view.height), (shown,) * 3).save(view.photo)
    assert score_views(invisible, [0], photos=invisible.photos)[0].psnr > 60


def test_each_step_trains_on_the_background(invisible: Training) -> None:
    seen: list[Any] = []
    original = invisible.backend.rasterize

    def spy(**arguments: Any) -> Any:
        seen.append(arguments["backgrounds"])
        return original(**arguments)

    invisible.backend = dataclasses.replace(invisible.backend, rasterize=spy)
    for _ in range(4):
        invisible.train_step()
    if invisible.options.background == "black":
        assert seen == [None] * 4
    elif invisible.options.background == "white":
        assert all(color.tolist() == [[1.0, 1.0, 1.0]] for color in seen)
    else:
        assert len({tuple(color[0].tolist()) for color in seen}) == 4


@pytest.mark.parametrize("background", list(SHOWN))
def test_the_splat_says_that_it_was_trained_before_white(tmp_path: Path, background: str) -> None:
    scene = write_scene(tmp_path / "in", views=5, points=20)
    assert run(scene, tmp_path / "out", "--max-steps", "3", "--background", background) == 0
    assert read_ply(tmp_path / "out" / "splat.ply").on_white is (background == "white")
