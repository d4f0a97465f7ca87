"""Render a drone survey of a town: photos with GPS in EXIF, and the exact poses in a folder next to them."""

import json
import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pycolmap
from PIL import ExifTags, Image
from PIL.TiffImagePlugin import IFDRational

from local.survey.raycast import render
from local.survey.town import build_town

ORIGIN = (47.0707, 15.4395, 353.0)  # latitude, longitude, ellipsoidal height of the town's middle
ALTITUDE = 80.0  # metres above ground
FOCAL_35MM, SENSOR_WIDTH_MM = 24.0, 13.2
ALONG, ACROSS = 0.26, 0.30  # share of the footprint between neighbours: 74 % and 70 % overlap
OBLIQUE_SHARE, OBLIQUE_TILT = 0.25, math.radians(28)
TAKEN_FROM = datetime(2026, 5, 14, 10, 30)

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Pose:
    name: str
    centre: np.ndarray  # [3] east, north, up in metres from ORIGIN
    cam_from_world: np.ndarray  # [3, 3], COLMAP's camera axes: x right, y down, z forward
    taken_at: datetime


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
    poses = _flight(photos, ALTITUDE * width / focal, ALTITUDE * height / focal, rng)
    gps = _gps_positions(poses, rng.normal(0, gps_noise_m, (photos, 3)))
    survey = Survey(folder / "photos", folder / "truth", poses, focal, width, height)
    survey.photos.mkdir(parents=True, exist_ok=True)
    _write_truth(survey)
    reach = np.abs([pose.centre[:2] for pose in poses]).max(axis=0) + 2.1 * ALTITUDE  # obliques look far ahead
    town = build_town(float(reach[0]), float(reach[1]), seed)

    def take(index: int) -> None:
        pose = poses[index]
        pixels = render(town, pose.cam_from_world, pose.centre, focal, width, height)
        exif = _exif(pose, gps[index])
        Image.fromarray(pixels).save(survey.photos / pose.name, quality=93, subsampling=0, exif=exif)

    take(0)  # alone: it compiles the renderer
    if progress:
        progress(1, photos)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for done, future in enumerate(as_completed([pool.submit(take, i) for i in range(1, photos)]), start=2):
            future.result()
            if progress:
                progress(done, photos)
    return survey


def _flight(count: int, footprint_x: float, footprint_y: float, rng: np.random.Generator) -> tuple[Pose, ...]:
    """First serpentine lines looking down, then a sparser pass across them with the camera tilted forward."""
    oblique = round(count * OBLIQUE_SHARE) if count >= 8 else 0
    down = _serpentine(count - oblique, footprint_x * ACROSS, footprint_y * ALONG)
    half_x, half_y = np.ptp([x for x, _, _ in down]) / 2, np.ptp([y for _, y, _ in down]) / 2
    tilted: list[tuple[float, float, float]] = []
    if oblique:
        lines = max(1, round(math.sqrt(oblique * max(half_y, 1) / max(half_x, 1))))
        along = 2 * half_x / max(1, math.ceil(oblique / lines) - 1)
        across = 2 * half_y / lines
        tilted = [(y, -x, heading + math.pi / 2) for x, y, heading in _serpentine(oblique, across, along, lines)]
    waypoints = [(x, y, heading, 0.0) for x, y, heading in down] + [(*point, OBLIQUE_TILT) for point in tilted]
    return tuple(_pose(i, *waypoint, rng) for i, waypoint in enumerate(waypoints))


def _serpentine(count: int, across: float, along: float, lines: int = 0) -> list[tuple[float, float, float]]:
    """(x, y, heading) of `count` photos on north-south lines around the origin; heading clockwise from north."""
    lines = lines or max(1, round(math.sqrt(count * along / across)))
    per_line = math.ceil(count / lines)
    points = []
    for k in range(count):
        line, step = divmod(k, per_line)
        northwards = line % 2 == 0
        y = (step if northwards else per_line - 1 - step) - (per_line - 1) / 2
        points.append(((line - (lines - 1) / 2) * across, y * along, 0.0 if northwards else math.pi))
    return points


def _pose(index: int, x: float, y: float, heading: float, tilt: float, rng: np.random.Generator) -> Pose:
    """Wind moves the drone a little off its line, height and attitude."""
    centre = np.array([x, y, ALTITUDE]) + rng.normal(0, (1.0, 1.0, 1.5))
    heading, tilt, roll = np.array([heading, tilt, 0.0]) + rng.normal(0, math.radians(1.5), 3)
    ahead = np.array([math.sin(heading), math.cos(heading), 0.0])
    forward = math.sin(tilt) * ahead - math.cos(tilt) * np.array([0.0, 0.0, 1.0])
    right = np.array([ahead[1], -ahead[0], 0.0])
    down = np.cross(forward, right)
    axes = np.stack(
        [math.cos(roll) * right + math.sin(roll) * down, math.cos(roll) * down - math.sin(roll) * right, forward]
    )
    return Pose(f"survey_{index + 1:04d}.jpg", centre, axes, TAKEN_FROM + timedelta(seconds=3 * index))


def _gps_positions(poses: tuple[Pose, ...], noise: np.ndarray) -> np.ndarray:
    centres = np.array([pose.centre for pose in poses]) + noise
    return np.asarray(pycolmap.GPSTransform().enu_to_ellipsoid(centres, *ORIGIN))


def _exif(pose: Pose, gps: np.ndarray) -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Make], exif[ExifTags.Base.Model] = "Splatworks", "Rendered survey"
    exif[ExifTags.Base.Orientation] = 1
    details = exif.get_ifd(ExifTags.IFD.Exif)
    details[ExifTags.Base.DateTimeOriginal] = pose.taken_at.strftime("%Y:%m:%d %H:%M:%S")
    details[ExifTags.Base.FocalLength] = IFDRational(round(FOCAL_35MM / 36 * SENSOR_WIDTH_MM * 1000), 1000)
    details[ExifTags.Base.FocalLengthIn35mmFilm] = int(FOCAL_35MM)
    place = exif.get_ifd(ExifTags.IFD.GPSInfo)
    latitude, longitude, height = (float(value) for value in gps)
    place[ExifTags.GPS.GPSLatitudeRef] = "N" if latitude >= 0 else "S"
    place[ExifTags.GPS.GPSLatitude] = _degrees_minutes_seconds(latitude)
    place[ExifTags.GPS.GPSLongitudeRef] = "E" if longitude >= 0 else "W"
    place[ExifTags.GPS.GPSLongitude] = _degrees_minutes_seconds(longitude)
    place[ExifTags.GPS.GPSAltitudeRef] = b"\x00" if height >= 0 else b"\x01"
    place[ExifTags.GPS.GPSAltitude] = IFDRational(round(abs(height) * 1000), 1000)
    return exif


def _degrees_minutes_seconds(angle: float) -> tuple[IFDRational, IFDRational, IFDRational]:
    """A ten-thousandth of a second is 3 mm on the ground."""
    units = round(abs(angle) * 3600 * 10_000)
    minutes, seconds = divmod(units, 60 * 10_000)
    return IFDRational(minutes // 60, 1), IFDRational(minutes % 60, 1), IFDRational(seconds, 10_000)


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
