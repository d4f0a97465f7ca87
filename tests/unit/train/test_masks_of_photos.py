"""Masks beside a dataset: which photo they belong to, what is said of them, that they are part of what is trained."""

import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import train
from little_scene import write_scene
from PIL import Image

from splatkit.errors import StageError
from splatkit.train.checkpoint import fingerprint
from splatkit.train.options import TrainOptions
from splatkit.train.photo_cache import PhotoCache
from splatkit.train.scene import Scene, read_scene
from splatworks.contract.exit_codes import ExitCode


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scene(tmp_path_factory.mktemp("scene"), views=5, points=50)


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "in"))


def write_mask(folder: Path, name: str, white: int = 255, columns: int = 48) -> None:
    values = np.full((64, 96), white, np.uint8)
    values[:, columns:] = 0
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


def read(folder: Path, tmp_path: Path) -> Scene:
    return read_scene(folder, tmp_path / "work", tmp_path / "log")


def of(scene: Scene) -> str:
    return fingerprint(scene, TrainOptions(input_dir=Path(), output_dir=Path()))


@pytest.mark.parametrize(
    "name",
    ["masks/view_00.png.png", "masks/view_00.png", "masks/View_00.PNG", "Masks/view_00.jpg", "masks/view_00.tif"],
)
def test_a_mask_is_found_under_the_names_that_sfm_takes(name: str, folder: Path, tmp_path: Path) -> None:
    write_mask(folder, name)
    scene = read(folder, tmp_path)
    assert [view.mask for view in scene.views] == [folder / name, None, None, None, None]
    assert scene.lone_masks == ()


@pytest.mark.parametrize("white", [1, 255])
def test_white_is_used_whatever_white_is(white: int, folder: Path, tmp_path: Path) -> None:
    write_mask(folder, "masks/view_00.png", white)
    mask = PhotoCache(read(folder, tmp_path).views, 0).get(0).mask
    assert mask is not None and (mask[:, :48] == 255).all() and not mask[:, 48:].any()


def test_a_folder_of_masks_that_fit_no_photo_is_refused_with_the_names_that_would(folder: Path, tmp_path: Path) -> None:
    write_mask(folder, "masks/view_00_mask.png")
    write_mask(folder, "masks/view_01_mask.png")
    with pytest.raises(StageError) as problem:
        read(folder, tmp_path)
    assert problem.value.code == "no_mask_fits" and problem.value.exit_code == ExitCode.INPUT_ERROR
    assert "none of the 2 files" in problem.value.cause and "view_00_mask.png" in problem.value.cause
    assert "masks/view_00.png or masks/view_00.png.png" in problem.value.fix
    for path in (folder / "masks").iterdir():
        path.unlink()
    (folder / "masks" / ".DS_Store").touch()
    assert len(read(folder, tmp_path).views) == 5


@pytest.mark.parametrize("k1", [None, 0.05])
def test_a_folder_of_masks_without_any_is_no_folder_of_masks(k1: float | None, tmp_path: Path) -> None:
    folder = write_scene(tmp_path / "in", views=3, points=20, k1=k1)
    (folder / "masks" / "__MACOSX").mkdir(parents=True)
    assert len(read(folder, tmp_path).views) == 3
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", "__MACOSX/1.png"):
        (folder / "masks" / name).touch()
    scene = read(folder, tmp_path)
    assert [view.mask for view in scene.views] == [None, None, None] and scene.lone_masks == ()
    write_mask(folder, "masks/view_00.png")
    if k1 is None:
        assert [bool(view.mask) for view in read(folder, tmp_path).views] == [True, False, False]
        return
    with pytest.raises(StageError) as problem:
        read(folder, tmp_path)
    assert problem.value.code == "masks_of_distorted"


def test_how_many_photos_have_a_mask_is_said_and_what_is_left_over(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_mask(folder, "masks/view_00.png")
    write_mask(folder, "masks/view_03.png")
    write_mask(folder, "masks/view_77.png")
    options = ("--preset", "draft", "--max-steps", "2", "--device", "cpu", "--flythrough-seconds", "0")
    assert train.main(["--input-dir", str(folder), "--output-dir", str(tmp_path / "out"), *options]) == 0
    said = capsys.readouterr().out
    assert "2 of 5 photos have a mask" in said
    assert "1 files in masks/ belong to no photo and are left out: masks/view_77.png" in said


def test_the_fingerprint_knows_masks_and_photos_by_what_is_in_them(folder: Path, tmp_path: Path) -> None:
    known = {of(read(folder, tmp_path))}
    write_mask(folder, "masks/view_00.png")
    known.add(of(read(folder, tmp_path)))
    write_mask(folder, "masks/view_00.png", columns=40)
    last = of(read(folder, tmp_path))
    known.add(last)
    (folder / "masks" / "view_00.png").touch()
    assert of(read(folder, tmp_path)) == last, "not by when it was written: a retry downloads everything anew"
    photo = folder / "images" / "view_02.png"
    content = bytearray(photo.read_bytes())
    content[len(content) // 2] ^= 1  # of the same size
    photo.write_bytes(content)
    known.add(of(read(folder, tmp_path)))
    assert len(known) == 4


def test_the_fingerprint_of_photos_that_are_straightened_anew_stays_and_knows_their_lens(tmp_path: Path) -> None:
    """As each retry straightens them: COLMAP writes the time into a TIFF, and a fingerprint of that one changes."""
    folder = write_scene(tmp_path / "in", views=3, points=50, k1=0.05)
    names = folder / "sparse" / "0" / "images.txt"
    names.write_text(names.read_text().replace(".png", ".tif"))
    for photo in sorted((folder / "images").iterdir()):
        Image.open(photo).save(photo.with_suffix(".tif"))
    scenes = [read(folder, tmp_path / "first")]
    time.sleep(1.1)
    scenes.append(read(folder, tmp_path / "second"))
    straight = [scene.views[0].photo.read_bytes() for scene in scenes]
    assert straight[0] != straight[1], "else this test shows nothing"
    assert of(scenes[0]) == of(scenes[1])
    cameras = folder / "sparse" / "0" / "cameras.txt"
    cameras.write_text(cameras.read_text().replace("0.05", "0.0500001"))
    assert of(read(folder, tmp_path / "third")) != of(scenes[0])
    photo = folder / "images" / "view_01.tif"
    known = of(read(folder, tmp_path / "third"))
    Image.effect_noise((96, 64), 50).convert("RGB").save(photo)
    assert of(read(folder, tmp_path / "fourth")) != known
