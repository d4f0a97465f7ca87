"""A COLMAP dataset as training reads it: pinhole views with poses, and points; normalised, and back again."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pycolmap

from splatkit.errors import StageError, input_error
from splatkit.formats.colmap_dataset import MODEL_FOLDERS, model_in, photos_in
from splatkit.formats.colmap_model import bad_model, check_model
from splatkit.mask_names import FOLDER as MASKS
from splatkit.mask_names import match_masks
from splatkit.sfm.colmap import run_step, usable_threads

MIN_VIEWS, MIN_POINTS = 3, 8
OF_SYSTEMS = ("thumbs.db", "ehthumbs.db", "desktop.ini")  # lie in folders that Windows has shown
PINHOLE = ("PINHOLE", "SIMPLE_PINHOLE")
RUN_SFM = "Run sfm.py on the photos first and give its output folder."


@dataclass(frozen=True)
class Taken:
    """A photo as it lies in the input."""

    photo: Path
    lens: str


@dataclass(frozen=True)
class View:
    name: str
    photo: Path  # straightened, where the lens is not pinhole: its bytes then differ from one reading to the next
    taken: Taken
    mask: Path | None  # white is used, black is left out
    width: int  # pixels that the intrinsics are of
    height: int
    intrinsics: np.ndarray  # [3, 3]
    camera_from_world: np.ndarray  # [4, 4] in the normalised frame

    @property
    def centre(self) -> np.ndarray:
        return np.asarray(-self.camera_from_world[:3, :3].T @ self.camera_from_world[:3, 3])


@dataclass(frozen=True)
class Frame:
    """normalised = (input - origin) / unit. Without a rotation, so that spherical harmonics stay as they are."""

    origin: np.ndarray  # [3]
    unit: float

    def to_normalised(self, points: np.ndarray) -> np.ndarray:
        return np.asarray((points - self.origin) / self.unit)

    def to_input(self, points: np.ndarray) -> np.ndarray:
        return np.asarray(points * self.unit + self.origin)


@dataclass(frozen=True)
class Scene:
    views: tuple[View, ...]  # by name
    points: np.ndarray  # [P, 3] in the normalised frame
    colors: np.ndarray  # [P, 3] 0..1
    frame: Frame
    left_out: tuple[str, ...]  # photos of the model that are not in the folder
    lone_masks: tuple[str, ...] = ()  # files in masks/ that belong to none of the photos

    def split(self, every: int, first: int) -> tuple[list[int], list[int]]:
        """Indices to train on and to hold out: every so-many-th photo, counted from `first`."""
        held_out = range(first, len(self.views), every) if every else range(0)
        return [i for i in range(len(self.views)) if i not in held_out], list(held_out)


def read_scene(folder: Path, work: Path, log: Path) -> Scene:
    """Undistorts into `work` where cameras are not pinhole. Raises StageError for what cannot be trained."""
    model_folder, photos = find_model(folder), photos_in(folder)
    model = read_model(model_folder)
    lenses = {number: f"{lens.model.name} {lens.params_to_string()}" for number, lens in model.cameras.items()}
    _check_cameras(model, photos)
    taken = {i.name: Taken(photos / i.name, lenses[i.camera_id]) for i in model.images.values()}
    if not all(camera.model.name in PINHOLE for camera in model.cameras.values()):
        if mask_files(folder):
            fix = "Undistort photos and masks together, or run sfm.py, which undistorts, and mask its images."
            raise input_error("masks_of_distorted", "masks cannot go with photos that are still distorted", fix)
        log.parent.mkdir(parents=True, exist_ok=True)
        flat = work / "undistorted"
        flat.mkdir(parents=True, exist_ok=True)
        model = undistort(model, model_folder, photos, flat, log)
        photos = flat / "images"
    named = [image for image in model.images.values() if image.has_pose]
    images = sorted((i for i in named if _inside(photos, i.name).is_file()), key=lambda i: i.name)
    left_out = tuple(sorted(i.name for i in named if not _inside(photos, i.name).is_file()))
    _check_views(images, left_out, photos)
    masks, lone = find_masks(folder, [image.name for image in images])
    views, points, colors, frame = _normalised(images, model, photos, taken, masks)
    return Scene(views, points, colors, frame, left_out, lone)


def find_model(folder: Path) -> Path:
    if not folder.is_dir():
        raise input_error("no_input", f"{folder} is not a folder", "Give the folder that sfm.py wrote.")
    if model := model_in(folder):
        return model
    looked = ", ".join(MODEL_FOLDERS[:-1])
    raise input_error("no_model", f"no COLMAP model (images.bin or images.txt) in {looked} of {folder}", RUN_SFM)


def mask_files(folder: Path) -> dict[str, Path]:
    """By their paths below masks/, without what systems leave in any folder."""
    top = next((path for path in sorted(folder.iterdir()) if path.name.lower() == MASKS and path.is_dir()), None)
    inside = {path.relative_to(top): path for path in sorted(top.rglob("*")) if path.is_file()} if top else {}
    return {
        name.as_posix(): path
        for name, path in inside.items()
        if name.name.lower() not in OF_SYSTEMS and not any(p.startswith(".") or p == "__MACOSX" for p in name.parts)
    }


def find_masks(folder: Path, names: Sequence[str]) -> tuple[dict[str, Path], tuple[str, ...]]:
    """Masks by their photos, and those that belong to none. Raises StageError where none of them belongs to any."""
    files = mask_files(folder)
    found, alone = match_masks([(f"{MASKS}/{name}", path) for name, path in files.items()], names)
    if files and not found:
        first = next(iter(files.values()))
        cause = f"none of the {len(files)} files in {MASKS}/ is named as a photo of the model, for example {first}"
        fix = f"The mask of {names[0]} is {MASKS}/{Path(names[0]).with_suffix('.png')} or {MASKS}/{names[0]}.png."
        raise input_error("no_mask_fits", cause, f"{fix} Rename them, or take the folder away to train without masks.")
    return {name: path for name, (_, path) in found.items()}, tuple(alone)


def read_model(folder: Path) -> pycolmap.Reconstruction:
    check_model(folder)
    try:
        return pycolmap.Reconstruction(folder)
    except (ValueError, RuntimeError, IndexError, OSError, MemoryError) as problem:
        said = str(problem).strip().splitlines()[-1]
        raise bad_model(f"the COLMAP model in {folder} cannot be read: {said}") from problem


def undistort(
    model: pycolmap.Reconstruction, model_folder: Path, photos: Path, flat: Path, log: Path
) -> pycolmap.Reconstruction:
    """COLMAP reads every photo of the model, so those that are not there are taken out of it first."""
    missing = [i for i, image in model.images.items() if not _inside(photos, image.name).is_file()]
    for frame in {model.images[i].frame_id for i in missing}:
        model.deregister_frame(frame)
    if model.num_reg_images() < MIN_VIEWS:
        _check_views([], tuple(sorted(model.images[i].name for i in missing)), photos)
    trimmed = flat.with_name("model")
    trimmed.mkdir(exist_ok=True)
    model.write(trimmed)
    request: dict[str, Any] = {"model": str(trimmed), "images": str(photos), "output": str(flat)}
    run_step("undistort", {**request, "max_size": -1, "threads": usable_threads(0)}, log)
    return read_model(flat / "sparse")


def _inside(folder: Path, name: str) -> Path:
    """A model is a file from anywhere: its names must not lead out of the folder."""
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise input_error("bad_model", f"the model names the photo {name!r}, outside {folder}", RUN_SFM)
    return path


def _check_cameras(model: pycolmap.Reconstruction, photos: Path) -> None:
    """Before photos are straightened: COLMAP ends the process at a camera without pixels."""
    for image in sorted(model.images.values(), key=lambda image: image.name):
        camera = model.cameras[image.camera_id]
        if not (camera.width and camera.height) and image.has_pose and _inside(photos, image.name).is_file():
            cause = f"the camera of {image.name} has {camera.width} x {camera.height} pixels"
            raise input_error("bad_camera", cause, RUN_SFM)


def _check_views(images: Sequence[pycolmap.Image], left_out: tuple[str, ...], photos: Path) -> None:
    if left_out and not images:
        cause = f"none of the model's {len(left_out)} photos is in {photos}, for example {left_out[0]}"
        raise input_error("no_photos", cause, "Put the photos into images/ beside sparse/, under the model's names.")
    if len(images) < MIN_VIEWS:
        cause = f"the model has {len(images)} photos with a pose, at least {MIN_VIEWS} are needed"
        raise input_error("too_few_views", cause, "Take more overlapping photos, then run sfm.py again.")


def _normalised(
    images: Sequence[pycolmap.Image], model: pycolmap.Reconstruction, photos: Path, taken: Mapping[str, Taken],
    masks: Mapping[str, Path],
) -> tuple[tuple[View, ...], np.ndarray, np.ndarray, Frame]:  # fmt: skip
    poses = np.stack([np.vstack([image.cam_from_world().matrix(), [0, 0, 0, 1]]) for image in images])
    if bad := [image.name for image, pose in zip(images, poses, strict=True) if not np.isfinite(pose).all()]:
        cause = f"{len(bad)} photos have a pose with NaN or infinity, for example {bad[0]}"
        raise input_error("bad_poses", cause, "The model is broken: " + RUN_SFM)
    points = np.array([p.xyz for p in model.points3D.values()], float).reshape(-1, 3)
    colors = np.array([p.color for p in model.points3D.values()], float).reshape(-1, 3) / 255
    whole = np.isfinite(points).all(axis=1)
    points, colors = points[whole], colors[whole]
    if len(points) < MIN_POINTS:
        cause = f"the model's point cloud has {len(points)} usable points, at least {MIN_POINTS} are needed"
        raise input_error("no_points", cause, RUN_SFM)
    centres = np.stack([-pose[:3, :3].T @ pose[:3, 3] for pose in poses])
    frame = _frame(centres, points)
    views = []
    for image, pose, centre in zip(images, poses, centres, strict=True):
        moved = pose.copy()
        moved[:3, 3] = -pose[:3, :3] @ frame.to_normalised(centre)
        camera = model.cameras[image.camera_id]
        lens = np.asarray(camera.calibration_matrix())
        if not (np.isfinite(lens).all() and lens[0, 0] > 0 and lens[1, 1] > 0):
            raise input_error("bad_camera", f"the camera of {image.name} has the intrinsics {lens.tolist()}", RUN_SFM)
        name = image.name
        files = (photos / name, taken[name], masks.get(name))
        views.append(View(name, *files, camera.width, camera.height, lens, moved))
    return tuple(views), frame.to_normalised(points), colors, frame


def _frame(centres: np.ndarray, points: np.ndarray) -> Frame:
    """Around the cameras. One unit is how far they reach, or a fifth of the points' distance where that is more."""
    origin = centres.mean(axis=0)
    reach = float(np.linalg.norm(centres - origin, axis=1).max())
    distance = float(np.median(np.linalg.norm(points - origin, axis=1)))
    unit = max(1.1 * reach, 0.2 * distance)
    if not (math.isfinite(unit) and unit > 0):
        raise input_error("bad_poses", "all photos and points of the model are in one place", RUN_SFM)
    return Frame(origin, unit)


def unreadable(photo: Path, problem: Exception) -> StageError:
    fix = "Copy the photo again, or take it out of the model by running sfm.py again."
    return input_error("bad_photo", f"{photo.name} cannot be read: {problem}", fix)
