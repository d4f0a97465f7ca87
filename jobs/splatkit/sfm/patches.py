"""Keypoints moved to where the photos agree: patches around a point's views aligned to a fraction of a pixel.

SIFT places a keypoint to within a share of its own scale, in each photo by itself. Once the cameras are known, the
patch around one observation of a point can be carried into each other photo that sees it, and aligned there (Lucas and
Kanade in the inverse compositional form of Baker and Matthews, 2004; for the purpose see Lindenberger et al.,
Pixel-Perfect Structure-from-Motion, 2021). What does not align well stays where it was.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import numpy as np
import pycolmap
from PIL import Image, ImageFilter

HALF = 6  # pixels from a patch's middle to its edge, in the reference photo
ITERATIONS = 8
MIN_SIMILARITY = 0.8  # normalised cross-correlation after the alignment
MAX_SHIFT = 2.0  # pixels of the photo; more is another feature
CONVERGED = 0.05  # pixels; a patch that still moves by more has not found its place
SETTLED = 0.005  # pixels; less is not worth another look
CACHE = 512 * 2**20  # bytes of decoded photos kept: what this takes, whatever the size of the set

SOFTENED = 0.7  # pixels; against noise, and for photos that show the point smaller than the reference does

T = TypeVar("T")


@dataclass(frozen=True)
class Batch:
    """Points seen by two photos, to be aligned at one go."""

    reference: int
    other: int
    observations: list[tuple[int, int, int]]  # point id, point2D in the reference, point2D in the other


def align_observations(
    model: pycolmap.Reconstruction, photos: Path, threads: int, step: Callable[[int, int], None]
) -> tuple[int, int]:
    """Moves the observations of `model` in place; how many were moved, and how many there are besides references."""

    largest = max(camera.width * camera.height for camera in model.cameras.values())

    @lru_cache(max(4, CACHE // largest))
    def brightness(image_id: int) -> np.ndarray:
        with Image.open(photos / model.images[image_id].name) as photo:
            return np.asarray(photo.convert("L").filter(ImageFilter.GaussianBlur(SOFTENED)), np.uint8)

    def align(batch: Batch) -> list[np.ndarray | None]:
        return _align(model, brightness(batch.reference), brightness(batch.other), batch)

    batches = _batches(model)
    moved = 0
    # Numpy releases the lock for most of the work. What is found is written by this thread alone, in order.
    with ThreadPoolExecutor(threads) as pool:
        places = list(_counted(pool.map(align, batches), len(batches), step))
    for batch, found in zip(batches, places, strict=True):
        for (_, _, index), place in zip(batch.observations, found, strict=True):
            if place is not None:
                model.images[batch.other].points2D[index].xy = place
                moved += 1
    return moved, sum(len(batch.observations) for batch in batches)


def _counted(results: Iterable[T], total: int, step: Callable[[int, int], None]) -> Iterator[T]:
    for done, result in enumerate(results, start=1):
        step(done, total)
        yield result


def _batches(model: pycolmap.Reconstruction) -> list[Batch]:
    """Every observation but its point's reference: that is by the photo nearest to the middle of all that see it."""
    centres = {i: model.images[i].projection_center() for i in model.reg_image_ids()}
    found: dict[tuple[int, int], list[tuple[int, int, int]]] = defaultdict(list)
    for point_id, point in model.points3D.items():
        views = [(element.image_id, element.point2D_idx) for element in point.track.elements]
        rays = np.array([point.xyz - centres[image_id] for image_id, _ in views])
        rays /= np.linalg.norm(rays, axis=1, keepdims=True) + 1e-12
        reference, own = views[int(np.argmax(rays @ rays.sum(axis=0)))]
        for other, index in views:
            if other != reference:
                found[reference, other].append((point_id, own, index))
    return [Batch(*pair, found[pair]) for pair in sorted(found)]


def _align(
    model: pycolmap.Reconstruction, from_photo: np.ndarray, to_photo: np.ndarray, batch: Batch
) -> list[np.ndarray | None]:
    source, target = model.images[batch.reference], model.images[batch.other]
    start = np.array([source.points2D[own].xy for _, own, _ in batch.observations])
    found = np.array([target.points2D[index].xy for _, _, index in batch.observations])
    points = np.array([model.points3D[point_id].xyz for point_id, _, _ in batch.observations])
    warp = _local_warp(model, batch.reference, batch.other, start, points)
    shift, good = _lucas_kanade(from_photo, to_photo, start, found, warp)
    return [place if fits else None for place, fits in zip(found + shift, good.tolist(), strict=True)]


def _local_warp(
    model: pycolmap.Reconstruction, reference: int, other: int, start: np.ndarray, points: np.ndarray
) -> np.ndarray:
    """[n, 2, 2]: how pixels of the other photo follow pixels of the reference, on a surface square to the reference."""
    source, target = model.images[reference], model.images[other]
    from_camera, to_camera = model.cameras[source.camera_id], model.cameras[target.camera_id]
    from_pose, to_pose = source.cam_from_world(), target.cam_from_world()
    depth = (from_pose * points)[:, 2:]
    world_from_cam = from_pose.inverse()

    def carried(dx: float, dy: float) -> np.ndarray:
        rays = np.hstack([from_camera.cam_from_img(start + np.array([dx, dy])), np.ones((len(start), 1))])
        return np.asarray(to_camera.img_from_cam(to_pose * (world_from_cam * (rays * depth))))

    across = (carried(1, 0) - carried(-1, 0)) / 2
    down = (carried(0, 1) - carried(0, -1)) / 2
    return np.stack([across, down], axis=2)


def _lucas_kanade(
    from_photo: np.ndarray, to_photo: np.ndarray, start: np.ndarray, found: np.ndarray, warp: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Shifts [n, 2] of `found` in pixels, and which can be trusted. The brightness may differ by a linear map."""
    side = np.arange(-HALF, HALF + 1.0)
    grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    patch = _sample(from_photo, start[:, None] + grid)
    square = patch.reshape(len(patch), len(side), len(side))
    slope_y, slope_x = np.gradient(square, axis=(1, 2))
    spread = patch.std(axis=1, keepdims=True) + 1e-6
    slopes = np.stack([slope_x.reshape(patch.shape), slope_y.reshape(patch.shape)], axis=-1) / spread[..., None]
    slopes -= slopes.mean(axis=1, keepdims=True)
    template = (patch - patch.mean(axis=1, keepdims=True)) / spread
    normal = np.einsum("npi,npj->nij", slopes, slopes) + 1e-3 * np.eye(2)
    sharp = np.linalg.eigvalsh(normal)[:, 0] > 1.0
    inverse = np.linalg.inv(normal)
    offset, change = np.zeros_like(start), np.full_like(start, np.inf)
    carried = np.einsum("nij,pj->npi", warp, grid)
    values = np.zeros_like(patch)
    moving = np.flatnonzero(sharp)
    for _ in range(ITERATIONS):
        places = (found[moving] + np.einsum("nij,nj->ni", warp[moving], offset[moving]))[:, None] + carried[moving]
        now = _sample(to_photo, places)
        now -= now.mean(axis=1, keepdims=True)
        now /= now.std(axis=1, keepdims=True) + 1e-6
        values[moving] = now
        change[moving] = np.einsum("nij,npj,np->ni", inverse[moving], slopes[moving], now - template[moving])
        offset[moving] -= change[moving].clip(-1, 1)
        moving = moving[np.linalg.norm(change[moving], axis=1) > SETTLED]
        if not len(moving):
            break
    similarity = (values * template).mean(axis=1)
    shift = np.einsum("nij,nj->ni", warp, offset)
    settled = np.linalg.norm(change, axis=1) < CONVERGED
    near = np.linalg.norm(shift, axis=1) < MAX_SHIFT
    return shift, sharp & settled & near & (similarity > MIN_SIMILARITY)


def _sample(photo: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Bilinear, at COLMAP's coordinates: the first pixel's middle is at (0.5, 0.5). Outside, the edge goes on."""
    height, width = photo.shape
    x = (places[..., 0] - 0.5).clip(0, width - 1.001).astype(np.float32)
    y = (places[..., 1] - 0.5).clip(0, height - 1.001).astype(np.float32)
    column, row = x.astype(np.int32), y.astype(np.int32)
    x -= column
    y -= row
    flat, corner = photo.reshape(-1), row * width + column
    top = flat[corner] * (1 - x) + flat[corner + 1] * x
    bottom = flat[corner + width] * (1 - x) + flat[corner + width + 1] * x
    return np.asarray(top * (1 - y) + bottom * y, np.float32)
