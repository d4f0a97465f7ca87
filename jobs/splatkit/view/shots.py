"""Where a scene is looked at from: the photos that training held out, or a ring of cameras around it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from splatkit.errors import input_error
from splatkit.splats import Splats

Matrix = NDArray[np.float64]

FIELD_OF_VIEW = 60.0  # degrees, along the longer side, as SuperSplat Viewer takes it
ELEVATIONS = (15.0, 35.0)  # degrees, in turn around the ring
LOWEST, HIGHEST = 5.0, 60.0  # degrees of the first look: from straight above nobody knows a place
REACH, ROUNDS = 4.0, 3  # what lies farther than so many median distances is not the scene's bulk; rounds of that
DOWN = np.array([0.0, 1.0, 0.0])  # of the scene; COLMAP's and every viewer's convention for PLY and SOG


@dataclass(frozen=True)
class Shot:
    name: str
    camera_from_world: Matrix  # [4, 4] OpenCV axes: right, down, forward
    intrinsics: Matrix  # [3, 3] in pixels
    width: int
    height: int
    photo: Path | None = None  # what the camera saw

    @property
    def eye(self) -> Matrix:
        """[3] where the camera stands."""
        return -self.camera_from_world[:3, :3].T @ self.camera_from_world[:3, 3]


@dataclass(frozen=True)
class HoldOut:
    """Which photos training held out: by name where they are known, else every so-many-th from the first."""

    names: tuple[str, ...]
    every: int
    first: int

    def among(self, photos: Sequence[str], dataset: str) -> list[int]:
        """Indices in `photos`, which are sorted. Raises StageError (input_error) when there is none."""
        if self.names:
            found = [i for i, name in enumerate(photos) if name in self.names]
            if not found:
                cause = f"{dataset} has none of the photos that training held out, such as {self.names[0]}"
                raise input_error("other_photos", cause, "Give the photos and the splat of one training.")
            return found
        if self.first >= len(photos):
            cause = f"{dataset} has {len(photos)} photos; number {self.first} was to be the first held out"
            raise input_error("no_held_out_photos", cause, "Give --hold-out-every and --hold-out-first as in training.")
        return list(range(self.first, len(photos), self.every))


@dataclass(frozen=True)
class Framing:
    """The part of the scene that a first look should show."""

    centre: Matrix  # [3]
    radius: float


def framing(splats: Splats) -> Framing:
    """Around the bulk of what is visible: neither far strays nor a wide backdrop may shrink the scene to a dot."""
    weight = splats.alphas.astype(np.float64) + 1e-9
    inside = np.arange(len(splats))
    for _ in range(ROUNDS):
        means = splats.means[inside]
        centre = np.array([_weighted_quantile(means[:, axis], weight[inside], 0.5) for axis in range(3)])
        away = np.linalg.norm(means - centre, axis=1)
        inside = inside[away <= REACH * _weighted_quantile(away, weight[inside], 0.5)]
    means, weight = splats.means[inside], weight[inside]
    bounds = [[_weighted_quantile(means[:, axis], weight, q) for q in (0.02, 0.98)] for axis in range(3)]
    centre = np.mean(bounds, axis=1)
    away = np.linalg.norm(means - centre, axis=1)
    # Not so small that the camera would stand where it looks, as far out as doubles can tell.
    least = max(1e-6, 1e-9 * float(np.abs(centre).max()))
    return Framing(centre, max(1.15 * _weighted_quantile(away, weight, 0.95), least))


def photographed_from(frame: Framing, shots: Sequence[Shot]) -> tuple[float, float]:
    """(azimuth, elevation) in radians of the middle one of the photos' cameras; of the front where there is none."""
    eyes = [shot.eye for shot in shots if shot.photo]
    if not eyes:
        return 0.0, math.radians(ELEVATIONS[0])
    x, y, z = eyes[len(eyes) // 2] - frame.centre
    elevation = math.atan2(-y, math.hypot(x, z))
    return math.atan2(x, -z), min(max(elevation, math.radians(LOWEST)), math.radians(HIGHEST))


def shot_from(frame: Framing, azimuth: float, elevation: float, width: int, height: int, name: str = "") -> Shot:
    """From around the scene at its centre, from as far as shows all of it."""
    level = math.cos(elevation)
    towards = np.array([level * math.sin(azimuth), -math.sin(elevation), -level * math.cos(azimuth)])
    eye = frame.centre + distance(frame, width, height) * towards
    return look_at(name, eye, frame.centre, width, height)


def ring(
    frame: Framing, count: int, width: int, height: int, elevations: tuple[float, ...] = ELEVATIONS, start: float = 0.0
) -> list[Shot]:
    """`count` cameras on a circle around the scene that look at its centre, from the azimuth `start` (radians)."""
    return [
        shot_from(
            frame, start + 2 * math.pi * i / count, math.radians(elevations[i % len(elevations)]),
            width, height, f"ring_{i:03d}",
        )
        for i in range(count)
    ]  # fmt: skip


def distance(frame: Framing, width: int, height: int) -> float:
    """From which a sphere of the frame's radius just fits the picture's shorter side. viewer/page.html does so too."""
    narrow = math.tan(math.radians(FIELD_OF_VIEW / 2)) * min(width, height) / max(width, height)
    return frame.radius / math.sin(math.atan(narrow))


def look_at(name: str, eye: Matrix, target: Matrix, width: int, height: int) -> Shot:
    forward = (target - eye) / np.linalg.norm(target - eye)
    right = np.cross(DOWN, forward)
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = [right, np.cross(forward, right), forward]
    pose[:3, 3] = -pose[:3, :3] @ eye
    focal = max(width, height) / 2 / math.tan(math.radians(FIELD_OF_VIEW / 2))
    intrinsics = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1.0]])
    return Shot(name, pose, intrinsics, width, height)


def held_out_shots(dataset: Path, work: Path, held_out: HoldOut, longest: int, most: int) -> list[Shot]:
    """Photos of a COLMAP dataset that training held out, no more than `most`, no larger than `longest`.

    Raises StageError (input_error) when the dataset has none of them.
    """
    from splatkit.train.scene import read_scene  # brings pycolmap, which a scene without photos does not need

    scene = read_scene(dataset, work, work / "colmap.log")
    indices = held_out.among([view.name for view in scene.views], dataset.name)
    chosen = [indices[i] for i in np.unique(np.linspace(0, len(indices) - 1, min(most, len(indices))).astype(int))]
    shots = []
    for view in (scene.views[index] for index in chosen):
        scale = min(1.0, longest / max(view.width, view.height))
        width, height = round(view.width * scale), round(view.height * scale)
        intrinsics = np.diag([width / view.width, height / view.height, 1]) @ view.intrinsics
        pose = np.array(view.camera_from_world, np.float64)
        # From the normalised frame back to the splat's own; scaling the camera's axes as well keeps the picture.
        pose[:3, 3] = scene.frame.unit * pose[:3, 3] - pose[:3, :3] @ scene.frame.origin
        shots.append(Shot(view.name, pose, intrinsics, width, height, view.photo))
    return shots


def turned_shot(shot: Shot, turn: Matrix) -> Shot:
    """The same camera after the scene was turned by [3, 3]."""
    pose = shot.camera_from_world.copy()
    pose[:3, :3] = pose[:3, :3] @ turn.T
    return replace(shot, camera_from_world=pose)


def _weighted_quantile(values: NDArray[np.floating], weights: Matrix, quantile: float) -> float:
    order = np.argsort(values)
    reached = np.cumsum(weights[order])
    return float(values[order[np.searchsorted(reached, quantile * reached[-1])]])
