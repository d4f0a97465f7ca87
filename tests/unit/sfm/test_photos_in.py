"""Which photos are taken, which are left out and why, and how they arrive."""

import io
import os
import re
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageFilter

from splatkit.sfm import photos as photos_in
from splatkit.sfm.gates import BLURRED
from splatkit.sfm.photos import LeftOut, Photo, _colmap_names, _natural, collect

SIZE = (320, 240)


def picture(seed: int = 0, size: tuple[int, int] = SIZE) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1] // 8, size[0] // 8, 3), np.uint8)
    return Image.fromarray(pixels).resize(size, Image.Resampling.NEAREST)


def jpeg(seed: int = 0) -> bytes:
    buffer = io.BytesIO()
    picture(seed).save(buffer, "JPEG")
    return buffer.getvalue()


def taken(folder: Path, work: Path, max_images: int = 0) -> tuple[list[Photo], dict[str, str]]:
    photos, left_out = collect(folder, work, max_images, 150, lambda done, total, message: None)
    assert all(isinstance(item, LeftOut) for item in left_out)
    return photos, {item.source: item.reason for item in left_out}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


def test_nested_folders_and_all_formats_are_read(folder: Path, tmp_path: Path) -> None:
    (folder / "day 1" / "morning").mkdir(parents=True)
    for number, name in enumerate(["a.jpg", "b.PNG", "day 1/c.tif", "day 1/morning/d.webp", "e.heic"]):
        picture(number).save(folder / name)
    photos, left_out = taken(folder, tmp_path / "work")
    assert [p.name for p in photos] == ["a.jpg", "b.png", "day_1/c.png", "day_1/morning/d.png", "e.jpg"]
    assert not left_out
    assert all(Image.open(tmp_path / "work" / "photos" / p.name).size == SIZE for p in photos)


def test_orientation_is_applied_once_and_exif_is_kept(folder: Path, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation], exif[ExifTags.Base.Model] = 6, "Kite"
    picture().save(folder / "a.jpg", exif=exif)
    (photo,), _ = taken(folder, tmp_path / "work")
    assert (photo.width, photo.height) == (240, 320) and photo.exif.device == "Kite"
    with Image.open(tmp_path / "work" / "photos" / photo.name) as upright:
        assert upright.size == (240, 320)
        assert upright.getexif()[ExifTags.Base.Orientation] == 1 and upright.getexif()[ExifTags.Base.Model] == "Kite"
        expected = np.asarray(picture().transpose(Image.Transpose.ROTATE_270), int)
        assert np.abs(np.asarray(upright.convert("RGB"), int) - expected).mean() < 12


@pytest.mark.parametrize("mode", ["L", "CMYK", "RGBA", "P", "I;16", "1"])
def test_every_colour_mode_becomes_rgb(mode: str, folder: Path, tmp_path: Path) -> None:
    if mode == "I;16":
        grey = (np.asarray(picture().convert("L")).astype(np.uint16)) * 257
        Image.fromarray(grey).save(folder / "a.png")
    else:
        picture().convert(mode).save(folder / ("a.tif" if mode == "CMYK" else "a.png"))
    (photo,), left_out = taken(folder, tmp_path / "work")
    assert not left_out
    with Image.open(tmp_path / "work" / "photos" / photo.name) as ready:
        assert ready.mode == "RGB"
        error = np.asarray(ready.convert("L"), float) - np.asarray(picture().convert("L"), float)
        assert np.abs(error).mean() < (128 if mode == "1" else 30)


def test_bad_files_are_left_out_each_with_its_reason(folder: Path, tmp_path: Path) -> None:
    (folder / "good.jpg").write_bytes(jpeg(1))
    (folder / "same.jpg").write_bytes(jpeg(1))
    (folder / "short.jpg").write_bytes(jpeg(2)[:-2000])
    (folder / "text.jpg").write_text("hello")
    (folder / "empty.png").write_bytes(b"")
    (folder / "clip.mp4").write_bytes(b"0")
    (folder / "phone.heic").write_bytes(b"1")
    (folder / "readme.txt").write_text("hello")
    picture(size=(64, 64)).save(folder / "tiny.png")
    Image.new("1", (16000, 16000)).save(folder / "bomb.png")
    photos, left_out = taken(folder, tmp_path / "work")
    assert [p.source for p in photos] == ["good.jpg"]
    words = {
        "same.jpg": "same bytes as good.jpg",
        "short.jpg": "truncated",
        "text.jpg": "not an image",
        "empty.png": "not an image",
        "clip.mp4": "Invalid data",
        "phone.heic": "not an image",
        "readme.txt": "not a photo",
        "tiny.png": "64 x 64",
        "bomb.png": "bomb",
    }
    assert left_out.keys() == words.keys()
    assert all(word in left_out[name] for name, word in words.items()), left_out


def test_zips_are_unpacked_but_never_out_of_their_folder(folder: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(folder / "photos.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inner/a.jpg", jpeg(1))
        archive.writestr("../escaped.jpg", jpeg(2))
        archive.writestr("/absolute.jpg", jpeg(3))
        archive.writestr("..\\windows.jpg", jpeg(4))
        archive.writestr("zeros.jpg", bytes(5_000_000))
        link = zipfile.ZipInfo("link.jpg")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("notes.txt", "x")
    photos, left_out = taken(folder, tmp_path / "work")
    assert [p.source for p in photos] == ["photos.zip/inner/a.jpg"]
    assert "leave the folder" in left_out["photos.zip/../escaped.jpg"]
    assert "leave the folder" in left_out["photos.zip//absolute.jpg"]
    assert "bomb" in left_out["photos.zip/zeros.jpg"] and left_out["photos.zip/link.jpg"] == "a link"
    assert not list(tmp_path.rglob("escaped.jpg")) and not list(tmp_path.rglob("*windows.jpg"))


def test_a_name_that_is_not_utf8_can_still_be_reported(folder: Path, tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.jpg")).write_bytes(jpeg(1))
    (photo,), _ = taken(folder, tmp_path / "work")
    assert photo.source.encode() == b"caf?.jpg" and photo.name == "caf_.jpg"


def test_a_damaged_zip_is_named(folder: Path, tmp_path: Path) -> None:
    (folder / "broken.zip").write_bytes(b"PK\x03\x04 nothing more")
    _, left_out = taken(folder, tmp_path / "work")
    assert "zip" in left_out["broken.zip"]


def encoded(kind: str) -> bytes:
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[ExifTags.Base.Model] = "Kite"
    picture(1).save(buffer, kind, exif=exif)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP", "HEIF"])
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.floats(0, 1), head=st.booleans(), content=st.binary(min_size=1, max_size=40))
def test_no_damage_to_a_photo_ends_the_stage(
    kind: str, where: float, head: bool, content: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    base = tmp_path_factory.mktemp("damaged")
    (base / "in").mkdir()
    data = bytearray(encoded(kind))
    position = int(where * (min(600, len(data)) if head else len(data)))
    data[position : position + len(content)] = content
    (base / "in" / "a.jpg").write_bytes(bytes(data))
    photos, left_out = taken(base / "in", base / "work")
    assert len(photos) + len(left_out) == 1


PARTS = st.one_of(
    st.sampled_from(
        ["..", ".", "", "a", "b.jpg", "C:", "x" * 300, "masks", "clip.mp4", "\x00", "con", "é.png", "\\.."]
    ),
    st.text(max_size=8),
)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(names=[(["x" * 300, "é.png"], 0)])
@given(names=st.lists(st.tuples(st.lists(PARTS, max_size=4), st.integers(0, 0o177777)), max_size=6))
def test_no_name_in_a_zip_gets_out_of_its_folder(
    names: list[tuple[list[str], int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    base = tmp_path_factory.mktemp("zip")
    (base / "in").mkdir()
    photo = jpeg(3)
    with zipfile.ZipFile(base / "in" / "a.zip", "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of two entries of one name
        for parts, mode in names:
            entry = zipfile.ZipInfo("/".join(parts) or "a.jpg")
            entry.external_attr = mode << 16
            archive.writestr(entry, photo)
    taken(base / "in", base / "work")
    for path in base.rglob("*"):
        assert path.is_relative_to(base / "work") or path in (base / "in", base / "in" / "a.zip", base / "work"), path
        assert not path.is_symlink() or path.resolve().is_relative_to(base / "work")


@pytest.mark.parametrize("kind", ["16-bit RGB TIFF", "grey with alpha", "palette with transparency", "float TIFF"])
def test_rarer_pictures_arrive_too(kind: str, folder: Path, tmp_path: Path) -> None:
    grey = picture().convert("L")
    if kind == "float TIFF":
        Image.fromarray(np.asarray(grey, np.float32) / 255).save(folder / "a.tif")
    elif kind == "grey with alpha":
        grey.convert("LA").save(folder / "a.png")
    elif kind == "palette with transparency":
        picture().convert("P").save(folder / "a.png", transparency=0)
    else:
        picture().save(folder / "a.tif", compression="tiff_lzw")
    (photo,), left_out = taken(folder, tmp_path / "work")
    assert not left_out
    with Image.open(tmp_path / "work" / "photos" / photo.name) as ready:
        assert ready.mode == "RGB" and np.asarray(ready).std() > 30


def test_a_phone_held_upright_is_turned_once_in_heic(folder: Path, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    picture().save(folder / "a.heic", exif=exif, quality=95)
    (photo,), _ = taken(folder, tmp_path / "work")
    with Image.open(tmp_path / "work" / "photos" / photo.name) as upright, Image.open(folder / "a.heic") as told:
        expected = picture().transpose(Image.Transpose.ROTATE_270) if told.size == (240, 320) else picture()
        assert upright.size == told.size and upright.getexif().get(ExifTags.Base.Orientation, 1) == 1
        assert np.abs(np.asarray(upright.convert("L"), int) - np.asarray(expected.convert("L"), int)).mean() < 12


def test_blur_is_told_from_sharpness_whatever_the_subject(folder: Path, tmp_path: Path) -> None:
    texture = picture(size=(800, 600))
    texture.save(folder / "sharp.png")
    texture.filter(ImageFilter.GaussianBlur(4)).save(folder / "soft.png")
    moved = np.mean([np.roll(np.asarray(texture, float), shift, axis=1) for shift in range(15)], axis=0)
    Image.fromarray(moved.astype(np.uint8)).save(folder / "moved.png")
    photos, _ = taken(folder, tmp_path / "work")
    blur = {photo.source: photo.blur for photo in photos}
    assert blur["sharp.png"] < 0.4 and blur["soft.png"] > BLURRED and blur["moved.png"] > BLURRED
    assert sorted(path.name for path in (tmp_path / "work" / "thumbnails").iterdir()) == [
        "moved.jpg",
        "sharp.jpg",
        "soft.jpg",
    ]


def test_max_images_chooses_evenly(folder: Path, tmp_path: Path) -> None:
    for number in range(9):
        (folder / f"img_{number}.jpg").write_bytes(jpeg(number))
    photos, left_out = taken(folder, tmp_path / "work", max_images=3)
    assert [p.source for p in photos] == ["img_0.jpg", "img_4.jpg", "img_8.jpg"]
    assert len(left_out) == 6


class Counted(str):
    """A source that counts how often it is compared."""

    compared = 0

    def __eq__(self, other: object) -> bool:
        Counted.compared += 1
        return str.__eq__(self, other)

    __hash__ = str.__hash__


def test_photos_are_told_from_masks_without_comparing_each_with_all(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"{inside}{number}.png" for inside in ("", "masks/") for number in range(200)]
    found = [(Counted(name), folder / name) for name in names]  # nowhere on the disk, so that nothing is decoded
    monkeypatch.setattr(photos_in, "_wanted_files", lambda *_: found)
    monkeypatch.setattr(Counted, "compared", 0)
    _, left_out = taken(folder, tmp_path / "work")
    assert all(("mask" if "masks" in name else "read") in left_out[name] for name in names)
    assert Counted.compared < 20 * len(names)


def test_names_are_made_safe_and_unique() -> None:
    names = _colmap_names(["a b.jpg", "a_b.jpg", "a_b.png", "ä.tif", "-x.jpg"])
    assert names == ["a_b.jpg", "a_b_2.jpg", "a_b_3.png", "_.png", "x.jpg"]


@pytest.mark.parametrize(
    ("sources", "names"),
    [
        (["-/a.jpg"], ["_/a.jpg"]),
        (["--/-/a.jpg"], ["_/_/a.jpg"]),
        (["a/-b/--c.jpg"], ["a/b/c.jpg"]),
        (["---.jpg", "_.jpg"], ["_.jpg", "__2.jpg"]),
        (["-../-../a.jpg", "-.a.jpg"], ["_/_/a.jpg", "a.jpg"]),
        (["-a.jpg", "a.jpg", "--A.png"], ["a.jpg", "a_2.jpg", "A_3.png"]),
        (["/a.jpg", "../a.jpg", "./a.jpg"], ["_/a.jpg", "_/a_2.jpg", "_/a_3.jpg"]),
    ],
)
def test_names_of_dashes_and_dots_stay_below_the_folder(sources: list[str], names: list[str]) -> None:
    assert _colmap_names(sources) == names


@settings(deadline=None)
@given(sources=st.lists(st.text("-./_aAé \\\n", min_size=1, max_size=9).map(lambda text: f"{text}.jpg"), max_size=9))
def test_no_name_leaves_the_folder_or_looks_like_an_option(sources: list[str]) -> None:
    names = _colmap_names(sources)
    assert len({Path(name).with_suffix("").as_posix().lower() for name in names}) == len(sources)
    for part in (part for name in names for part in name.split("/")):
        assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", part)


def test_photos_in_folders_of_dashes_are_read_and_never_written(folder: Path, tmp_path: Path) -> None:
    # Where the dashes fall away, the first becomes an absolute path: one of this test's, not the machine's root.
    hostile = [f"-{tmp_path}/elsewhere/a.jpg", "-../a.jpg", "---.jpg", "-a.jpg", "a.jpg"]
    for number, name in enumerate(hostile):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(jpeg(number))
    photos, left_out = taken(folder, tmp_path / "work")
    assert {p.source for p in photos} == set(hostile) and not left_out
    assert all((folder / name).read_bytes() == jpeg(number) for number, name in enumerate(hostile))
    for kind in ("photos", "thumbnails"):
        assert len(list((tmp_path / "work" / kind).rglob("*.jpg"))) == len(hostile)
    assert {path.name for path in tmp_path.iterdir()} == {"in", "work"}
    assert {path.name for path in (tmp_path / "work").iterdir()} == {"photos", "thumbnails"}


def test_a_folder_that_is_called_like_a_photo_is_in_nobodys_way(folder: Path, tmp_path: Path) -> None:
    for number, name in enumerate(["a.tif", "a.jpg/x.jpg", "b.tif", "b.PNG/x.tif", "b_png/c.d/x.tif"]):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        picture(number).save(folder / name)
    photos, left_out = taken(folder, tmp_path / "work")
    assert {p.name for p in photos} == {"a.png", "a.jpg_/x.jpg", "b.png", "b.PNG_/x.png", "b_png/c.d/x.png"}
    assert not left_out


def test_photos_are_ordered_as_people_count() -> None:
    assert sorted(["img10", "img9", "IMG1"], key=_natural) == ["IMG1", "img9", "img10"]
    assert _natural("m²")  # a digit to some, a number to none


def test_a_picture_that_pillow_itself_takes_for_a_bomb_is_left_out(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # training sets a limit of its own in the same interpreter
    for number in range(4):
        (folder / f"{number}.jpg").write_bytes(jpeg(number))
    photos, left_out = taken(folder, tmp_path / "work")
    assert photos == []
    assert len(left_out) == 4 and all("decompression bomb" in reason for reason in left_out.values())


def test_a_link_to_a_folder_is_named_and_not_left_out_in_silence(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.jpg").write_bytes(jpeg(1))
    (folder / "b.jpg").write_bytes(jpeg(2))
    (folder / "flight2").symlink_to(tmp_path / "elsewhere")
    photos, left_out = taken(folder, tmp_path / "work")
    assert [photo.source for photo in photos] == ["b.jpg"]
    assert list(left_out) == ["flight2"] and "give the folder itself" in left_out["flight2"]
