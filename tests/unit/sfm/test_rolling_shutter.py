"""A flight whose rows were read out one after the other, by a camera that moves and turns: through the whole stage."""

import json
from pathlib import Path

import numpy as np
import pycolmap
import pytest
from PIL import ExifTags, Image
from sfm_runs import Run, run_sfm

from local.survey.exif import FOCAL_35MM
from local.survey.photos import Survey
from splatkit.sfm.shutter import row_disagreement

PHOTOS = 12  # of the survey's lines, all looking down from one height
SIZE = (640, 426)
ZOOM = 0.85  # part of the rendered photo that is kept: what a turning camera sees must lie within it


def rotation(vector: np.ndarray) -> np.ndarray:
    return np.asarray(pycolmap.Rotation3d(vector).matrix())


def photographed(survey: Survey, folder: Path, turning: float, flown: float) -> Path:
    """Each photo as seen row by row: `turning` degrees about a random axis and `flown` picture heights in a readout.

    Turning is exact; flying is so for flat ground below a level camera, where it shifts the rows along the photo.
    """
    folder.mkdir()
    rng = np.random.default_rng(3)
    u, v = np.meshgrid(*(ZOOM * (np.arange(n) + 0.5 - n / 2) for n in SIZE))
    u, v = u * survey.width / SIZE[0], v * survey.height / SIZE[1]
    time = v / v.max() / 2
    for pose in survey.poses[:PHOTOS]:
        with Image.open(survey.photos / pose.name) as photo:
            pixels, exif = np.asarray(photo), photo.getexif()
        axis = rng.normal(0, np.radians(turning), 3)
        rays = np.stack([u, v + flown * survey.height * time, np.full_like(u, survey.focal)], axis=-1)
        matrices = np.array([rotation(axis * t) for t in time[:, 0]])
        rays = np.einsum("rij,rcj->rci", matrices, rays)
        across = survey.focal * rays[..., 0] / rays[..., 2] + survey.width / 2
        down = survey.focal * rays[..., 1] / rays[..., 2] + survey.height / 2
        assert across.min() > 0 and down.min() > 0
        assert across.max() < survey.width and down.max() < survey.height
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.FocalLengthIn35mmFilm] = round(FOCAL_35MM / ZOOM)
        Image.fromarray(sampled(pixels, across, down)).save(folder / pose.name, quality=93, subsampling=0, exif=exif)
    return folder


def sampled(pixels: np.ndarray, across: np.ndarray, down: np.ndarray) -> np.ndarray:
    """Bilinear."""
    column, row = (np.floor(place - 0.5).clip(0).astype(int) for place in (across, down))
    right = np.minimum(column + 1, pixels.shape[1] - 1)
    below = np.minimum(row + 1, pixels.shape[0] - 1)
    x, y = (across - 0.5 - column)[..., None], (down - 0.5 - row)[..., None]
    top = pixels[row, column] * (1 - x) + pixels[row, right] * x
    bottom = pixels[below, column] * (1 - x) + pixels[below, right] * x
    return np.asarray((top * (1 - y) + bottom * y).round().clip(0, 255), np.uint8)


def gates_of(run: Run) -> dict[str, dict[str, float]]:
    return {gate["name"]: gate for gate in json.loads((run.output / "report.json").read_text())["gates"]}


def test_a_flight_with_a_rolling_shutter_is_told_so_although_every_photo_was_placed(
    survey: Survey, tmp_path: Path
) -> None:
    photos = photographed(survey, tmp_path / "photos", turning=0.3, flown=0.01)
    run = run_sfm(photos, tmp_path / "output")
    result = json.loads((run.output / "result.json").read_text())
    assert run.code == 2 and result["status"] == "input_error", run.said
    assert result["metrics"]["registered"] == PHOTOS
    assert "rolling shutter" in result["error"]["cause"] and "slower" in result["error"]["fix"]
    assert gates_of(run)["rolling_shutter"]["value"] > 0.4


def test_the_same_photos_without_it_pass(survey: Survey, tmp_path: Path) -> None:
    run = run_sfm(photographed(survey, tmp_path / "photos", turning=0.0, flown=0.0), tmp_path / "output")
    assert run.code == 0, run.said
    assert gates_of(run)["rolling_shutter"]["value"] < 0.05


@pytest.mark.parametrize(
    ("noise", "moved", "axis", "expected"),
    [(0.3, 0.0, 1, 0.0), (0.3, 4.0, 1, 0.8), (0.3, 4.0, 0, 0.8), (3.0, 0.0, 1, 0.0)],
)
def test_only_what_grows_with_the_rows_or_columns_is_motion(
    noise: float, moved: float, axis: int, expected: float
) -> None:
    rng = np.random.default_rng(1)
    options = pycolmap.SyntheticDatasetOptions(
        num_rigs=1,
        num_cameras_per_rig=1,
        num_frames_per_rig=6,
        num_points3D=300,
        camera_width=1000,
        camera_height=1000,
        camera_params=[1250.0, 500.0, 500.0, 0.0],
    )
    model = pycolmap.synthesize_dataset(options)
    for image in model.images.values():
        for point in image.points2D:
            row = point.xy[axis] / 1000 - 0.5
            across = np.array([moved * row, 0.0])  # of the readout, be it along the rows or the columns
            point.xy = point.xy + rng.normal(0, noise, 2) + (across if axis else across[::-1])
    found = row_disagreement(model)
    assert found == pytest.approx(expected, abs=0.5) and (found > 0.3) == (moved > 0)
