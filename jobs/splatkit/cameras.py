"""Which photos share a camera, and what is known of its focal length beforehand."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from splatkit.photos import Photo

FILM_DIAGONAL = math.hypot(36, 24)  # mm; the standard defines the 35 mm equivalent over the diagonal
OPENCV_FROM = 100  # photos of one camera that pin down OPENCV's eight parameters

CameraMode = Literal["auto", "single", "per_photo"]
CameraModel = Literal["auto", "SIMPLE_PINHOLE", "PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV"]


@dataclass(frozen=True)
class CameraGroup:
    names: tuple[str, ...]
    model: str
    width: int
    height: int
    focal_prior: float | None  # pixels, from EXIF


def camera_groups(photos: Sequence[Photo], mode: CameraMode, model: CameraModel) -> list[CameraGroup]:
    """auto: one camera per device, focal length (a zoom changes it) and size; single: one per size."""
    groups: dict[tuple[object, ...], list[Photo]] = defaultdict(list)
    for photo in photos:
        device = (photo.exif.device, photo.exif.focal_mm, photo.exif.focal_35mm) if mode == "auto" else ()
        own = (photo.name,) if mode == "per_photo" else ()
        groups[(photo.width, photo.height, *device, *own)].append(photo)
    return [_group(members, model) for members in groups.values()]


def _group(members: list[Photo], model: CameraModel) -> CameraGroup:
    chosen = model if model != "auto" else "OPENCV" if len(members) >= OPENCV_FROM else "SIMPLE_RADIAL"
    first = members[0]
    return CameraGroup(tuple(p.name for p in members), chosen, first.width, first.height, focal_prior(first))


def focal_prior(photo: Photo) -> float | None:
    if photo.exif.focal_35mm is None:
        return None
    focal = photo.exif.focal_35mm * math.hypot(photo.width, photo.height) / FILM_DIAGONAL
    return focal if 0.3 < focal / max(photo.width, photo.height) < 20 else None
