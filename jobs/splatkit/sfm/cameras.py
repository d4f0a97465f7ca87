"""Which photos share a camera, and what is known of its focal length beforehand."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from splatkit.sfm.photos import Photo
from splatworks.contract.stages.sfm import CameraMode, CameraModel

FILM_DIAGONAL = math.hypot(36, 24)  # mm; the standard defines the 35 mm equivalent over the diagonal
SENSOR_MM = (3.5, 60.0)  # longer side, from a phone to medium format; else the photo was scaled or cropped
OPENCV_FROM = 100  # photos of one camera that pin down OPENCV's eight parameters


@dataclass(frozen=True)
class CameraGroup:
    names: tuple[str, ...]
    model: str
    width: int
    height: int
    focal_prior: float | None  # pixels, from EXIF
    in_table: bool = True  # whether COLMAP's table of sensors may be asked, where EXIF does not tell


def camera_groups(photos: Sequence[Photo], mode: CameraMode, model: CameraModel) -> list[CameraGroup]:
    """auto: one camera per device, focal length (a zoom changes it) and size; single: one per size."""
    groups: dict[tuple[object, ...], list[Photo]] = defaultdict(list)
    for photo in photos:
        facts = photo.exif
        device = (facts.device, facts.focal_mm, facts.focal_35mm, photo.video) if mode == "auto" else ()
        own = (photo.name,) if mode == "per_photo" else ()
        groups[(photo.width, photo.height, *device, *own)].append(photo)
    return [_group(members, model) for members in groups.values()]


def _group(members: list[Photo], model: CameraModel) -> CameraGroup:
    chosen = model if model != "auto" else "OPENCV" if len(members) >= OPENCV_FROM else "SIMPLE_RADIAL"
    first = members[0]
    # COLMAP would take the resolution of the sensor from EXIF, also when the photo was scaled since and EXIF was not.
    in_table = first.exif.pixels_per_mm is None
    names = tuple(photo.name for photo in members)
    return CameraGroup(names, chosen, first.width, first.height, focal_prior(first), in_table)


def focal_prior(photo: Photo) -> float | None:
    """Pixels; None where EXIF does not tell, or nonsense."""
    exif, longest = photo.exif, max(photo.width, photo.height)
    focal = None
    if exif.focal_35mm is not None:
        focal = exif.focal_35mm * math.hypot(photo.width, photo.height) / FILM_DIAGONAL
    elif exif.focal_mm and exif.pixels_per_mm and SENSOR_MM[0] <= longest / exif.pixels_per_mm <= SENSOR_MM[1]:
        focal = exif.focal_mm * exif.pixels_per_mm
    return focal if focal and 0.3 < focal / longest < 20 else None
