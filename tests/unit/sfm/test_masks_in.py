"""Masks: which photo they belong to, and what COLMAP gets to read."""

from pathlib import Path

import numpy as np
import pycolmap
import pytest
from PIL import ExifTags, Image

from splatkit.mask_names import is_mask, match_masks
from splatkit.sfm.colmap import run_step
from splatkit.sfm.masks import prepare_mask
from splatkit.sfm.photos import collect
from splatkit.sfm.preparation import UnusableError
from splatkit.sfm.undistorted import write_masks


def test_a_folder_or_zip_called_masks_holds_them() -> None:
    assert is_mask("masks/a.png") and is_mask("day 1/Masks/a.png") and is_mask("masks.zip/a.png")
    assert not is_mask("masks.png") and not is_mask("unmasks/a.png")


def test_masks_find_their_photos_by_path() -> None:
    photos = ["a/1.jpg", "b/1.jpg", "c/2.JPG", "set.zip/3.png"]
    masks = ["masks/a/1.png", "masks/b/1.jpg.png", "masks/2.png", "masks/3.jpg", "masks/1.png", "masks/9.png"]
    found, alone = match_masks([(name, Path(name)) for name in masks], photos)
    assert {photo: source for photo, (source, _) in found.items()} == {
        "a/1.jpg": "masks/a/1.png",
        "b/1.jpg": "masks/b/1.jpg.png",
        "c/2.JPG": "masks/2.png",
        "set.zip/3.png": "masks/3.jpg",
    }
    assert alone == ["masks/1.png", "masks/9.png"]  # 1 is ambiguous


def test_photos_of_one_stem_have_masks_that_name_them_whole() -> None:
    masks = ["masks/1.png", "masks/a/1.jpg.png", "masks/2.png", "masks/2.jpg.png", "masks/3.png", "masks/3.JPG.png"]
    photos = ["a/1.jpg", "a/1.png", "2.jpg", "2.tif", "3.jpg"]
    found, alone = match_masks([(name, Path(name)) for name in masks], photos)
    assert {photo: source for photo, (source, _) in found.items()} == {
        "a/1.jpg": "masks/a/1.jpg.png",
        "a/1.png": "masks/1.png",
        "2.jpg": "masks/2.jpg.png",
        "3.jpg": "masks/3.JPG.png",
    }
    assert alone == ["masks/2.png", "masks/3.png"]  # of two photos; of one that has the other


@pytest.mark.parametrize(
    ("photos", "masks", "expected"),
    [
        (["1.jpg", "sub/1.jpg"], ["1.jpg.png", "sub/1.jpg.png"], {"1.jpg": "1.jpg.png", "sub/1.jpg": "sub/1.jpg.png"}),
        (["1.jpg", "sub/1.jpg"], ["1.png", "sub/1.png"], {"1.jpg": "1.png", "sub/1.jpg": "sub/1.png"}),
        (["1.jpg", "sub/1.jpg"], ["1.jpg.png"], {"1.jpg": "1.jpg.png"}),
        (["1.jpg", "sub/1.jpg"], ["1.JPG.PNG"], {"1.jpg": "1.JPG.PNG"}),
        (["1.jpg", "sub/1.png"], ["1.png"], {"1.jpg": "1.png"}),
        (["A.jpg", "a.jpg"], ["A.jpg.png", "a.jpg.png"], {"A.jpg": "A.jpg.png", "a.jpg": "a.jpg.png"}),
        (["A.jpg", "a.jpg"], ["a.png"], {"a.jpg": "a.png"}),
        (["x/1.jpg", "y/1.jpg"], ["1.jpg.png"], {}),
    ],
)
def test_a_mask_of_the_whole_path_is_that_photos_alone(
    photos: list[str], masks: list[str], expected: dict[str, str]
) -> None:
    for order in (photos, photos[::-1]):
        found, alone = match_masks([(f"masks/{name}", Path(name)) for name in masks], order)
        assert {photo: str(path) for photo, (_, path) in found.items()} == expected
        assert len(alone) == len(masks) - len(expected)


def test_a_folder_of_masks_is_first_of_the_photos_beside_it() -> None:
    masks = ["b/masks/1.jpg.png", "b/Masks.zip/sub/1.png"]
    found, alone = match_masks([(name, Path(name)) for name in masks], ["1.jpg", "b/1.jpg", "sub/1.jpg", "b/sub/1.jpg"])
    assert {photo: source for photo, (source, _) in found.items()} == {"b/1.jpg": masks[0], "b/sub/1.jpg": masks[1]}
    assert alone == []


@pytest.mark.parametrize("ones", [1, 255])
def test_white_stays_and_black_goes_whatever_white_is(ones: int, tmp_path: Path) -> None:
    values = np.zeros((100, 200), np.uint8)
    values[:, 50:] = ones
    Image.fromarray(values).save(tmp_path / "mask.png")
    prepare_mask(tmp_path / "mask.png", tmp_path / "out.png", (400, 200), 1)
    ready = np.asarray(Image.open(tmp_path / "out.png"))
    assert ready.shape == (200, 400) and not ready[:, :99].any() and (ready[:, 101:] == 255).all()


def test_a_mask_drawn_on_the_photo_as_it_lay_in_the_camera_is_turned_with_it(tmp_path: Path) -> None:
    values = np.full((100, 200), 255, np.uint8)
    values[:30, :30] = 0
    Image.fromarray(values).save(tmp_path / "mask.png")
    prepare_mask(tmp_path / "mask.png", tmp_path / "out.png", (100, 200), 6)
    ready = np.asarray(Image.open(tmp_path / "out.png"))
    assert ready.shape == (200, 100) and not ready[:30, -30:].any() and ready[:30, :30].all()


def test_masks_that_do_not_fit_or_hide_all_are_refused(tmp_path: Path) -> None:
    Image.new("L", (100, 100), 255).save(tmp_path / "square.png")
    Image.new("L", (200, 100), 0).save(tmp_path / "black.png")
    (tmp_path / "text.png").write_text("no picture")
    for name, words in {"square": "100 x 100", "black": "wholly black", "text": "damaged"}.items():
        with pytest.raises(UnusableError, match=words):
            prepare_mask(tmp_path / f"{name}.png", tmp_path / "out.png", (200, 100), 1)


def test_no_feature_is_sought_under_a_mask(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    (folder / "masks").mkdir(parents=True)
    rng = np.random.default_rng(0)
    exif = Image.Exif()
    exif[ExifTags.Base.Model] = "Kite"
    for name in ("a", "b", "c"):
        small = rng.integers(0, 255, (60, 80, 3), np.uint8)
        Image.fromarray(small).resize((400, 300), Image.Resampling.BICUBIC).save(folder / f"{name}.jpg", exif=exif)
    values = np.full((300, 400), 255, np.uint8)
    values[:, :200] = 0
    Image.fromarray(values).save(folder / "masks" / "a.png")
    photos, left_out = collect(folder, tmp_path / "work", 0, 150, lambda *_: None)
    assert not left_out and [photo.mask for photo in photos] == ["masks/a.png", "", ""]
    group = {"names": [p.name for p in photos], "model": "SIMPLE_RADIAL", "width": 400, "height": 300}
    request = {
        "database": str(tmp_path / "db"),
        "images": str(tmp_path / "work" / "photos"),
        "masks": str(tmp_path / "work" / "masks"),
        "groups": [{**group, "focal_prior": None}],
        "threads": 1,
        "max_image_size": 800,
        "max_features": 4000,
        "first_octave": 0,
        "max_orientations": 1,
    }
    run_step("features", request, tmp_path / "log")
    with pycolmap.Database.open(tmp_path / "db") as database:
        places = {image.name: database.read_keypoints(image.image_id) for image in database.read_all_images()}
    assert len(places["a.jpg"]) > 50 and places["a.jpg"][:, 0].min() >= 199
    assert (places["b.jpg"][:, 0] < 190).sum() > 50


def test_trainers_find_the_masks_straightened_like_the_photos(tmp_path: Path) -> None:
    options = pycolmap.SyntheticDatasetOptions(num_rigs=1, num_cameras_per_rig=1, num_frames_per_rig=3)
    model = pycolmap.synthesize_dataset(options)
    camera = next(iter(model.cameras.values()))
    camera.model, camera.params = pycolmap.CameraModelId.SIMPLE_RADIAL, [500.0, 320.0, 240.0, -0.1]
    camera.width, camera.height = 640, 480
    first, second, _ = sorted(image.name for image in model.images.values())
    values = np.full((480, 640), 255, np.uint8)
    values[:, :320] = 0
    for name in (first, second):
        target = tmp_path / "masks" / f"{name}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(values).save(target)
    write_masks(model, tmp_path / "masks", {first: "masks/a.png", second: ""}, tmp_path / "out", -1)
    straight, _ = pycolmap.undistort_image(
        pycolmap.UndistortCameraOptions(), pycolmap.Bitmap.from_array(values), camera
    )
    ready = np.asarray(Image.open(tmp_path / "out" / "masks" / f"{first}.png"))
    assert ready.shape == np.squeeze(straight.to_array()).shape != (480, 640)
    assert set(np.unique(ready)) == {0, 255} and 0.45 < (ready == 0).mean() < 0.55
    assert not (tmp_path / "out" / "masks" / f"{second}.png").exists()
