"""What can be said of a model in numbers: errors, angles, lenses."""

import math
from collections.abc import Iterable, Mapping

import numpy as np
import pycolmap

ANGLE_SAMPLE = 3000  # points whose viewing angles are measured


def mean_error(reconstruction: pycolmap.Reconstruction) -> float:
    """Mean reprojection error over the observations' points, in pixels of the photos."""
    return float(reconstruction.compute_mean_reprojection_error())


def focal_drift(reconstruction: pycolmap.Reconstruction, priors: Mapping[str, float]) -> float | None:
    """How many times longer or shorter than EXIF says, for the worst camera; None without EXIF."""
    worst = None
    for image_id in reconstruction.reg_image_ids():
        image = reconstruction.images[image_id]
        if image.name in priors:
            ratio = reconstruction.cameras[image.camera_id].mean_focal_length() / priors[image.name]
            drift = max(ratio, 1 / ratio) if ratio > 0 else math.inf
            worst = max(worst or 1.0, drift)
    return worst


def median_triangulation_angle(reconstruction: pycolmap.Reconstruction) -> float:
    """Degrees between the two most different views of a point, median over points; small where nothing moved."""
    centres = {i: reconstruction.images[i].projection_center() for i in reconstruction.reg_image_ids()}
    points = list(reconstruction.points3D.values())
    angles = []
    for point in points[:: max(1, len(points) // ANGLE_SAMPLE)]:
        rays = np.array([centres[e.image_id] for e in point.track.elements]) - point.xyz
        rays /= np.linalg.norm(rays, axis=1, keepdims=True) + 1e-12
        angles.append(math.degrees(math.acos(float(np.clip((rays @ rays.T).min(), -1, 1)))))
    return float(np.median(angles)) if angles else 0.0


def observations(reconstruction: pycolmap.Reconstruction) -> dict[str, int]:
    """Triangulated points that each registered photo sees."""
    return {
        reconstruction.images[i].name: reconstruction.images[i].num_points3D for i in reconstruction.reg_image_ids()
    }


def widest_view(reconstruction: pycolmap.Reconstruction) -> float:
    """Degrees that the widest solved lens sees along its photo's longer side, by its focal length alone."""
    cameras = {reconstruction.images[i].camera_id for i in reconstruction.reg_image_ids()}
    ratios = [
        max(camera.width, camera.height) / max(2 * camera.mean_focal_length(), 1e-9)
        for camera in (reconstruction.cameras[camera_id] for camera_id in cameras)
    ]
    return 2 * math.degrees(math.atan(max(ratios)))


def share_ahead(reconstruction: pycolmap.Reconstruction, pairs: Iterable[tuple[str, str]]) -> float | None:
    """How much of the way between photos that share features leads along the view: 0 sideways, 1 straight ahead.

    The median over pairs; None where no pair is registered.
    """
    images = {reconstruction.images[i].name: reconstruction.images[i] for i in reconstruction.reg_image_ids()}
    shares = []
    for first, second in pairs:
        if first in images and second in images:
            way = images[second].projection_center() - images[first].projection_center()
            view = images[first].viewing_direction()
            shares.append(abs(float(way @ view)) / (float(np.linalg.norm(way)) + 1e-12))
    return float(np.median(shares)) if shares else None
