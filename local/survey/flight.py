"""Plan the drone's flight: the pose of each photo."""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

ALTITUDE = 80.0  # metres above ground
ALONG, ACROSS = 0.26, 0.30  # share of the footprint between neighbours: 74 % and 70 % overlap
OBLIQUE_SHARE, OBLIQUE_TILT = 0.25, math.radians(28)
TAKEN_FROM = datetime(2026, 5, 14, 10, 30)


@dataclass(frozen=True)
class Pose:
    name: str
    centre: np.ndarray  # [3] east, north, up in metres from ORIGIN
    cam_from_world: np.ndarray  # [3, 3], COLMAP's camera axes: x right, y down, z forward
    taken_at: datetime


def fly(count: int, footprint_x: float, footprint_y: float, rng: np.random.Generator) -> tuple[Pose, ...]:
    """Fly serpentine lines looking down, then a sparser pass across them with the camera tilted forward.

    `footprint_x` and `footprint_y`: metres of ground that one photo shows.
    """
    oblique = round(count * OBLIQUE_SHARE) if count >= 8 else 0
    down = _serpentine(count - oblique, footprint_x * ACROSS, footprint_y * ALONG)
    half_x, half_y = np.ptp([x for x, _, _ in down]) / 2, np.ptp([y for _, y, _ in down]) / 2
    tilted: list[tuple[float, float, float]] = []
    if oblique:
        lines = max(1, round(math.sqrt(oblique * max(half_y, 1) / max(half_x, 1))))
        along = 2 * half_x / max(1, math.ceil(oblique / lines) - 1)
        across = 2 * half_y / lines
        tilted = [(y, -x, heading + math.pi / 2) for x, y, heading in _serpentine(oblique, across, along, lines)]
    waypoints = [(x, y, heading, 0.0) for x, y, heading in down] + [(*point, OBLIQUE_TILT) for point in tilted]
    return tuple(_pose(i, *waypoint, rng) for i, waypoint in enumerate(waypoints))


def _serpentine(count: int, across: float, along: float, lines: int = 0) -> list[tuple[float, float, float]]:
    """Return (x, y, heading) of `count` photos on north-south lines around the origin; heading clockwise from north."""
    lines = lines or max(1, round(math.sqrt(count * along / across)))
    per_line = math.ceil(count / lines)
    points = []
    for k in range(count):
        line, step = divmod(k, per_line)
        northwards = line % 2 == 0
        y = (step if northwards else per_line - 1 - step) - (per_line - 1) / 2
        points.append(((line - (lines - 1) / 2) * across, y * along, 0.0 if northwards else math.pi))
    return points


def _pose(index: int, x: float, y: float, heading: float, tilt: float, rng: np.random.Generator) -> Pose:
    """Return the pose at a waypoint; wind moves the drone a little off its line, height and attitude."""
    centre = np.array([x, y, ALTITUDE]) + rng.normal(0, (1.0, 1.0, 1.5))
    heading, tilt, roll = np.array([heading, tilt, 0.0]) + rng.normal(0, math.radians(1.5), 3)
    ahead = np.array([math.sin(heading), math.cos(heading), 0.0])
    forward = math.sin(tilt) * ahead - math.cos(tilt) * np.array([0.0, 0.0, 1.0])
    right = np.array([ahead[1], -ahead[0], 0.0])
    down = np.cross(forward, right)
    axes = np.stack(
        [math.cos(roll) * right + math.sin(roll) * down, math.cos(roll) * down - math.sin(roll) * right, forward]
    )
    return Pose(f"survey_{index + 1:04d}.jpg", centre, axes, TAKEN_FROM + timedelta(seconds=3 * index))
