"""Reading a dataset: what is broken in it is told at once, and told apart."""

import itertools
import os
import random
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pycolmap
import pytest
import train
from little_scene import FOCAL, HEIGHT, WIDTH, write_scene
from PIL import Image
from scipy.ndimage import map_coordinates

from splatkit.errors import StageError
from splatkit.formats.colmap_dataset import dataset_in
from splatkit.formats.colmap_model import PARAMETERS, check_model
from splatkit.train.scene import Scene, read_scene

FILES = ("cameras", "images", "points3D", "rigs", "frames")
READ = """
import sys
from pathlib import Path
from splatkit.errors import StageError
from splatkit.train.scene import read_scene
try:
    read_scene(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[2], "log"))
    print("read")
except StageError as problem:
    print(problem.code, problem.exit_code, problem.cause, problem.fix, sep="|")
"""


def read_apart(folder: Path, work: Path) -> str:
    """What reading says, in a process that can be ended: pycolmap cannot be interrupted."""
    child = subprocess.run(
        [sys.executable, "-c", READ, str(folder), str(work)],
        env={**os.environ, "PYTHONPATH": str(Path(train.__file__).parent)},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert child.returncode == 0, child.stderr[-2000:]
    return child.stdout.strip()


def read(folder: Path, work: Path) -> Scene:
    return read_scene(folder, work, work / "log")


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """With a binary model, as COLMAP and sfm.py write it; its points have tracks and its photos features."""
    folder = write_scene(tmp_path / "in", views=6, points=60)
    model = folder / "sparse" / "0"
    reconstruction = pycolmap.Reconstruction(model)
    for number, image in reconstruction.images.items():
        image.points2D = pycolmap.Point2DList([pycolmap.Point2D(np.array([k, 2.0 * k])) for k in range(60)])
        for k, point in enumerate(sorted(reconstruction.points3D)):
            if (k + number) % 3:
                reconstruction.add_observation(point, pycolmap.TrackElement(number, k))
    replace_model(model, reconstruction.write_binary)
    return folder


def replace_model(model: Path, write: Callable[[Path], None]) -> None:
    for path in model.iterdir():
        path.unlink()
    write(model)


def damage(kind: str, content: bytes) -> bytes:
    if kind == "garbage":
        return random.Random(0).randbytes(len(content))
    if kind == "zeros":
        return bytes(len(content))
    if kind == "more":
        return content + b"\0"
    return content[: {"empty": 0, "count": 7, "tenth": len(content) // 10, "half": len(content) // 2}.get(kind, -1)]


@pytest.mark.parametrize("name", FILES)
def test_a_binary_file_that_is_damaged_is_named_before_pycolmap_reads_it(name: str, dataset: Path) -> None:
    path = dataset / "sparse" / "0" / f"{name}.bin"
    whole = path.read_bytes()
    for kind in ("empty", "count", "tenth", "half", "one byte", "garbage", "zeros", "more"):
        path.write_bytes(damage(kind, whole))
        with pytest.raises(StageError, match=path.name) as problem:
            check_model(path.parent)
        assert problem.value.code == "bad_model" and problem.value.exit_code == 2, kind
        assert "Copy the whole model again" in problem.value.fix
    path.write_bytes(whole)
    check_model(path.parent)


@pytest.mark.parametrize("name", ["points3D", "frames"])
def test_a_model_that_is_cut_off_is_refused_and_not_read_for_ever(name: str, dataset: Path, tmp_path: Path) -> None:
    path = dataset / "sparse" / "0" / f"{name}.bin"
    assert read_apart(dataset, tmp_path) == "read"
    path.write_bytes(damage("half", path.read_bytes()))
    code, exit_code, cause, _ = read_apart(dataset, tmp_path).split("|")
    assert (code, exit_code) == ("bad_model", "2") and f"{path} is cut off" in cause


def test_bytes_that_are_wrong_anywhere_end_in_a_verdict_and_not_in_a_crash(dataset: Path) -> None:
    dice = random.Random(1)
    for name in FILES:
        path = dataset / "sparse" / "0" / f"{name}.bin"
        whole = path.read_bytes()
        for at in [*range(8), *(dice.randrange(len(whole)) for _ in range(40))]:
            path.write_bytes(whole[:at] + bytes([dice.randrange(256)]) + whole[at + 1 :])
            try:
                check_model(path.parent)
            except StageError as problem:
                assert problem.code == "bad_model" and path.name in problem.cause
        path.write_bytes(whole)


@pytest.mark.parametrize("name", FILES)
def test_a_model_that_lacks_a_file_is_told_which(name: str, dataset: Path) -> None:
    path = dataset / "sparse" / "0" / f"{name}.bin"
    path.unlink()
    with pytest.raises(StageError, match=f"no {path.name}"):
        check_model(path.parent)


@pytest.mark.parametrize(
    ("name", "cut", "said"),
    [
        ("points3D", 1 / 2, "tells of 60 points3D"),
        ("points3D", 0.97, "tells of 60 points3D"),
        ("images", 0.999, "tells of 6 images, and ends without a line's end after 5"),
        ("images", 0.4, "tells of 6 images"),
        ("cameras", 0.9, "cannot be read"),
        ("frames", 0.5, "tells of 6 frames"),
        ("rigs", 0.9, "Rig with ID 1 does not exist"),
        ("points3D", 0, "0 usable points"),
        ("images", 0, "0 photos with a pose"),
    ],
)
def test_a_text_model_that_is_cut_off_is_refused(name: str, cut: float, said: str, tmp_path: Path) -> None:
    folder = write_scene(tmp_path / "in", views=6, points=60)
    model = folder / "sparse" / "0"
    replace_model(model, pycolmap.Reconstruction(model).write_text)
    assert len(read(folder, tmp_path).views) == 6
    path = model / f"{name}.txt"
    path.write_bytes(path.read_bytes()[: int(cut * path.stat().st_size)])
    with pytest.raises(StageError, match=said) as problem:
        read(folder, tmp_path)
    assert problem.value.exit_code == 2


def test_a_text_model_whose_head_is_stale_or_whose_last_line_is_bare_is_read(dataset: Path, tmp_path: Path) -> None:
    model = dataset / "sparse" / "0"
    replace_model(model, pycolmap.Reconstruction(model).write_text)
    points = model / "points3D.txt"
    points.write_text(points.read_text().rstrip())
    assert len(read(dataset, tmp_path).points) == 60
    points.write_text("".join(points.read_text().splitlines(keepends=True)[:-20]))
    assert len(read(dataset, tmp_path).points) == 40
    points.write_text(points.read_text().rstrip())
    with pytest.raises(StageError, match="tells of 60 points3D") as problem:
        read(dataset, tmp_path)
    assert "taken out on purpose, end the file with a line break" in problem.value.fix
    points.write_text(points.read_text() + "\n")
    assert len(read(dataset, tmp_path).points) == 40


def test_the_lenses_are_those_that_pycolmap_knows() -> None:
    lenses = {int(m): m for m in pycolmap.CameraModelId.__members__.values() if m.name != "INVALID"}
    known = {n: len(pycolmap.Camera.create_from_model_id(1, m, 100.0, 10, 10).params) for n, m in lenses.items()}
    assert known == dict(enumerate(PARAMETERS))


def test_a_large_model_is_looked_through_in_three_calls_a_point(dataset: Path) -> None:
    count = 200_000
    record = np.dtype(
        [("id", "<u8"), ("xyz", "<f8", 3), ("rgb", "u1", 3), ("error", "<f8"), ("n", "<u8"), ("track", "<u4", (4, 2))]
    )
    points = np.zeros(count, record)
    points["id"], points["n"] = np.arange(1, count + 1), 4
    path = dataset / "sparse" / "0" / "points3D.bin"
    path.write_bytes(count.to_bytes(8, "little") + points.tobytes())
    calls = itertools.count()
    sys.setprofile(lambda *_event: next(calls))
    check_model(path.parent)
    sys.setprofile(None)
    assert next(calls) < 8 * count, "three calls, and their returns, for each point"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(StageError, match="end in number 200000 of 200000 points3D"):
        check_model(path.parent)


@pytest.mark.parametrize("place", ["sparse/0", "sparse", "0", "."])
@pytest.mark.parametrize("outer", [".", "sfm"])
def test_training_and_compression_find_the_model_in_the_same_places(outer: str, place: str, tmp_path: Path) -> None:
    folder = write_scene(tmp_path / "all" / outer, views=3, points=20)
    written = folder / "sparse" / "0"
    moved = tmp_path / "moved"
    written.rename(moved)
    written.parent.rmdir()
    (folder / place).mkdir(parents=True, exist_ok=True)
    for path in moved.iterdir():
        path.rename(folder / place / path.name)
    (tmp_path / "all" / "train").mkdir()
    assert dataset_in(tmp_path / "all") == folder.resolve()
    assert len(read(folder, tmp_path).views) == 3


def test_a_folder_without_a_model_is_no_dataset(tmp_path: Path) -> None:
    (tmp_path / "sparse" / "0").mkdir(parents=True)
    (tmp_path / "images.txt").write_text("a.jpg\nb.jpg\n")  # a list of photos
    assert dataset_in(tmp_path) is None and dataset_in(tmp_path / "splat.ply") is None


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_pose_that_is_no_number_is_refused_with_the_photo(value: float, dataset: Path, tmp_path: Path) -> None:
    frames = dataset / "sparse" / "0" / "frames.bin"
    content = bytearray(frames.read_bytes())
    content[8 + 8 + 32 : 8 + 8 + 40] = struct.pack("<d", value)  # x of the first frame, behind ids and quaternion
    frames.write_bytes(content)
    with pytest.raises(StageError, match=r"1 photos have a pose with NaN or infinity, for example view_0\d.png") as it:
        read(dataset, tmp_path)
    assert it.value.code == "bad_poses"


@pytest.mark.parametrize("k1", [None, 0.05])
@pytest.mark.parametrize("size", ["0 0", "96 0", "0 64"])
def test_a_camera_without_pixels_is_refused_with_the_photo(size: str, k1: float | None, tmp_path: Path) -> None:
    folder = write_scene(tmp_path / "in", views=3, points=20, k1=k1)
    cameras = folder / "sparse" / "0" / "cameras.txt"
    cameras.write_text(cameras.read_text().replace(f" {WIDTH} {HEIGHT} ", f" {size} ", 1))
    with pytest.raises(StageError, match=f"view_00.png has {size.replace(' ', ' x ')} pixels") as it:
        read(folder, tmp_path)
    assert it.value.code == "bad_camera" and it.value.exit_code == 2


def test_photos_through_a_distorting_lens_come_out_straight(tmp_path: Path) -> None:
    k1 = 0.2
    folder = write_scene(tmp_path / "in", views=4, points=60, k1=k1)
    view = read(folder, tmp_path / "work").views[0]
    assert view.photo.parent != folder / "images"
    straight = np.asarray(Image.open(view.photo).convert("RGB"), float)
    assert straight.shape[:2] == (view.height, view.width)
    # Where each of its pixels lies in the photo as it was taken, by the definition of SIMPLE_RADIAL.
    v, u = np.mgrid[: view.height, : view.width] + 0.5
    x = (u - view.intrinsics[0, 2]) / view.intrinsics[0, 0]
    y = (v - view.intrinsics[1, 2]) / view.intrinsics[1, 1]
    bent = 1 + k1 * (x * x + y * y)
    taken = np.asarray(Image.open(folder / "images" / view.name).convert("RGB"), float)
    at = [y * bent * FOCAL + HEIGHT / 2 - 0.5, x * bent * FOCAL + WIDTH / 2 - 0.5]
    expected = np.stack([map_coordinates(taken[..., c], at, order=1) for c in range(3)], -1)
    inside = (at[0] > 1) & (at[0] < HEIGHT - 2) & (at[1] > 1) & (at[1] < WIDTH - 2)
    assert inside.mean() > 0.8
    assert np.abs(straight - expected)[inside].mean() < 2
    assert np.abs(straight[:HEIGHT, :WIDTH] - taken[: view.height, : view.width]).mean() > 8, "else nothing was bent"
