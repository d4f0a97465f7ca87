"""Whether a camera only turned on the spot: then photos show no depth, and what COLMAP makes of them is invented."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pycolmap

SAMPLE = 200  # pairs looked at
MIN_SHARED = 15  # points that a pair must share
EXPLAINED = 0.0015  # of the photo's longer side: a pair whose points a rotation brings as near as that, in the median
# Focal lengths tried, in longer sides: in a model without depth the solved one is arbitrary. Longer lenses than these
# would make a flight over flat ground look like turning.
KNOWN_WITHIN = 1.25  # times what EXIF says
FOCALS = np.geomspace(0.4, 1.5, 40)


def share_turned(
    reconstruction: pycolmap.Reconstruction, pairs: Iterable[tuple[str, str]], focals: Mapping[str, float]
) -> float | None:
    """The share of pairs that differ by a rotation alone, at the focal length that explains most; None: no pairs.

    focals: what is known of the focal length, in pixels, by photo; then only ones about that are tried.
    """
    tried = _near(reconstruction, focals)
    registered = {reconstruction.images[i].name: i for i in reconstruction.reg_image_ids()}
    placed = sorted((registered[a], registered[b]) for a, b in pairs if a in registered and b in registered)
    sample = placed[:: max(1, len(placed) // SAMPLE)]
    shares = []
    for straightened in (False, True):  # the solved distortion may be invented, too
        seen = {i: _places(reconstruction, i, straightened) for i in {i for pair in sample for i in pair}}
        shares.append(_share([_in_both(seen[a], seen[b]) for a, b in sample], tried))
    return max((share for share in shares if share is not None), default=None)


def share_turned_of_matches(database: Path) -> float | None:
    """The same of verified matches, where there is no model."""
    with pycolmap.Database.open(database) as opened:
        cameras = {camera.camera_id: camera for camera in opened.read_all_cameras()}
        seen = {}
        for image in opened.read_all_images():
            camera = cameras[image.camera_id]
            middle, longest = np.array([camera.width, camera.height]) / 2, max(camera.width, camera.height)
            seen[image.image_id] = (opened.read_keypoints(image.image_id)[:, :2] - middle) / longest
        pair_ids, geometries = opened.read_two_view_geometries()
    shared = []
    for pair_id, geometry in list(zip(pair_ids, geometries, strict=True))[:: max(1, len(pair_ids) // SAMPLE)]:
        first, second = pycolmap.pair_id_to_image_pair(pair_id)
        matches = np.asarray(geometry.inlier_matches).reshape(-1, 2)
        shared.append((seen[first][matches[:, 0]], seen[second][matches[:, 1]]))
    return _share(shared, FOCALS)


def _share(shared: list[tuple[np.ndarray, np.ndarray]], focals: np.ndarray) -> float | None:
    enough = [both for both in shared if len(both[0]) >= MIN_SHARED]
    if not enough:
        return None
    return max(float(np.mean([_turned(*both, focal) for both in enough])) for focal in focals)


def _near(reconstruction: pycolmap.Reconstruction, focals: Mapping[str, float]) -> np.ndarray:
    cameras = {image.name: reconstruction.cameras[image.camera_id] for image in reconstruction.images.values()}
    known = [focals[name] / max(camera.width, camera.height) for name, camera in cameras.items() if name in focals]
    return FOCALS if not known else float(np.median(known)) * np.geomspace(1 / KNOWN_WITHIN, KNOWN_WITHIN, 12)


def _places(reconstruction: pycolmap.Reconstruction, image_id: int, straightened: bool) -> dict[int, np.ndarray]:
    """Where a photo sees each point, [2] in longer sides from its middle."""
    image = reconstruction.images[image_id]
    camera = reconstruction.cameras[image.camera_id]
    points = [point for point in image.points2D if point.has_point3D()]
    places, longest = np.array([point.xy for point in points]).reshape(-1, 2), max(camera.width, camera.height)
    if straightened:
        places = camera.cam_from_img(places) * camera.mean_focal_length() / longest
    else:
        places = (places - [camera.principal_point_x, camera.principal_point_y]) / longest
    return dict(zip((point.point3D_id for point in points), places, strict=True))


def _in_both(first: dict[int, np.ndarray], second: dict[int, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    common = sorted(first.keys() & second.keys())
    return np.array([first[point] for point in common]), np.array([second[point] for point in common])


def _turned(first: np.ndarray, second: np.ndarray, focal: float) -> bool:
    rays = [np.hstack([places, np.full((len(places), 1), focal)]) for places in (first, second)]
    source, target = (r / np.linalg.norm(r, axis=1, keepdims=True) for r in rays)
    left, _, right = np.linalg.svd(target.T @ source)
    rotation = (left * [1.0, 1.0, np.linalg.det(left @ right)]) @ right  # Kabsch (1976)
    carried = source @ rotation.T
    there = focal * carried[:, :2] / np.maximum(carried[:, 2:], 1e-6)
    return bool(np.median(np.linalg.norm(there - second, axis=1)) < EXPLAINED)
