"""Ray casting of a Town on the CPU: exact pinhole camera, Lambertian surfaces, one sun with cast shadows.

All kernels are in this file: numba's cache sees a change in the caller's file, but not in files that it imports.
"""

import math

import numba
import numpy as np

from local.survey.town import CAR, CELL, CROWN, FIELD, FLATS, GARDENS, PARK, PARKING, STREET_HALF_WIDTH, Town

SUN = (0.46, 0.38, 0.80)  # unit vector towards the sun
FAR = 1e9
_jit = numba.njit(cache=True, nogil=True, fastmath=True, error_model="numpy")


def render(
    town: Town, cam_from_world: np.ndarray, centre: np.ndarray, focal: float, width: int, height: int
) -> np.ndarray:
    """Return the photo, uint8 [height, width, 3]; camera axes follow COLMAP (x right, y down, z forward)."""
    image = np.empty((height, width, 3), np.uint8)
    _render(
        image,
        np.ascontiguousarray(cam_from_world),
        np.asarray(centre, float),
        focal,
        town.solids,
        town.streets_x,
        town.streets_y,
        town.block_kinds,
        town.grid_origin,
        town.grid_starts,
        town.grid_items,
        town.highest,
        town.seed,
    )
    return image


@_jit
def _render(image, rotation, eye, focal, solids, xs, ys, kinds, origin, starts, items, highest, seed):  # type: ignore[no-untyped-def]
    height, width = image.shape[:2]
    for v in range(height):
        for u in range(width):
            red = green = blue = 0.0
            for k in range(4):  # a rotated 2 x 2 grid of samples: thin edges stay smooth
                cx = (u + 0.125 + 0.25 * ((k * 2 + 1) % 4 if k < 2 else (k * 2) % 4) - 0.5 * width) / focal
                cy = (v + 0.125 + 0.25 * k - 0.5 * height) / focal
                dx = rotation[0, 0] * cx + rotation[1, 0] * cy + rotation[2, 0]
                dy = rotation[0, 1] * cx + rotation[1, 1] * cy + rotation[2, 1]
                dz = rotation[0, 2] * cx + rotation[1, 2] * cy + rotation[2, 2]
                r, g, b = _radiance(eye, dx, dy, dz, solids, xs, ys, kinds, origin, starts, items, highest, seed)
                red, green, blue = red + r, green + g, blue + b
            image[v, u, 0] = min(255, max(0, int(red * 63.75 + 0.5)))
            image[v, u, 1] = min(255, max(0, int(green * 63.75 + 0.5)))
            image[v, u, 2] = min(255, max(0, int(blue * 63.75 + 0.5)))


@_jit
def _radiance(eye, dx, dy, dz, solids, xs, ys, kinds, origin, starts, items, highest, seed):  # type: ignore[no-untyped-def]
    if dz > -1e-4:
        return 0.72, 0.82, 0.93  # sky
    skip = max(0.0, (highest - eye[2]) / dz)  # nothing is above the highest roof
    end = -eye[2] / dz
    t, hit, face = _first_hit(eye[0], eye[1], eye[2], dx, dy, dz, skip, end, solids, origin, starts, items)
    x, y, z = eye[0] + t * dx, eye[1] + t * dy, eye[2] + t * dz
    if hit < 0:
        nx, ny, nz = 0.0, 0.0, 1.0
        r, g, b = _ground(x, y, xs, ys, kinds, seed)
    else:
        nx, ny, nz = _normal(solids[hit], face, x, y, z)
        r, g, b = _surface(solids[hit], face, x, y, z)
    light = nx * SUN[0] + ny * SUN[1] + nz * SUN[2]
    if light > 0:
        x, y, z = x + 0.02 * nx, y + 0.02 * ny, z + 0.02 * nz
        top = (highest - z) / SUN[2]
        _, blocker, _ = _first_hit(x, y, z, SUN[0], SUN[1], SUN[2], 0.0, top, solids, origin, starts, items)
        light = 0.0 if blocker >= 0 else light
    shade = 0.42 + 0.08 * nz + 0.72 * max(0.0, light)
    return r * shade, g * shade, b * shade * (1.06 - 0.06 * min(1.0, max(0.0, light)))


@_jit
def _first_hit(ox, oy, oz, dx, dy, dz, begin, end, solids, origin, starts, items):  # type: ignore[no-untyped-def]
    """Find the nearest solid along the ray between begin and end, cell by cell; (end, -1, 0) without one."""
    best, hit, face = end, -1, 0
    px, py = (ox + begin * dx - origin[0]) / CELL, (oy + begin * dy - origin[1]) / CELL
    i, j = math.floor(px), math.floor(py)
    step_i, step_j = (1 if dx > 0 else -1), (1 if dy > 0 else -1)
    delta_i, delta_j = CELL / max(1e-12, abs(dx)), CELL / max(1e-12, abs(dy))
    next_i = begin + ((i + 1 - px) if dx > 0 else (px - i)) * delta_i
    next_j = begin + ((j + 1 - py) if dy > 0 else (py - j)) * delta_j
    entry = begin
    while entry < best:
        if 0 <= i < starts.shape[0] and 0 <= j < starts.shape[1]:
            for k in range(starts[i, j, 0], starts[i, j, 1]):
                t, f = _intersect(solids[items[k]], ox, oy, oz, dx, dy, dz)
                if t < best and t > 1e-6:
                    best, hit, face = t, items[k], f
        if next_i < next_j:
            entry, next_i, i = next_i, next_i + delta_i, i + step_i
        else:
            entry, next_j, j = next_j, next_j + delta_j, j + step_j
    return best, hit, face


@_jit
def _intersect(s, ox, oy, oz, dx, dy, dz):  # type: ignore[no-untyped-def]
    if s[8] == CROWN:
        return _intersect_sphere(s, ox, oy, oz, dx, dy, dz)
    lx, ly = (ox - s[0]) * s[2] + (oy - s[1]) * s[3], (oy - s[1]) * s[2] - (ox - s[0]) * s[3]
    ex, ey = dx * s[2] + dy * s[3], dy * s[2] - dx * s[3]
    slope, top = s[7] / s[5], s[6] + s[7]
    enter, leave, face = -FAR, FAR, 0
    for k in range(6):
        away, room = _half_space(k, lx, ly, top - oz, ex, ey, dz, s[4], s[5], slope)
        if abs(away) < 1e-12:
            if room < 0:
                return FAR, 0
            continue
        t = room / away
        if away < 0:
            if t > enter:
                enter, face = t, k
        elif t < leave:
            leave = t
        if enter > leave:
            return FAR, 0
    return enter, face


@_jit
def _half_space(k, x, y, below_top, dx, dy, dz, half_x, half_y, slope):  # type: ignore[no-untyped-def]
    """Return speed away from, and distance to, the plane of wall +x -x +y -y or of one side of the roof."""
    if k == 0:
        return dx, half_x - x
    if k == 1:
        return -dx, half_x + x
    if k == 2:
        return dy, half_y - y
    if k == 3:
        return -dy, half_y + y
    if k == 4:
        return dz + slope * dy, below_top - slope * y
    return dz - slope * dy, below_top + slope * y


@_jit
def _intersect_sphere(s, ox, oy, oz, dx, dy, dz):  # type: ignore[no-untyped-def]
    x, y, z = ox - s[0], oy - s[1], oz - s[6]
    a, b, c = dx * dx + dy * dy + dz * dz, x * dx + y * dy + z * dz, x * x + y * y + z * z - s[4] * s[4]
    root = b * b - a * c
    return (FAR, 0) if root < 0 else ((-b - math.sqrt(root)) / a, 0)


@_jit
def _normal(s, face, x, y, z):  # type: ignore[no-untyped-def]
    if s[8] == CROWN:  # bumpy, as leaves are
        nx, ny, nz = (x - s[0]) / s[4], (y - s[1]) / s[4], (z - s[6]) / s[4]
        seed = int(s[9])
        nx, ny = (
            nx + 1.3 * (_noise(x * 2.6 + z, y * 2.6, seed) - 0.5),
            ny + 1.3 * (_noise(x * 2.6, y * 2.6 + z, seed + 1) - 0.5),
        )
        length = math.sqrt(nx * nx + ny * ny + nz * nz) + 1e-9
        return nx / length, ny / length, nz / length
    if face < 2:
        sign = 1.0 if face == 0 else -1.0
        return sign * s[2], sign * s[3], 0.0
    if face < 4:
        sign = 1.0 if face == 2 else -1.0
        return -sign * s[3], sign * s[2], 0.0
    slope = (s[7] / s[5]) * (1.0 if face == 4 else -1.0)
    length = math.sqrt(1 + slope * slope)
    return -s[3] * slope / length, s[2] * slope / length, 1 / length


@_jit
def _surface(s, face, x, y, z):  # type: ignore[no-untyped-def]
    kind, seed = int(s[8]), int(s[9])
    lx, ly = (x - s[0]) * s[2] + (y - s[1]) * s[3], (y - s[1]) * s[2] - (x - s[0]) * s[3]
    if kind == CROWN:
        leaf = 0.45 * _fractal(x + 0.7 * z, y + 0.4 * z, 1.1, 4, seed % 977) + 0.55 * _hash(
            int(x * 5), int(y * 5 + z * 5), 5
        )
        tone = 0.65 + 0.5 * _hash(seed % 8191, 1, 2)
        return (0.16 + 0.22 * leaf) * tone, (0.27 + 0.30 * leaf) * tone, 0.08 + 0.12 * leaf
    if kind == CAR:
        return _car(face, lx / s[4], ly / s[5], seed)
    if face >= 4:
        return _pitched_roof(lx, ly, seed) if s[7] > 0 else _flat_roof(lx, ly, s[4], s[5], kind, seed)
    return _facade(ly if face < 2 else lx, z, face, kind, seed)


@_jit
def _car(face, lx, ly, seed):  # type: ignore[no-untyped-def]
    paint, shade = _hash(seed % 8191, 5, 6), 0.75 + 0.4 * _hash(seed % 8191, 3, 4)
    if paint < 0.3:
        r, g, b = 0.86 * shade, 0.86 * shade, 0.85 * shade
    elif paint < 0.55:
        r, g, b = 0.42 * shade, 0.44 * shade, 0.46 * shade
    elif paint < 0.7:
        r, g, b = 0.12, 0.12, 0.13
    elif paint < 0.82:
        r, g, b = 0.60 * shade, 0.12, 0.10
    elif paint < 0.94:
        r, g, b = 0.13, 0.24 * shade, 0.52 * shade
    else:
        r, g, b = 0.62 * shade, 0.55 * shade, 0.30
    windscreen = face >= 4 and (0.25 < lx < 0.52 or -0.86 < lx < -0.62) and abs(ly) < 0.86
    if windscreen or (face < 4 and abs(lx) < 0.6 and face >= 2):
        return 0.10, 0.12, 0.15
    return r, g, b


@_jit
def _pitched_roof(lx, ly, seed):  # type: ignore[no-untyped-def]
    pick, small = _hash(seed % 8191, 11, 12), seed % 977
    grain = 0.62 + 0.62 * _fractal(lx, ly, 2.2, 5, small)
    tile = 0.82 + 0.36 * _hash(math.floor(lx / 0.34), math.floor(abs(ly) / 0.42) + (7 if ly > 0 else 0), small)
    if (
        0.42 < lx % 4.1 / 4.1 < 0.62
        and 0.8 < abs(ly) < 1.9
        and _hash(int(lx // 4.1), 1 if ly > 0 else 2, seed % 8191) > 0.45
    ):
        return 0.16, 0.20, 0.27  # a skylight or a solar panel
    tone = grain * tile * (1.15 if abs(ly) < 0.12 else 1.0)
    if pick < 0.45:
        return 0.66 * tone, (0.27 + 0.2 * pick) * tone, 0.20 * tone
    if pick < 0.75:
        return 0.36 * tone, 0.35 * tone, 0.37 * tone
    return 0.47 * tone, 0.36 * tone, 0.27 * tone


@_jit
def _flat_roof(lx, ly, half_x, half_y, kind, seed):  # type: ignore[no-untyped-def]
    small = seed % 977
    base = 0.34 + 0.34 * _hash(seed % 8191, 13, 14)
    gravel = 0.6 + 0.7 * _fractal(lx, ly, 3.1, 6, small)
    if kind == FLATS and (abs(lx) > half_x - 0.45 or abs(ly) > half_y - 0.45):
        return 0.72, 0.71, 0.68  # the parapet
    puddle = _noise(lx * 0.28, ly * 0.28, small + 5)
    tone = base * gravel * (0.72 if puddle > 0.68 else 1.0)
    seam = abs((lx + 0.3 * ly) % 3.7) < 0.08
    return tone * (0.8 if seam else 1.0), tone * (0.78 if seam else 0.98), tone * (0.76 if seam else 0.94)


@_jit
def _facade(along, z, face, kind, seed):  # type: ignore[no-untyped-def]
    small, wall = seed % 8191 + face, _hash(seed % 8191, 15, 16)
    dirt = 0.74 + 0.42 * _fractal(along, z, 1.7, 5, small % 977)
    column, floor = math.floor(along / 2.4 + wall), math.floor(z / 2.9)
    u, v = along / 2.4 + wall - column, z / 2.9 - floor
    own = _hash(column, floor, small)
    if 0.26 < u < 0.5 + 0.34 * own and 0.32 < v < 0.8 and own > 0.18:
        if abs(u - 0.45) < 0.025 or v < 0.37:
            return 0.85, 0.84, 0.80
        glass = 0.10 + 0.5 * _hash(column + 31, floor, small) ** 3
        return glass, glass * 1.06, glass * 1.15
    if wall < 0.3 and kind != FLATS:
        return 0.60 * dirt, 0.34 * dirt, 0.26 * dirt  # brick
    warm = _hash(seed % 8191, 17, 18)
    return (0.78 + 0.22 * wall) * dirt, (0.72 + 0.24 * wall) * dirt, (0.55 + 0.4 * warm) * dirt


@_jit
def _ground(x, y, xs, ys, kinds, seed):  # type: ignore[no-untyped-def]
    i = min(max(np.searchsorted(xs, x) - 1, 0), len(xs) - 2)
    j = min(max(np.searchsorted(ys, y) - 1, 0), len(ys) - 2)
    from_x, from_y = min(abs(x - xs[i]), abs(xs[i + 1] - x)), min(abs(y - ys[j]), abs(ys[j + 1] - y))
    nearest = min(from_x, from_y)
    if nearest < STREET_HALF_WIDTH:
        return _street(x, y, from_x, from_y, seed)
    if nearest < STREET_HALF_WIDTH + 1.7:
        slab = _hash(math.floor(x / 0.8), math.floor(y / 0.8), seed + 3)
        tone = (0.52 + 0.14 * slab) * (0.7 + 0.5 * _fractal(x, y, 2.7, 4, seed + 4))
        return tone, tone * 0.98, tone * 0.94
    own = _hash(i, j, seed + 9)
    kind = kinds[i, j]
    if kind == PARKING:
        line = abs((x - xs[i]) % 2.7 - 1.35) < 0.06 and (y - ys[j]) % 8.5 > 3.4
        tone = 0.92 if line else 0.44 * (0.64 + 0.68 * _fractal(x, y, 3.3, 6, seed + 6))
        return tone, tone, tone * 1.02
    if kind == FIELD:
        return _crops(x, y, own, seed)
    if kind == PARK and abs(_noise(x * 0.045, y * 0.045, seed + 12) - 0.5) < 0.035:
        tone = 0.75 + 0.45 * _fractal(x, y, 2.9, 5, seed + 13)
        return 0.66 * tone, 0.57 * tone, 0.42 * tone
    if kind != PARK and kind != GARDENS and _noise(x * 0.11, y * 0.11, seed + 14) > 0.45:
        tone = 0.5 * (0.6 + 0.75 * _fractal(x, y, 2.9, 6, seed + 15))
        return tone * 1.04, tone, tone * 0.94
    parcel = _hash(math.floor((x - xs[i]) / 11), math.floor((y - ys[j]) / 15) + 64 * i, seed + 16)
    return _grass(x, y, 0.6 * own + 0.4 * parcel, seed)


@_jit
def _street(x, y, from_x, from_y, seed):  # type: ignore[no-untyped-def]
    tone = 0.40 * (0.62 + 0.75 * _fractal(x, y, 3.7, 6, seed + 1))
    if _noise(x * 0.13, y * 0.13, seed + 2) > 0.66:
        tone *= 0.68  # patched asphalt
    if abs(_noise(x * 0.5, y * 0.5, seed + 17) - 0.5) < 0.006:
        tone *= 0.55  # cracks
    along, across, crossing = (y, from_x, from_y) if from_x < from_y else (x, from_y, from_x)
    if crossing > 7 and across < 0.11 and along % 5.3 < 2.4:
        tone = 0.85
    if 5.2 < crossing < 7 and (across % 1.1) < 0.5 and _noise(x * 0.03, y * 0.03, seed + 18) > 0.48:
        tone = 0.80 * (0.75 + 0.4 * _noise(x * 2.2, y * 2.2, seed + 19))
    return tone, tone, tone * 1.03


@_jit
def _crops(x, y, own, seed):  # type: ignore[no-untyped-def]
    angle = 3.1416 * own
    ripe = 0.12 * own
    across = x * math.cos(angle) + y * math.sin(angle) + 0.9 * _noise(x * 0.3, y * 0.3, seed + 20)
    row = 0.5 + 0.5 * math.sin(across * 4.3)
    growth = _fractal(x, y, 0.5, 6, seed + 21)
    green = row * growth
    return 0.40 + ripe - 0.22 * green + 0.16 * growth, 0.36 + 0.22 * green + 0.05 * growth, 0.20 + 0.08 * growth


@_jit
def _grass(x, y, tone, seed):  # type: ignore[no-untyped-def]
    blade = _fractal(x, y, 0.9, 6, seed + 22)
    dry = max(0.0, _noise(x * 0.21, y * 0.21, seed + 23) - 0.5) * 1.3
    light = 0.55 + 0.75 * blade
    return (
        (0.24 + 0.12 * tone + 0.4 * dry) * light,
        (0.40 + 0.10 * tone + 0.15 * dry) * light,
        (0.15 + 0.08 * tone) * light,
    )


@_jit
def _fractal(x, y, frequency, octaves, seed):  # type: ignore[no-untyped-def]
    """Return value noise in 0..1 over `octaves` scales, from a few metres down to a hand's width."""
    total = weight = 0.0
    amplitude = 1.0
    frequency *= 0.14
    for k in range(octaves):
        total += amplitude * _noise(x * frequency, y * frequency, seed + 31 * k)
        weight += amplitude
        amplitude *= 0.86
        frequency *= 2.13
    return min(1.0, max(0.0, 0.5 + 1.7 * (total / weight - 0.5)))


@_jit
def _noise(x, y, seed):  # type: ignore[no-untyped-def]
    i, j = math.floor(x), math.floor(y)
    u, v = x - i, y - j
    u, v = u * u * (3 - 2 * u), v * v * (3 - 2 * v)
    south = _hash(i, j, seed) * (1 - u) + _hash(i + 1, j, seed) * u
    north = _hash(i, j + 1, seed) * (1 - u) + _hash(i + 1, j + 1, seed) * u
    return south * (1 - v) + north * v


@_jit
def _hash(i, j, seed):  # type: ignore[no-untyped-def]
    n = (i * 374761393 + j * 668265263 + seed * 144665) & 0xFFFFFFFF
    n = ((n ^ (n >> 13)) * 1274126177) & 0xFFFFFFFF
    return ((n ^ (n >> 16)) & 0xFFFFFFFF) / 4294967296.0
