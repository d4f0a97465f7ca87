"""Splats turned as a whole, harmonics included: viewers take y as down, georeferenced scenes have z up."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from splatkit.orientation import multiply, quats_of
from splatkit.rasterizer.sh import sh_basis
from splatkit.splats import SH_COEFFICIENTS, Splats

Matrix = NDArray[np.float64]

ROWS_AT_ONCE = 1 << 16
DIRECTIONS = 64  # more than the 7 numbers of the third band, for a well-posed fit
UPRIGHT: dict[str, Matrix] = {
    "-y": np.eye(3),
    "z": np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]),
    "y": np.diag([1.0, -1, -1]),
    "-z": np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]),
}  # what turns a scene whose up is so into one whose up is -y


def turned(splats: Splats, turn: Matrix) -> Splats:
    """Every Gaussian moved by the rotation [3, 3], and its colour seen from the moved direction as before."""
    if np.array_equal(turn, np.eye(3)):
        return splats
    harmonics = np.empty_like(splats.shN)
    for degree in range(1, splats.sh_degree + 1):
        band, matrix = slice(SH_COEFFICIENTS[degree - 1], SH_COEFFICIENTS[degree]), band_turn(turn, degree)
        for start in range(0, len(splats), ROWS_AT_ONCE):
            part = slice(start, start + ROWS_AT_ONCE)
            harmonics[part, band] = np.einsum("ij,njc->nic", matrix, splats.shN[part, band])
    quat = quats_of(turn[None])
    return replace(
        splats,
        means=(splats.means @ turn.T.astype(np.float32)),
        quats=multiply(quat.repeat(len(splats), 0), splats.quats),
        shN=harmonics,
    )


def band_turn(turn: Matrix, degree: int) -> NDArray[np.float32]:
    """[2 degree + 1] squared: coefficients before to coefficients after, solved from directions and their images."""
    directions = np.random.default_rng(0).normal(size=(DIRECTIONS, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    band = slice(degree**2, (degree + 1) ** 2)
    before, after = _basis_at(directions)[:, band], _basis_at(directions @ turn.T)[:, band]
    return np.linalg.lstsq(after, before, rcond=None)[0].astype(np.float32)


def _basis_at(directions: Matrix) -> Matrix:
    values = np.zeros((len(directions), 16))
    for row, (x, y, z) in zip(values, directions, strict=True):
        sh_basis(3, x, y, z, row)
    return values
