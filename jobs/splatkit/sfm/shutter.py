"""Whether the rows of the photos were taken from different poses: what a rolling shutter does to a moving camera."""

import numpy as np
import pycolmap

MIN_POINTS = 50  # that a photo sees; fewer do not tell six numbers
MIN_SHARE = 0.2  # of the squared error; where motion explains less, something else is wrong with the photo
OUTLIER = 4.0  # times the median error


def row_disagreement(reconstruction: pycolmap.Reconstruction) -> float | None:
    """How much of the error a motion during the readout explains, in thousandths of the longer side, median of photos.

    Each photo's errors are fitted twice: by a small change of its pose, and by one that grows from the first row to the
    last (linear in time, as Hedborg et al., Rolling Shutter Bundle Adjustment, 2012). Adjustment hides a part of such a
    motion in focal length and poses, so this is what is left of it; a still camera leaves next to nothing.
    """
    told = [_explained(reconstruction, image_id) for image_id in reconstruction.reg_image_ids()]
    known = [value for value in told if value is not None]
    return float(np.median(known)) if known else None


def _explained(reconstruction: pycolmap.Reconstruction, image_id: int) -> float | None:
    image = reconstruction.images[image_id]
    camera = reconstruction.cameras[image.camera_id]
    seen = [point for point in image.points2D if point.has_point3D()]
    if len(seen) < MIN_POINTS:
        return None
    places = np.array([point.xy for point in seen])
    points = image.cam_from_world() * np.array([reconstruction.points3D[point.point3D_id].xyz for point in seen])
    focal = camera.mean_focal_length()
    errors = focal * (camera.cam_from_img(places) - points[:, :2] / points[:, 2:])
    lengths = np.linalg.norm(errors, axis=1)  # not a number where the distortion has no inverse
    sound = lengths < OUTLIER * np.nanmedian(lengths) + 1e-9
    if sound.sum() < MIN_POINTS:
        return None
    longest = max(camera.width, camera.height)
    still = _pose_change(points[sound], focal)
    before = _left(still, errors[sound])
    found = [0.0]
    for axis, length in enumerate((camera.width, camera.height)):  # a sensor held upright reads out columns
        time = places[sound, axis] / length - 0.5
        after = _left(np.concatenate([still, still * time[:, None, None]], axis=2), errors[sound])
        if after < (1 - MIN_SHARE) * before:
            found.append(1000 * float(np.sqrt(before - after)) / longest)
    return max(found)


def _pose_change(points: np.ndarray, focal: float) -> np.ndarray:
    """[n, 2, 6]: pixels per radian of turning about, and per unit (of the median depth) along the camera's axes."""
    across, down = points[:, 0] / points[:, 2], points[:, 1] / points[:, 2]
    near, none = np.median(points[:, 2]) / points[:, 2], np.zeros(len(points))
    rows = [
        [-across * down, 1 + across**2, -down, near, none, -across * near],
        [-(1 + down**2), across * down, across, none, near, -down * near],
    ]
    return focal * np.moveaxis(np.array(rows), 2, 0)


def _left(change: np.ndarray, errors: np.ndarray) -> float:
    """Mean squared error, in pixels, that no such change explains."""
    columns, wanted = change.reshape(-1, change.shape[2]), errors.reshape(-1)
    solved, *_ = np.linalg.lstsq(columns, wanted, rcond=None)
    return float(2 * np.mean((wanted - columns @ solved) ** 2))
