"""The model into a frame that means something: east, north, up metres with GPS; else upright and of a sane size."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pycolmap

from splatkit.sfm.exif import Position
from splatkit.sfm.photos import Photo

MIN_PLACED = 4  # photos with GPS; three always fit, so they cannot show an error
MIN_SPREAD = 0.05  # second over first extent of the camera positions; on a straighter line they leave the roll open
MAX_ALONG = 0.7  # of a photo's x axis along a straight line of cameras; beyond, level photos do not tell the roll
UPRIGHT_RADIUS = 10.0  # units; where 90 % of the points lie in a model without GPS
REWEIGHTINGS = 20


@dataclass(frozen=True)
class Georeference:
    frame: str  # "ENU" or "upright"
    origin: Position | None
    new_from_old: pycolmap.Sim3d
    residuals: dict[str, float]  # metres between each camera and its GPS place, by photo
    why: str

    def as_json(self) -> dict[str, Any]:
        values = np.array(list(self.residuals.values()))
        origin = self.origin and {
            "latitude": self.origin.latitude,
            "longitude": self.origin.longitude,
            "altitude": self.origin.altitude,
        }
        return {
            "frame": self.frame,
            "unit": "metre" if self.frame == "ENU" else "arbitrary",
            "why": self.why,
            "origin": origin,
            "model_from_colmap": self.new_from_old.matrix().tolist(),
            "scale": float(self.new_from_old.scale),
            "residuals_m": {
                "photos": len(values),
                "median": round(float(np.median(values)), 3),
                "p90": round(float(np.quantile(values, 0.9)), 3),
                "max": round(float(values.max()), 3),
            }
            if len(values)
            else None,
        }


def local_positions(photos: Sequence[Photo]) -> tuple[np.ndarray, Position] | None:
    """[n, 3] east, north, up metres (NaN without GPS) and their origin; None when too few photos have GPS.

    Photos without an altitude stay at the origin's height, when none has one; else they count as unplaced.
    """
    any_altitude = any(p.exif.position and p.exif.position.altitude is not None for p in photos)
    geodetic = np.full((len(photos), 3), np.nan)
    for row, photo in zip(geodetic, photos, strict=True):
        place = photo.exif.position
        if place and (place.altitude is not None or not any_altitude):
            row[:] = place.latitude, place.longitude, place.altitude or 0.0
    placed = np.isfinite(geodetic).all(axis=1)
    if placed.sum() < max(MIN_PLACED, 0.5 * len(photos)):
        return None
    middle = [float(value) for value in np.median(geodetic[placed], axis=0)]
    local = np.full_like(geodetic, np.nan)
    local[placed] = pycolmap.GPSTransform().ellipsoid_to_enu(geodetic[placed], *middle)
    return local, Position(*middle)


def georeference(
    reconstruction: pycolmap.Reconstruction, names: Sequence[str], places: tuple[np.ndarray, Position] | None
) -> Georeference:
    """Transforms the reconstruction in place. `places` are local_positions of the photos called `names`."""
    centres = {
        reconstruction.images[i].name: reconstruction.images[i].projection_center()
        for i in reconstruction.reg_image_ids()
    }
    reason = "fewer than half of the photos have GPS"
    if places:
        gps = {n: place for n, place in zip(names, places[0], strict=True) if n in centres and np.isfinite(place).all()}
        reason = _unfit(np.array(list(gps.values())))
        if not reason:
            if placed := _to_enu(reconstruction, centres, gps, places[1]):
                return placed
            reason = "the GPS places lie on one straight line, and the photos do not tell the roll about it"
    transform = _upright(reconstruction)
    reconstruction.transform(transform)
    return Georeference("upright", None, transform, {}, reason)


def _unfit(gps: np.ndarray) -> str:
    if len(gps) < MIN_PLACED:
        return f"{len(gps)} registered photos have GPS, at least {MIN_PLACED} are needed"
    if np.linalg.norm(np.ptp(gps, axis=0)) < 1.0:
        return "the GPS places lie within a metre of each other"
    return ""


def _on_a_line(places: np.ndarray) -> bool:
    spread = np.linalg.svd(places - places.mean(axis=0), compute_uv=False)
    return bool(spread[1] < MIN_SPREAD * spread[0])


def _to_enu(
    reconstruction: pycolmap.Reconstruction,
    centres: Mapping[str, np.ndarray],
    gps: Mapping[str, np.ndarray],
    origin: Position,
) -> Georeference | None:
    source, target = np.array([centres[name] for name in gps]), np.array(list(gps.values()))
    why = "GPS in EXIF"
    if not (_on_a_line(target) or _on_a_line(source)):
        transform, residuals = robust_similarity(source, target)
    else:
        images = {reconstruction.images[i].name: reconstruction.images[i] for i in reconstruction.reg_image_ids()}
        views = np.array([images[name].cam_from_world().rotation.matrix() for name in gps])
        up = up_beside_line(source, views)
        if up is None:
            return None
        transform, residuals = _similarity_of_lines(source, target, up)
        why += " on one straight line; that people and drones hold cameras level tells the roll about it"
    reconstruction.transform(transform)
    return Georeference("ENU", origin, transform, dict(zip(gps, residuals.tolist(), strict=True)), why)


def up_beside_line(centres: np.ndarray, cam_from_world: np.ndarray) -> np.ndarray | None:
    """Up, square to the straight line of the cameras and to their x axes; None where those run along the line."""
    line = np.linalg.svd(centres - centres.mean(axis=0))[2][0]
    level, hint = cam_from_world[:, 0], -cam_from_world[:, 1] - cam_from_world[:, 2]
    if np.median(np.abs(level @ line)) > MAX_ALONG:
        return None
    ups = np.cross(level, line)
    ups *= np.sign((ups * hint).sum(axis=1, keepdims=True))
    up = ups.sum(axis=0)
    return np.asarray(up / np.linalg.norm(up))


def _similarity_of_lines(source: np.ndarray, target: np.ndarray, up: np.ndarray) -> tuple[pycolmap.Sim3d, np.ndarray]:
    """As robust_similarity, with a second line drawn beside each, above it."""
    half = len(source) // 2
    far = np.linalg.norm(source[half:] - source[: len(source) - half], axis=1)
    scale = float(np.median(np.linalg.norm(target[half:] - target[: len(target) - half], axis=1) / (far + 1e-12)))
    line = np.linalg.svd(target - np.median(target, axis=0))[2][0]
    above = np.array([0.0, 0.0, 1.0]) - line[2] * line
    above *= scale * float(np.median(far)) / np.linalg.norm(above)
    transform, residuals = robust_similarity(
        np.vstack([source, source + up * np.median(far)]), np.vstack([target, target + above])
    )
    return transform, residuals[: len(source)]


def robust_similarity(source: np.ndarray, target: np.ndarray) -> tuple[pycolmap.Sim3d, np.ndarray]:
    """target = s R source + t for most rows of [n, 3], and the distance that is left of each row.

    Umeyama (1991), reweighted with Geman and McClure's function, its scale shrinking to the median residual.
    """
    weights, width = np.ones(len(source)), np.inf
    for _ in range(REWEIGHTINGS):
        scale, rotation, translation = _weighted_similarity(source, target, weights)
        residuals = np.linalg.norm(scale * source @ rotation.T + translation - target, axis=1)
        width = min(width * 0.7, 1.0 * residuals.max()) if np.isfinite(width) else residuals.max()
        width = max(width, 2.5 * float(np.median(residuals)), 1e-9)
        weights = 1.0 / (1.0 + (residuals / width) ** 2) ** 2
    return pycolmap.Sim3d(scale, pycolmap.Rotation3d(rotation), translation), residuals


def _weighted_similarity(
    source: np.ndarray, target: np.ndarray, weights: np.ndarray
) -> tuple[float, np.ndarray, np.ndarray]:
    share = weights / weights.sum()
    from_mean, to_mean = share @ source, share @ target
    from_centred, to_centred = source - from_mean, target - to_mean
    left, values, right = np.linalg.svd((share[:, None] * to_centred).T @ from_centred)
    sign = np.array([1.0, 1.0, np.linalg.det(left) * np.linalg.det(right)])
    rotation = (left * sign) @ right
    scale = float((values * sign).sum() / (share @ (from_centred**2).sum(axis=1)))
    return scale, rotation, to_mean - scale * rotation @ from_mean


def _upright(reconstruction: pycolmap.Reconstruction) -> pycolmap.Sim3d:
    up = up_direction(
        np.array([reconstruction.images[i].cam_from_world().rotation.matrix() for i in reconstruction.reg_image_ids()])
    )
    east = np.cross(up, [1.0, 0, 0] if abs(up[0]) < 0.9 else [0, 1.0, 0])
    east /= np.linalg.norm(east)
    rotation = np.stack([np.cross(east, up), east, up])
    rotation *= np.linalg.det(rotation)
    points = np.array([point.xyz for point in reconstruction.points3D.values()])
    centre = np.median(points, axis=0)
    radius = float(np.quantile(np.linalg.norm(points - centre, axis=1), 0.9)) or 1.0
    scale = UPRIGHT_RADIUS / radius
    return pycolmap.Sim3d(scale, pycolmap.Rotation3d(rotation), -scale * rotation @ centre)


def up_direction(cam_from_world: np.ndarray) -> np.ndarray:
    """The world's up from [n, 3, 3] rotations: people and drones hold the photo's x axis level.

    So up is what the x axes span least, where they span a plane; else the mean of the photos' up, or against the view.
    """
    level, up, back = cam_from_world[:, 0], -cam_from_world[:, 1], -cam_from_world[:, 2]
    values, vectors = np.linalg.eigh(level.T @ level)
    photos_up, away = up.mean(axis=0), back.mean(axis=0)
    hint = photos_up if np.linalg.norm(photos_up) > 0.5 else away
    if values[1] > 0.05 * values[2]:
        guess = vectors[:, 0]
        return guess if guess @ hint >= 0 else -guess
    length = np.linalg.norm(hint)
    return hint / length if length > 1e-6 else np.array([0.0, 0.0, 1.0])
