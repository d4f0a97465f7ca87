"""From matches to a model: global or incremental, the largest model, and what can be said of it in numbers."""

import math
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pycolmap

from splatkit.colmap import StepError, run_step

Mapper = Literal["auto", "global", "incremental"]
GOOD_SHARE = 0.9  # of the connected photos; below it the other mapper is tried too
FOCAL_DRIFT = 1.6  # times EXIF's; beyond it the other mapper is tried too
ANGLE_SAMPLE = 3000  # points whose viewing angles are measured


@dataclass(frozen=True)
class Model:
    method: str
    reconstruction: pycolmap.Reconstruction
    others: tuple[tuple[str, ...], ...]  # photos of the smaller models, which do not hold together with this one

    @property
    def registered(self) -> list[str]:
        images = self.reconstruction.images
        return sorted(images[i].name for i in self.reconstruction.reg_image_ids())


def map_photos(
    mapper: Mapper,
    request: dict[str, Any],
    connected: int,
    priors: Mapping[str, float],
    log: Path,
    say: Callable[[str], None],
    on_progress: Callable[[int, int], None],
) -> Model | None:
    """The best model, or None when no photos fit together.

    connected: photos in the largest part of the match graph. priors: EXIF focal in pixels by photo name.
    Global mapping goes first: on three real sets it took a third less time than incremental mapping or as much, and
    kept whole what that split in two.
    """
    methods = ["global", "incremental"] if mapper == "auto" else [mapper]
    models: list[Model] = []
    for method in methods:
        try:
            model = _map(method, request, log, on_progress)
        except StepError as problem:
            if problem.code == "out_of_memory" or (method == methods[-1] and not models):
                raise
            say(f"{method} mapping: {problem.cause}")
            continue
        if model is None:
            say(f"{method} mapping fitted no photos together")
            continue
        models.append(model)
        drift = focal_drift(model.reconstruction, priors)
        say(f"{method} mapping: {len(model.registered)} photos, {mean_error(model.reconstruction):.2f} px")
        if len(model.registered) >= GOOD_SHARE * connected and (drift is None or drift <= FOCAL_DRIFT):
            break
    return max(models, key=lambda model: _rank(model, priors), default=None)


def _map(method: str, request: dict[str, Any], log: Path, on_progress: Callable[[int, int], None]) -> Model | None:
    output = Path(request["output"]) / method
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    alive = (lambda: on_progress(0, 0)) if method == "global" else None  # global mapping counts nothing itself
    step, asked = f"{method}_mapping", {**request, "output": str(output)}
    run_step(step, asked, log, on_progress=on_progress, on_poll=alive)
    return largest_model(method, output)


def largest_model(method: str, folder: Path) -> Model | None:
    """Never "model 0": COLMAP numbers models in the order it found them, and the first may be a fragment."""
    found = [pycolmap.Reconstruction(path) for path in sorted(folder.iterdir()) if (path / "images.bin").exists()]
    found.sort(key=lambda model: (model.num_reg_images(), model.num_points3D()), reverse=True)
    if not found or found[0].num_reg_images() < 3:
        return None
    taken = set(Model(method, found[0], ()).registered)
    others = []
    for model in found[1:]:
        own = tuple(name for name in Model(method, model, ()).registered if name not in taken)
        taken |= set(own)
        if own:
            others.append(own)
    return Model(method, found[0], tuple(others))


def _rank(model: Model, priors: Mapping[str, float]) -> tuple[bool, int, float]:
    drift = focal_drift(model.reconstruction, priors)
    return (drift is None or drift <= FOCAL_DRIFT, len(model.registered), -mean_error(model.reconstruction))


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
