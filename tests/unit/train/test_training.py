"""The parts of a training: photos, their order, regularisation, plateau, what is saved and restored, flights."""

import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from little_scene import OFFSET, UNIT, look_at, write_scene
from PIL import Image

from splatkit.errors import StageError
from splatkit.train import training as training_module
from splatkit.train.backend import choose_backend
from splatkit.train.checkpoint import fingerprint, load_checkpoint, save_checkpoint
from splatkit.train.evaluation import load_lpips, mean_scores, score_views
from splatkit.train.loop import plateau
from splatkit.train.options import TrainOptions
from splatkit.train.outputs import emit_metrics, flight
from splatkit.train.photo_cache import PhotoCache
from splatkit.train.scene import Scene, read_scene
from splatkit.train.training import Training, coarseness, largest_cap

pytestmark = pytest.mark.quality


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scene(tmp_path_factory.mktemp("scene"), views=9)


@pytest.fixture
def scene(folder: Path, tmp_path: Path) -> Scene:
    return read_scene(folder, tmp_path, tmp_path / "log")


def training(scene: Scene, **more: Any) -> Training:
    options = TrainOptions(**{"input_dir": Path(), "output_dir": Path(), "preset": "draft", "max_steps": 200, **more})
    backend = choose_backend("cpu")
    photos = PhotoCache(scene.views, options.of_preset("max_size"))
    return Training(scene, options, backend, photos, options.cap_max or 2000)


def test_the_frame_can_be_undone_and_the_cameras_see_the_same_in_it(scene: Scene, folder: Path) -> None:
    assert np.abs(scene.frame.to_input(scene.points).mean(0) - OFFSET).max() < UNIT
    assert np.linalg.norm([view.centre for view in scene.views], axis=1).max() <= 1.001
    line = (folder / "sparse/0/points3D.txt").read_text().splitlines()[0].split()
    given = np.array([float(x) for x in line[1:4]])
    distances = np.linalg.norm(scene.frame.to_input(scene.points) - given, axis=1)
    assert distances.min() < 1e-9
    pose = scene.views[0].camera_from_world
    assert np.allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-12)


def test_every_photo_comes_once_per_round_and_held_out_ones_never(scene: Scene) -> None:
    run = training(scene, hold_out_every=4)
    assert run.held_out == [2, 6]
    rounds = [[run._next_view(1, 0)[0] for _ in range(7)] for _ in range(4)]
    assert all(sorted(order) == [0, 1, 3, 4, 5, 7, 8] for order in rounds)
    assert training(scene, hold_out_every=4, hold_out_first=0).held_out == [0, 4, 8]
    assert len({tuple(order) for order in rounds}) > 1


def test_photos_begin_small_and_blurred_and_end_as_they_are() -> None:
    stages = [coarseness(progress / 1000, 0.4) for progress in range(1000)]
    assert list(dict.fromkeys(stages)) == [(4, 5), (2, 5), (1, 10), (1, 0)]
    assert coarseness(0.0, 0.0) == (1, 0) and coarseness(0.41, 0.4) == (1, 0)


def test_a_smaller_photo_has_the_intrinsics_of_its_pixels(scene: Scene) -> None:
    photos = PhotoCache(scene.views, 48)
    half, quarter = photos.get(0), photos.get(0, shrink=2)
    assert half.pixels.shape == (32, 48, 3) and quarter.pixels.shape == (16, 24, 3)
    assert np.allclose(half.intrinsics[:2], scene.views[0].intrinsics[:2] / 2)
    assert np.allclose(quarter.intrinsics[:2], scene.views[0].intrinsics[:2] / 4)
    blurred = photos.get(0, blur=20)
    assert (
        np.abs(np.diff(blurred.pixels.astype(int), axis=1)).mean()
        < 0.6 * np.abs(np.diff(half.pixels.astype(int), axis=1)).mean()
    )


def test_the_cache_keeps_to_its_budget_and_loads_ahead(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    one = 96 * 64 * 3
    photos = PhotoCache(scene.views, 0, budget=3 * one)
    loads: list[Any] = []
    original = PhotoCache._load

    def load(self: PhotoCache, key: Any) -> Any:
        loads.append(key)
        return original(self, key)

    monkeypatch.setattr(PhotoCache, "_load", load)
    for index in range(6):
        photos.get(index)
    assert sum(shot.bytes for shot in photos._kept.values()) == photos._kept_bytes <= 3 * one
    photos.get(5)
    assert len(loads) == 6, "what is kept is not loaded again"
    photos.prefetch(0, blur=10)
    deadline = time.monotonic() + 60
    while len(loads) < 7:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    photos.get(0, blur=10)
    assert (0, 1, 10) in loads[6:] and loads.count((0, 1, 10)) == 1
    photos.close()


def test_what_a_mask_hides_teaches_nothing(tmp_path: Path) -> None:
    folder = write_scene(tmp_path / "in", views=4)
    (folder / "masks").mkdir()
    for photo in (folder / "images").iterdir():
        mask = np.full((64, 96), 255, np.uint8)
        mask[:, 48:] = 0
        Image.fromarray(mask).save(folder / "masks" / f"{photo.name}.png")
    scene = read_scene(folder, tmp_path, tmp_path / "log")
    run = training(scene, opacity_weight=0.0, scale_weight=0.0)
    shot = run.photos.get(0)
    assert shot.mask is not None and shot.mask[:, :48].all() and not shot.mask[:, 48:].any()
    image = torch.rand(64, 96, 3, requires_grad=True)
    run._loss(0, shot, image).backward()
    assert image.grad is not None
    assert image.grad[:, :48].abs().sum() > 0 and image.grad[:, 48:].abs().sum() == 0
    changed = image.detach().clone()
    changed[:, 48:] = 1 - changed[:, 48:]
    assert run._loss(0, shot, changed).item() == pytest.approx(run._loss(0, shot, image).item(), abs=1e-6)


def test_exposure_explains_a_photo_that_is_brighter_than_the_rest(scene: Scene) -> None:
    run = training(scene, exposure=True, max_steps=120, coarse_until=0.0, hold_out_every=0)
    bright = 3
    original = run.photos.get

    def get(index: int, shrink: int = 1, blur: int = 0) -> Any:
        shot = original(index, shrink, blur)
        if index != bright:
            return shot
        return type(shot)((np.minimum(shot.pixels * 1.3, 255)).astype(np.uint8), shot.mask, shot.intrinsics)

    run.photos.get = get  # type: ignore[method-assign]
    for _ in range(120):
        run.train_step()
    level = run.exposures.detach()[:, 0].mean(1) + run.exposures.detach()[:, 1].mean(1)
    assert level.argmax() == bright
    assert run.exposures.detach().mean(0).abs().max() < 1e-5, "the mean photo stays as it is"


def test_saving_and_restoring_changes_nothing(scene: Scene, tmp_path: Path) -> None:
    runs = [training(scene, background="random", exposure=True, strategy="mcmc") for _ in range(2)]
    for _ in range(30):
        runs[0].train_step()
    save_checkpoint(tmp_path, runs[0].step, {**runs[0].state(), "fingerprint": "x"})
    saved = load_checkpoint(tmp_path, "x", print)
    assert saved is not None
    torch.manual_seed(99)
    for _ in range(20):
        runs[0].train_step()
    runs[1].restore(saved)
    for _ in range(20):
        runs[1].train_step()
    # runs[0] drew from a reseeded generator in between, runs[1] from the saved one: they must differ only by that.
    again = training(scene, background="random", exposure=True, strategy="mcmc")
    again.restore(saved)
    for _ in range(20):
        again.train_step()
    assert all(torch.equal(runs[1].values[name], again.values[name]) for name in again.values)
    assert not torch.equal(runs[0].values["means"][:10], again.values["means"][:10])


def test_a_lower_cap_keeps_the_most_opaque_gaussians_with_their_moments(scene: Scene) -> None:
    whole, run = training(scene), training(scene, cap_max=120)
    for _ in range(3):
        whole.train_step()
    saved = whole.state()
    run.restore(saved)
    kept = saved["values"]["opacities"].topk(120).indices.sort().values
    assert run.count == 120 and torch.equal(run.values["means"].detach(), saved["values"]["means"][kept])
    moments = saved["tools"]["means"]["state"][0]["exp_avg"]
    assert torch.equal(run.tools["means"].state[run.values["means"]]["exp_avg"], moments[kept])
    for _ in range(20):
        run.train_step()
    assert run.count == 120


@pytest.mark.parametrize("strategy", ["mcmc", "default"])
def test_a_sky_is_within_the_cap(strategy: str, scene: Scene) -> None:
    run = training(scene, sky=True, strategy=strategy, cap_max=320, grow_gradient=1e-9)
    far = lambda: int((run.values["means"].norm(dim=1) > 30).sum())  # noqa: E731
    assert run.count == 320 and far() == 80, "a quarter of them, at most"
    for _ in range(60):
        run.train_step()
    assert 240 < run.count <= 320 and far() > 40


def test_a_plateau_needs_time_and_a_window_without_gain(scene: Scene) -> None:
    run = training(scene)
    options = TrainOptions(
        input_dir=Path(), output_dir=Path(), max_steps=100, plateau_after=0.5, plateau_window=0.2, plateau_gain=0.1
    )
    run.max_steps = 100

    def at(step: int, *psnrs: float) -> bool:
        run.step = step
        run.history = [{"step": 10.0 * (i + 1), "psnr": p} for i, p in enumerate(psnrs)]
        return plateau(run, options)

    assert not at(40, 20, 20, 20, 20), "too early"
    assert at(60, 15, 18, 20, 20.05, 20.05, 20.05)
    assert not at(60, 15, 18, 20, 20.05, 20.05, 20.3), "it still rises"
    assert not at(60, 15, 18, 20, 20.0, 20.3, 19.0), "a dip after a gain is noise"


def test_memory_bounds_the_number_of_gaussians(scene: Scene) -> None:
    options = TrainOptions(input_dir=Path(), output_dir=Path(), preset="high")
    backend = choose_backend("cpu")
    small = type(backend)(**{**vars(backend), "free_bytes": lambda: 1 << 28})
    assert 50_000 < largest_cap(options, small) < 200_000
    assert largest_cap(options, type(backend)(**{**vars(backend), "free_bytes": lambda: 1 << 40})) == 4_000_000
    assert largest_cap(dataclasses.replace(options, cap_max=320), small) == 320
    assert largest_cap(options, dataclasses.replace(backend, free_bytes=lambda: 0)) == 1_000


def test_no_gaussian_is_wider_than_a_share_of_the_distance_to_the_nearest_camera(scene: Scene) -> None:
    eyes = np.stack([view.centre for view in scene.views])

    def widest(share: float) -> float:
        run = training(scene, max_scale=share)
        with torch.no_grad():
            run.values["scales"][::2] = 2.0
        for _ in range(11):
            run.train_step()
        places, scales = run.values["means"].detach().numpy(), run.values["scales"].detach().exp().numpy()
        nearest = np.linalg.norm(places[:, None] - eyes[run.train_views], axis=-1).min(1)
        return float((scales.max(1) / nearest).max())

    assert widest(0.1) == pytest.approx(0.1, rel=1e-4)
    assert widest(0.02) == pytest.approx(0.02, rel=1e-4)
    assert widest(0) > 1
    assert widest(-1) == pytest.approx(0.2, rel=1e-4), "of the preset"


def test_widths_are_looked_at_less_often_where_there_are_many(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []
    run = training(scene, max_scale=0.1)
    monkeypatch.setattr(training_module, "narrow", lambda *_: looked.append(run.updates))
    for _ in range(21):
        run.train_step()
    assert looked == [0, 10, 20]
    pairs = len(run.values["means"]) * len(run.train_views)
    for limit, every in ((pairs + 1, 10), (pairs, 20), (pairs // 3, 40)):
        monkeypatch.setattr(training_module, "NARROW_PAIRS", limit)
        assert run._narrow_every == every


def test_degrees_of_harmonics_sizes_of_photos_and_the_filter_reach_the_rasterizer(scene: Scene) -> None:
    run = training(scene, max_steps=60, sh_degree=3, coarse_until=0.5, antialiased=True)
    seen: list[tuple[int, int, str]] = []
    original = run.backend.rasterize

    def spy(**arguments: Any) -> Any:
        seen.append((arguments["sh_degree"], arguments["width"], arguments["rasterize_mode"]))
        return original(**arguments)

    run.backend = dataclasses.replace(run.backend, rasterize=spy)
    for _ in range(60):
        run.train_step()
    assert [seen[step][0] for step in (0, 1, 2, 3, 4, 5, 6, 59)] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert list(dict.fromkeys(width for _, width, _ in seen)) == [24, 48, 96]
    assert seen[12][1] == 48 and seen[30][1] == 96, "a quarter until 20 % of the steps"
    assert {mode for *_, mode in seen} == {"antialiased"}
    score_views(run, [0], photos=run.photos)
    assert seen[-1] == (3, 96, "antialiased")


def test_the_fingerprint_knows_another_scene_and_another_option(scene: Scene, folder: Path, tmp_path: Path) -> None:
    base: dict[str, Any] = {"input_dir": Path("a"), "output_dir": Path("b")}
    first = fingerprint(scene, TrainOptions(**base))
    assert first == fingerprint(scene, TrainOptions(**{**base, "input_dir": Path("c"), "checkpoint_seconds": 5.0}))
    assert first != fingerprint(scene, TrainOptions(**base, seed=1))
    fewer = Scene(scene.views[1:], scene.points, scene.colors, scene.frame, ())
    assert first != fingerprint(fewer, TrainOptions(**base))


def test_a_flight_is_smooth_closed_and_made_of_rotations() -> None:
    poses = [look_at(np.array([3 * np.cos(a), 3 * np.sin(a), 1.0])) for a in np.linspace(0, 6.28, 30)]
    path = flight(poses, 96)
    centres = np.array([-pose[:3, :3].T @ pose[:3, 3] for pose in path])
    steps = np.linalg.norm(np.diff(np.vstack([centres, centres[:1]]), axis=0), axis=1)
    assert steps.max() < 6 * np.median(steps)
    assert all(np.allclose(p[:3, :3] @ p[:3, :3].T, np.eye(3), atol=1e-9) for p in path)


def test_lpips_is_used_where_a_model_of_it_lies(scene: Scene, tmp_path: Path) -> None:
    class Distance(torch.nn.Module):
        def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
            return (a - b).abs().mean()

    run = training(scene)
    assert load_lpips(tmp_path, torch.device("cpu")) is None
    assert "lpips" not in mean_scores(score_views(run, [0], photos=run.photos))
    torch.jit.script(Distance()).save(str(tmp_path / "lpips.pt"))
    lpips = load_lpips(tmp_path, torch.device("cpu"))
    assert 0 < mean_scores(score_views(run, [0], photos=run.photos, lpips=lpips))["lpips"] < 2


def test_metrics_are_in_cloudwatchs_embedded_format(capsys: pytest.CaptureFixture[str]) -> None:
    emit_metrics({"PSNR": 24.5, "Gaussians": 1000.0}, {"Stage": "train"})
    record = json.loads(capsys.readouterr().out)
    directive = record["_aws"]["CloudWatchMetrics"][0]
    assert directive["Dimensions"] == [["Stage"]] and record["Stage"] == "train"
    assert {m["Name"] for m in directive["Metrics"]} == {"PSNR", "Gaussians"} and record["PSNR"] == 24.5
    assert abs(record["_aws"]["Timestamp"] / 1000 - time.time()) < 60


def test_a_name_that_leads_out_of_the_folder_is_refused_before_it_is_read(folder: Path, tmp_path: Path) -> None:
    from splatkit.train.scene import _inside

    with pytest.raises(StageError, match="outside"):
        _inside(folder / "images", "../sparse/0/cameras.txt")


def test_dropout_grows_with_the_training_and_ends_before_evaluation(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = training(scene, max_steps=40, dropout=0.6)
    shares: list[float] = []
    original = run.backend.rasterize

    def spy(**arguments: Any) -> Any:
        shares.append(float((arguments["opacities"] == 0).float().mean()))
        return original(**arguments)

    run.backend = dataclasses.replace(run.backend, rasterize=spy)
    for _ in range(40):
        run.train_step()
    assert shares[0] == 0 and 0.2 < shares[20] < 0.4 and 0.5 < shares[39] < 0.68
    score_views(run, [0], photos=run.photos)
    assert shares[40] == 0
    left_alone = training(scene, dropout=0.0)
    left_alone.backend = dataclasses.replace(left_alone.backend, rasterize=spy)
    for _ in range(5):
        left_alone.train_step()
    assert set(shares[41:]) == {0.0}


def test_dropping_gaussians_changes_no_brightness_in_the_mean(scene: Scene) -> None:
    run = training(scene)
    with torch.no_grad():
        run.values["opacities"].fill_(-3.0)  # faint, where opacity and light are almost proportional
        shot = run.photos.get(0)
        whole = run.render(0, shot).alpha.mean()
        dropped = torch.stack([run.render(0, shot, dropout=0.3).alpha.mean() for _ in range(100)])
    assert dropped.std() > 0.001 * whole
    assert float(dropped.mean()) == pytest.approx(float(whole), rel=0.1)
