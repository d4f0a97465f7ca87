"""Render a drone survey of a town: photos with GPS in EXIF, and the exact poses in a folder next to them."""

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pycolmap
from PIL import Image

from local.survey.exif import FOCAL_35MM, ORIGIN, exif_of, gps_positions
from local.survey.flight import ALTITUDE, Pose, fly
from local.survey.raycast import render
from local.survey.town import Town, build_town

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Survey:
    photos: Path
    truth: Path
    poses: tuple[Pose, ...]
    focal: float  # pixels
    width: int
    height: int


def render_survey(
    folder: Path,
    *,
    photos: int = 24,
    width: int = 960,
    height: int = 640,
    seed: int = 0,
    gps_noise_m: float = 0.0,
    progress: Progress | None = None,
) -> Survey:
    """Render the survey into `folder`. The flown area grows with the number of photos; same arguments, same pixels."""
    if photos < 1 or width < 16 or height < 16 or gps_noise_m < 0:
        raise ValueError(
            f"photos >= 1, width and height >= 16, gps_noise_m >= 0; got {photos}, {width}x{height}, {gps_noise_m}"
        )
    rng = np.random.default_rng([seed, 1])
    focal = FOCAL_35MM / 36.0 * width
    poses = fly(photos, ALTITUDE * width / focal, ALTITUDE * height / focal, rng)
    gps = gps_positions(poses, rng.normal(0, gps_noise_m, (photos, 3)))
    survey = Survey(folder / "photos", folder / "truth", poses, focal, width, height)
    survey.photos.mkdir(parents=True, exist_ok=True)
    _write_truth(survey)
    _render_photos(survey, _town_below(poses, seed), gps, progress or (lambda _done, _total: None))
    return survey


def _town_below(poses: tuple[Pose, ...], seed: int) -> Town:
    reach = np.abs([pose.centre[:2] for pose in poses]).max(axis=0) + 2.1 * ALTITUDE  # obliques look far ahead
    return build_town(float(reach[0]), float(reach[1]), seed)


def _render_photos(survey: Survey, town: Town, gps: np.ndarray, progress: Progress) -> None:
    def take(index: int) -> None:
        pose = survey.poses[index]
        pixels = render(town, pose.cam_from_world, pose.centre, survey.focal, survey.width, survey.height)
        exif = exif_of(pose, gps[index])
        Image.fromarray(pixels).save(survey.photos / pose.name, quality=93, subsampling=0, exif=exif)

    count = len(survey.poses)
    take(0)  # alone: it compiles the renderer
    progress(1, count)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for done, future in enumerate(as_completed([pool.submit(take, i) for i in range(1, count)]), start=2):
            future.result()
            progress(done, count)


def _write_truth(survey: Survey) -> None:
    survey.truth.mkdir(parents=True, exist_ok=True)
    f, w, h = survey.focal, survey.width, survey.height
    (survey.truth / "cameras.txt").write_text(f"1 PINHOLE {w} {h} {f!r} {f!r} {w / 2!r} {h / 2!r}\n")
    (survey.truth / "points3D.txt").write_text("")
    lines = []
    for index, pose in enumerate(survey.poses, start=1):
        x, y, z, scalar = (float(q) for q in pycolmap.Rotation3d(pose.cam_from_world).quat)
        translation = " ".join(repr(float(t)) for t in -pose.cam_from_world @ pose.centre)
        lines.append(f"{index} {scalar!r} {x!r} {y!r} {z!r} {translation} 1 {pose.name}\n\n")
    (survey.truth / "images.txt").write_text("".join(lines))
    latitude, longitude, height = ORIGIN
    georeference = {
        "frame": "ENU",
        "unit": "metre",
        "origin": {"latitude": latitude, "longitude": longitude, "altitude": height},
    }
    (survey.truth / "georeference.json").write_text(json.dumps(georeference, indent=2) + "\n")
