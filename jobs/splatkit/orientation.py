"""One Gaussian can be written in 24 ways: its axes may be permuted and turned round without changing the ellipsoid.

Files grow by what nobody can see, log2(24) = 4.6 bits per splat, unless one of the ways is always chosen.
"""

from dataclasses import replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from splatkit.splats import Floats, Splats, unit_quats

ROWS_AT_ONCE = 1 << 16


def canonical(splats: Splats) -> Splats:
    """The same ellipsoids, each in the way with the smallest rotation: at most 62.8 degrees.

    Of the choices tried (scales in order, thinnest axis last) it makes the smallest files, and as the largest component
    of the quaternion is always w and never small, rounding the others costs the least.
    """
    quats, scales = np.empty_like(splats.quats), np.empty_like(splats.scales)
    for start in range(0, len(splats), ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        quats[part], scales[part] = _smallest_turned(unit_quats(splats.quats[part]), splats.scales[part])
    return replace(splats, quats=quats, scales=scales)


def _smallest_turned(quats: Floats, scales: Floats) -> tuple[Floats, Floats]:
    turns, sources = _octahedral_turns()
    real = quats @ (turns * np.array([1, -1, -1, -1], np.float32)).T  # the real part of each product, linear in quats
    chosen = np.abs(real).argmax(axis=1)
    quats = multiply(quats, turns[chosen])
    quats *= np.where(quats[:, :1] < 0, np.float32(-1), np.float32(1))
    return quats, np.take_along_axis(scales, sources[chosen], axis=1)


def rotation_matrices(quats: Floats) -> Floats:
    """[N, 3, 3] of unit quaternions [N, 4] (w, x, y, z)."""
    w, x, y, z = quats.T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows, dtype=np.float32), -1, 0)


def quats_of(matrices: NDArray[np.floating]) -> Floats:
    """Unit quaternions [N, 4] of rotation matrices [N, 3, 3], by whichever component is largest (Shepperd, 1978)."""
    m = matrices.astype(np.float64)
    xx, yy, zz = m[:, 0, 0], m[:, 1, 1], m[:, 2, 2]
    squares = np.stack([1 + xx + yy + zz, 1 + xx - yy - zz, 1 - xx + yy - zz, 1 - xx - yy + zz], axis=1)
    wx, wy, wz = m[:, 2, 1] - m[:, 1, 2], m[:, 0, 2] - m[:, 2, 0], m[:, 1, 0] - m[:, 0, 1]
    xy, xz, yz = m[:, 1, 0] + m[:, 0, 1], m[:, 0, 2] + m[:, 2, 0], m[:, 2, 1] + m[:, 1, 2]
    w2, x2, y2, z2 = squares.T
    rows = np.stack([[w2, wx, wy, wz], [wx, x2, xy, xz], [wy, xy, y2, yz], [wz, xz, yz, z2]])  # 4 q_i q_j
    chosen = np.moveaxis(rows, -1, 0)[np.arange(len(m)), squares.argmax(axis=1)]
    return unit_quats(chosen.astype(np.float32))


def multiply(a: Floats, b: Floats) -> Floats:
    aw, ax, ay, az = a.T
    bw, bx, by, bz = b.T
    parts = (
        aw * bw - ax * bx - ay * by - az * bz,
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
    )
    return np.stack(parts, axis=1)


@cache
def _octahedral_turns() -> tuple[Floats, NDArray[np.int64]]:
    """The 24 turns of a cube as quaternions [24, 4], and for each which old axis becomes the new x, y and z [24, 3]."""
    half = np.sqrt(0.5)
    quarter_turns = np.array([[half, half, 0, 0], [half, 0, half, 0], [half, 0, 0, half]], np.float32)
    turns = np.array([[1, 0, 0, 0]], np.float32)
    while len(turns) < 24:
        grown = np.concatenate([turns, *(multiply(turns, turn[None].repeat(len(turns), 0)) for turn in quarter_turns)])
        same = np.abs(grown @ grown.T) > 1 - 1e-4
        turns = grown[~np.tril(same, -1).any(axis=1)]
    return turns, np.abs(rotation_matrices(turns)).argmax(axis=1)
