"""Generate a town: blocks between streets, filled with houses, flats, a park, fields, parked cars and trees."""

from dataclasses import dataclass

import numpy as np

# Columns of Town.solids, one row per convex solid or tree crown (metres; east, north, up).
X, Y, COS, SIN, HALF_X, HALF_Y, WALL, RISE, KIND, SEED = range(10)
HOUSE, FLATS, CAR, ROOF_BOX, CROWN = range(5)  # a crown is a sphere: HALF_X its radius, WALL its centre's height
GARDENS, YARD, PARK, FIELD, PARKING = range(5)

CELL = 8.0  # metres per cell of the grid that speeds up ray casting
STREET_HALF_WIDTH = 4.0
BLOCK_MARGIN = 7.0  # from the middle of the street to the first wall


@dataclass(frozen=True)
class Town:
    solids: np.ndarray  # [n, 10]
    streets_x: np.ndarray  # middles of the north-south streets, ascending
    streets_y: np.ndarray
    block_kinds: np.ndarray  # [len(streets_x) - 1, len(streets_y) - 1]
    grid_origin: np.ndarray  # [2]
    grid_starts: np.ndarray  # [cells_x, cells_y, 2]: first and last + 1 entry of the cell in grid_items
    grid_items: np.ndarray
    highest: float
    seed: int


def build_town(half_east: float, half_north: float, seed: int) -> Town:
    """Return a town that covers at least [-half_east, half_east] x [-half_north, half_north] metres."""
    rng = np.random.default_rng(seed)
    streets_x, streets_y = _street_lines(rng, half_east, (44, 66)), _street_lines(rng, half_north, (36, 54))
    kinds = rng.choice(5, size=(len(streets_x) - 1, len(streets_y) - 1), p=[0.42, 0.22, 0.14, 0.1, 0.12])
    rows: list[list[float]] = []
    fill = {GARDENS: _gardens, YARD: _yard, PARK: _park, FIELD: _field, PARKING: _parking}
    for i, j in np.ndindex(*kinds.shape):
        west, east = (float(x) for x in streets_x[i : i + 2])
        south, north = (float(y) for y in streets_y[j : j + 2])
        margin = BLOCK_MARGIN
        rows += fill[int(kinds[i, j])](rng, west + margin, south + margin, east - margin, north - margin)
        rows += _street_cars(rng, west, south, east, north)
    solids = np.array(rows)
    origin = np.array([streets_x[0], streets_y[0]])
    starts, items = _grid(solids, origin, np.array([streets_x[-1], streets_y[-1]]))
    tops = np.where(solids[:, KIND] == CROWN, solids[:, WALL] + solids[:, HALF_X], solids[:, WALL] + solids[:, RISE])
    return Town(solids, streets_x, streets_y, kinds, origin, starts, items, float(tops.max()), seed)


def _street_lines(rng: np.random.Generator, half: float, spacing: tuple[int, int]) -> np.ndarray:
    lines = [-half - rng.uniform(0, 20)]
    while lines[-1] < half:
        lines.append(lines[-1] + rng.uniform(*spacing))
    return np.array(lines)


def _solid(
    rng: np.random.Generator,
    kind: int,
    x: float,
    y: float,
    yaw: float,
    size: tuple[float, float, float],
    rise: float = 0.0,
) -> list[float]:
    """Return one box of half extents size[:2] and wall height size[2]; rise is that of a gable roof over the y axis."""
    return [x, y, np.cos(yaw), np.sin(yaw), size[0], size[1], size[2], rise, kind, float(rng.integers(1 << 30))]


def _tree(rng: np.random.Generator, x: float, y: float) -> list[list[float]]:
    size = rng.uniform(1.4, 3.2)
    clumps = []
    for _ in range(rng.integers(4, 8)):
        dx, dy, dz = rng.normal(0, 0.42 * size, 3)
        radius = size * rng.uniform(0.45, 0.8)
        clumps.append(_solid(rng, CROWN, x + dx, y + dy, 0, (radius, radius, 1.5 * size + abs(dz) + 0.5)))
    return clumps


def _gardens(rng: np.random.Generator, west: float, south: float, east: float, north: float) -> list[list[float]]:
    rows: list[list[float]] = []
    columns = max(1, int((east - west) // 14))
    width, depth = (east - west) / columns, (north - south) / 2
    for i, j in np.ndindex(columns, 2):
        x = west + (i + 0.5) * width + rng.uniform(-1.2, 1.2)
        y = south + (j + 0.5) * depth + rng.uniform(-1.5, 1.5)
        half_x, half_y = rng.uniform(3.8, 5.2), rng.uniform(3.2, 4.4)
        yaw = rng.normal(0, 0.12) + (np.pi / 2 if rng.random() < 0.4 else 0)
        wall, rise = rng.uniform(3, 6.2), rng.uniform(1.6, 3.4)
        rows.append(_solid(rng, HOUSE, x, y, yaw, (half_x, half_y, wall), rise))
        chimney = (x + rng.uniform(-2, 2), y + rng.uniform(-1, 1))
        rows.append(_solid(rng, ROOF_BOX, *chimney, yaw, (0.4, 0.4, wall + rise + rng.uniform(0.3, 0.9))))
        if rng.random() < 0.5:  # a shed or a garage in a corner of the parcel
            corner = (x + rng.choice([-1, 1]) * 0.42 * width, y + rng.choice([-1, 1]) * 0.4 * depth)
            rows.append(_solid(rng, HOUSE, *corner, yaw, (1.8, 1.4, 2.2), rng.uniform(0, 0.8)))
        for _ in range(rng.integers(0, 3)):
            rows += _tree(rng, x + rng.uniform(-0.5, 0.5) * width, y + rng.choice([-0.45, 0.45]) * depth)
    return rows


def _yard(rng: np.random.Generator, west: float, south: float, east: float, north: float) -> list[list[float]]:
    rows: list[list[float]] = []
    columns = max(1, int((east - west) // 18))
    width = (east - west) / columns
    for i in range(columns):
        x, y = west + (i + 0.5) * width, (south + north) / 2 + rng.uniform(-3, 3)
        half_x, half_y = width * rng.uniform(0.3, 0.44), (north - south) * rng.uniform(0.25, 0.4)
        height, yaw = rng.uniform(7, 20), rng.normal(0, 0.05)
        rows.append(_solid(rng, FLATS, x, y, yaw, (half_x, half_y, height)))
        for _ in range(rng.integers(2, 7)):  # lift heads, vents, air conditioners
            size = (rng.uniform(0.4, 1.8), rng.uniform(0.4, 1.5), height + rng.uniform(0.5, 2.4))
            spot = (x + rng.uniform(-0.75, 0.75) * half_x, y + rng.uniform(-0.75, 0.75) * half_y)
            rows.append(_solid(rng, ROOF_BOX, *spot, yaw, size))
    for _ in range(rng.integers(3, 8)):
        rows += _tree(rng, rng.uniform(west, east), rng.choice([south, north]) + rng.uniform(-1, 1))
    return rows


def _park(rng: np.random.Generator, west: float, south: float, east: float, north: float) -> list[list[float]]:
    count = int((east - west) * (north - south) / 60)
    return [row for _ in range(count) for row in _tree(rng, rng.uniform(west, east), rng.uniform(south, north))]


def _field(rng: np.random.Generator, west: float, south: float, east: float, north: float) -> list[list[float]]:
    rows = [row for _ in range(5) for row in _tree(rng, rng.uniform(west, east), rng.choice([south, north]))]
    rows.append(_solid(rng, HOUSE, rng.uniform(west, east), rng.uniform(south, north), 0.3, (4, 2.5, 3), 1.5))
    return rows


def _parking(rng: np.random.Generator, west: float, south: float, east: float, north: float) -> list[list[float]]:
    rows = []
    for y in np.arange(south + 3, north - 3, 8.5):
        for x in np.arange(west + 2, east - 2, 2.7):
            if rng.random() < 0.55:
                rows.append(_car(rng, x, y + rng.normal(0, 0.2), np.pi / 2))
    return rows


def _street_cars(rng: np.random.Generator, west: float, south: float, east: float, north: float) -> list[list[float]]:
    rows = [_car(rng, x, south + 3, 0) for x in np.arange(west + 9, east - 9, 6) if rng.random() < 0.35]
    return rows + [_car(rng, west + 3, y, np.pi / 2) for y in np.arange(south + 9, north - 9, 6) if rng.random() < 0.35]


def _car(rng: np.random.Generator, x: float, y: float, yaw: float) -> list[float]:
    size = (rng.uniform(1.9, 2.4), rng.uniform(0.82, 0.95), rng.uniform(1.3, 1.8))
    return _solid(rng, CAR, x, y, yaw + rng.normal(0, 0.03), size)


def _grid(solids: np.ndarray, origin: np.ndarray, corner: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    cells_x, cells_y = (np.ceil((corner - origin) / CELL)).astype(int)
    reach = np.where(solids[:, KIND] == CROWN, solids[:, HALF_X], np.hypot(solids[:, HALF_X], solids[:, HALF_Y]))
    low = np.floor((solids[:, :2] - reach[:, None] - origin) / CELL).astype(int)
    high = np.floor((solids[:, :2] + reach[:, None] - origin) / CELL).astype(int)
    cells: list[list[int]] = [[] for _ in range(cells_x * cells_y)]
    for k, ((i0, j0), (i1, j1)) in enumerate(zip(low.clip(0), high, strict=True)):
        for i in range(i0, min(i1, cells_x - 1) + 1):
            for j in range(j0, min(j1, cells_y - 1) + 1):
                cells[i * cells_y + j].append(k)
    ends = np.cumsum([len(cell) for cell in cells])
    starts = np.stack([np.concatenate([[0], ends[:-1]]), ends], axis=1).reshape(cells_x, cells_y, 2)
    return starts, np.array([k for cell in cells for k in cell], dtype=np.int64)
