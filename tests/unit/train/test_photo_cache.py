"""The cache of photos: how much memory it counts on, what it decodes, what it keeps."""

import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from little_scene import write_scene
from PIL import Image, ImageFilter

from splatkit.train import photo_cache
from splatkit.train.backend import choose_backend
from splatkit.train.evaluation import score_views
from splatkit.train.options import TrainOptions
from splatkit.train.photo_cache import LEAST_FREE, PhotoCache, free_memory
from splatkit.train.scene import View, read_scene
from splatkit.train.training import COARSE, Training

MIB = 1 << 20
LEVELS = [*((shrink, blur) for _, shrink, blur in COARSE), (1, 0)]
VIEWS = 6


@pytest.fixture(scope="module", params=["png", "jpg"])
def views(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[View, ...]:
    """Photos four times as large as their cameras say, so that JPEGs are decoded at a fraction; one has a mask."""
    folder = write_scene(tmp_path_factory.mktemp("scene"), views=VIEWS, points=20)
    for path in (folder / "images").iterdir():
        large = Image.open(path).resize((384, 256), Image.Resampling.LANCZOS)
        path.unlink()
        large.save(path.with_suffix(f".{request.param}"))
    names = folder / "sparse" / "0" / "images.txt"
    names.write_text(names.read_text().replace(".png", f".{request.param}"))
    (folder / "masks").mkdir()
    mask = Image.fromarray(np.tri(256, 384, dtype=np.uint8) * 255)
    mask.save(folder / "masks" / "view_02.png")
    return read_scene(folder, folder, folder / "log").views


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each file was decoded."""
    counts: Counter[str] = Counter()
    original = photo_cache._open

    def counted(path: Path, *arguments: Any) -> Any:
        counts[path.name] += 1
        return original(path, *arguments)

    monkeypatch.setattr(photo_cache, "_open", counted)
    return counts


def as_decoded(path: Path, mode: str, size: tuple[int, int], blur: int = 0) -> np.ndarray:
    """What a photo is to look like at one scale, with nothing kept or shared."""
    with Image.open(path) as image:
        image.draft(mode, size)
        scaled = image.convert(mode).resize(size, Image.Resampling.BOX)
    return np.asarray(scaled.filter(ImageFilter.GaussianBlur(blur / 10)) if blur else scaled)


@pytest.mark.parametrize("budget", [0, 60_000, 100 * MIB])
@pytest.mark.parametrize("levels", [LEVELS, LEVELS[::-1]])
def test_photos_look_the_same_whatever_is_kept(
    budget: int, levels: Sequence[tuple[int, int]], views: tuple[View, ...]
) -> None:
    photos = PhotoCache(views, 80, budget)
    for shrink, blur in levels:
        photos.enter(shrink, blur)
        for index, view in [*enumerate(views), *enumerate(views)]:
            photos.prefetch((index + 1) % VIEWS, shrink, blur)
            shot = photos.get(index, shrink, blur)
            size = photos.size(index, shrink)
            assert (shot.pixels == as_decoded(view.photo, "RGB", size, blur)).all()
            if view.mask:
                assert shot.mask is not None and ((shot.mask > 0) == (as_decoded(view.mask, "L", size) > 127)).all()
    photos.close()


def test_each_photo_is_decoded_once_where_memory_allows(views: tuple[View, ...], decoded: Counter[str]) -> None:
    photos = PhotoCache(views, 80, 100 * MIB)
    for shrink, blur in LEVELS:
        photos.enter(shrink, blur)
        for index in [*range(VIEWS), *range(VIEWS)]:
            photos.get(index, shrink, blur)
    scales = len({shrink for shrink, _ in LEVELS})
    each = 1 if views[0].name.endswith("png") else scales  # JPEGs are decoded at a fraction, another for each scale
    assert decoded == {view.name: each for view in views} | {"view_02.png": each + each * views[0].name.endswith("png")}
    photos.close()


def test_photos_that_are_made_on_the_way_are_the_first_to_go(views: tuple[View, ...], decoded: Counter[str]) -> None:
    one = 80 * 53 * 3
    photos = PhotoCache(views[3:], 80, budget=3 * one + 100)
    for _ in range(2):
        for index in range(3):
            photos.get(index, 1, 10)
    assert set(decoded.values()) == {1}, "the sharp ones took no place that the blurred ones need"
    assert {key for key in photos._kept} == {(index, 1, 10) for index in range(3)}
    photos.close()


def test_a_new_scale_drops_what_only_the_last_one_needed(views: tuple[View, ...]) -> None:
    photos = PhotoCache(views, 80, 100 * MIB)
    photos.enter(4, 5)
    for index in range(VIEWS - 1):
        photos.get(index, 4, 5)
    photos.get(0)  # as an evaluation does
    photos.prefetch(VIEWS - 1, 4, 5)
    photos.enter(2, 5)
    assert not photos._coming, "nobody will come for it"
    assert (0, 1, 0) in photos._kept and all(key[1] <= 2 and not key[2] for key in photos._kept)
    assert photos._kept_bytes == sum(shot.bytes for shot in photos._kept.values())
    photos.close()


def test_loaders_are_as_many_as_cores_and_memory_allow(
    views: tuple[View, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(photo_cache, "cores", lambda: 6)
    assert [PhotoCache(views, 80, 100 * MIB, sharers).ahead for sharers in (1, 2, 8)] == [6, 3, 1]
    picture = 96 * 64 * 6
    assert [PhotoCache(views, 80, 4 * n * picture + 1000).ahead for n in (0, 1, 2, 50)] == [1, 1, 2, 6]


def test_photos_are_loaded_by_loaders_while_the_training_goes_on(
    views: tuple[View, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(photo_cache, "cores", lambda: 3)
    folder = views[0].photo.parents[1]
    scene = read_scene(folder, tmp_path, tmp_path / "log")
    options = TrainOptions(
        input_dir=Path(), output_dir=Path(), preset="draft", max_steps=50, hold_out_every=0, coarse_until=0.0
    )
    run = Training(scene, options, choose_backend("cpu"), PhotoCache(scene.views, 80), 100)
    by: dict[int, str] = {}
    original = PhotoCache._load

    def load(self: PhotoCache, key: tuple[int, int, int]) -> Any:
        assert key[0] not in by
        by[key[0]] = threading.current_thread().name
        return original(self, key)

    monkeypatch.setattr(PhotoCache, "_load", load)
    run.train_step()
    deadline = time.monotonic() + 60
    while len(by) < 4:
        assert time.monotonic() < deadline, "the first photo, and three in advance"
        time.sleep(0.01)
    time.sleep(0.1)
    assert len(by) == 4
    for _ in range(VIEWS - 1):
        run.train_step()
    assert len(by) == VIEWS and sum(name.startswith("photos") for name in by.values()) == VIEWS - 1
    run.photos.close()


def make_cgroup(folder: Path, version: int, limit: str, used: int, cached: int, dirty: int = 0) -> Path:
    """As the kernel shows it; cached: of the page cache, half of it active."""
    within = folder if version == 2 else folder / "memory"
    within.mkdir(parents=True, exist_ok=True)
    names = ("memory.max", "memory.current") if version == 2 else ("memory.limit_in_bytes", "memory.usage_in_bytes")
    (within / names[0]).write_text(f"{limit}\n")
    (within / names[1]).write_text(f"{used}\n")
    total = "" if version == 2 else "total_"
    stat = [f"{total}anon 1", f"{total}inactive_file {cached // 2}", f"{total}active_file {cached - cached // 2}"]
    stat += [f"slab_reclaimable {dirty}"] if version == 2 else [f"inactive_file {7 * MIB}"]  # of this group alone
    (within / "memory.stat").write_text("\n".join(stat) + "\n")
    return folder


@pytest.mark.parametrize("version", [1, 2])
def test_the_page_cache_of_a_container_is_free_memory(version: int, tmp_path: Path) -> None:
    limit = 1000 * MIB
    group = make_cgroup(tmp_path, version, str(limit), used=990 * MIB, cached=600 * MIB)
    assert free_memory(group) == 610 * MIB
    (group / ("" if version == 2 else "memory") / "memory.stat").unlink()
    assert free_memory(group) == LEAST_FREE, "without the kernel's word on it all of the use is taken for used"


def test_reclaimable_slabs_are_free_and_no_more_than_the_limit_is(tmp_path: Path) -> None:
    group = make_cgroup(tmp_path, 2, str(1000 * MIB), used=500 * MIB, cached=100 * MIB, dirty=50 * MIB)
    assert free_memory(group) == 650 * MIB
    group = make_cgroup(tmp_path, 2, str(1000 * MIB), used=500 * MIB, cached=600 * MIB)
    assert free_memory(group) == 1000 * MIB


@pytest.mark.parametrize(("version", "limit"), [(2, "max"), (1, "9223372036854771712")])
def test_a_group_without_a_limit_leaves_the_machines_memory(version: int, limit: str, tmp_path: Path) -> None:
    alone = free_memory(tmp_path / "none")
    group = make_cgroup(tmp_path, version, limit, used=990 * MIB, cached=0)
    assert alone > LEAST_FREE and abs(free_memory(group) - alone) < 0.5 * alone


def test_held_out_photos_are_loaded_in_advance_too(views: tuple[View, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    folder = views[0].photo.parents[1]
    scene = read_scene(folder, folder, folder / "log")
    options = TrainOptions(input_dir=Path(), output_dir=Path(), preset="draft", max_steps=50)
    run = Training(scene, options, choose_backend("cpu"), PhotoCache(scene.views, 80), 100)
    names: list[str] = []
    original = PhotoCache._load

    def load(self: PhotoCache, key: tuple[int, int, int]) -> Any:
        names.append(threading.current_thread().name)
        return original(self, key)

    monkeypatch.setattr(PhotoCache, "_load", load)
    assert len(score_views(run, [1, 3, 5], photos=run.photos)) == 3
    assert len(names) == 3 and sum(name.startswith("photos") for name in names) == 2
    run.photos.close()


def test_a_training_leaves_nothing_of_its_coarse_photos(views: tuple[View, ...]) -> None:
    folder = views[0].photo.parents[1]
    scene = read_scene(folder, folder, folder / "log")
    options = TrainOptions(
        input_dir=Path(), output_dir=Path(), preset="draft", max_steps=40, hold_out_every=0, coarse_until=0.5
    )
    run = Training(scene, options, choose_backend("cpu"), PhotoCache(scene.views, 80), 100)
    for _ in range(40):
        run.train_step()
    assert run.photos._coming.keys() | run.photos._kept.keys() <= {(index, 1, 0) for index in range(VIEWS)}
    run.photos.close()
