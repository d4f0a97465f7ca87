# mypy: disable-error-code="no-untyped-def,call-arg"
"""View-dependent colour: real spherical harmonics to degree 3, in the order of gsplat and of the 3DGS paper."""

import math

import numpy as np
from numba import njit

from splatkit.splats import SH_C0

C0 = SH_C0
C1 = 0.4886025119029199


@njit(nogil=True, cache=True, error_model="numpy")
def sh_basis(degree: int, x: float, y: float, z: float, out: np.ndarray) -> None:
    """Sloan, Efficient Spherical Harmonic Evaluation, JCGT 2013."""
    out[0] = C0
    if degree < 1:
        return
    out[1], out[2], out[3] = -C1 * y, C1 * z, -C1 * x
    if degree < 2:
        return
    out[4], out[5] = 1.0925484305920792 * x * y, -1.0925484305920792 * y * z
    out[6] = 0.9461746957575601 * z * z - 0.31539156525252005
    out[7], out[8] = -1.0925484305920792 * x * z, 0.5462742152960396 * (x * x - y * y)
    if degree < 3:
        return
    far = 0.4570457994644658 * (1 - 5 * z * z)
    out[9] = -0.5900435899266435 * y * (3 * x * x - y * y)
    out[10], out[11] = 2.890611442640554 * x * y * z, far * y
    out[12] = 0.3731763325901154 * z * (5 * z * z - 3)
    out[13], out[14] = far * x, 1.445305721320277 * z * (x * x - y * y)
    out[15] = -0.5900435899266435 * x * (x * x - 3 * y * y)


@njit(nogil=True, cache=True, error_model="numpy")
def _basis_gradient(degree: int, x: float, y: float, z: float, g: np.ndarray) -> tuple[float, float, float]:
    """Gradient over (x, y, z) of the sum of g[k] basis[k], as if the three were independent."""
    if degree < 1:
        return 0.0, 0.0, 0.0
    v_x, v_y, v_z = -C1 * g[3], -C1 * g[1], C1 * g[2]
    if degree >= 2:
        k, m, n = 1.0925484305920792, 0.5462742152960396, 0.9461746957575601
        v_x += k * (y * g[4] - z * g[7]) + 2 * m * x * g[8]
        v_y += k * (x * g[4] - z * g[5]) - 2 * m * y * g[8]
        v_z += -k * (y * g[5] + x * g[7]) + 2 * n * z * g[6]
    if degree >= 3:
        k, m, n, o = 0.5900435899266435, 2.890611442640554, 0.4570457994644658, 0.3731763325901154
        across, far = x * x - y * y, n * (1 - 5 * z * z)
        v_x += -6 * k * x * y * g[9] + m * y * z * g[10] + far * g[13] + m * x * z * g[14] - 3 * k * across * g[15]
        v_y += -3 * k * across * g[9] + m * x * z * g[10] + far * g[11] - m * y * z * g[14] + 6 * k * x * y * g[15]
        v_z += m * x * y * g[10] - 10 * n * z * (y * g[11] + x * g[13]) + 0.5 * m * across * g[14]
        v_z += o * (15 * z * z - 3) * g[12]
    return v_x, v_y, v_z


@njit(nogil=True, cache=True, error_model="numpy")
def sh_colors(first, last, means, coefficients, centre, seen, degree, colors):
    basis = np.empty(16)
    for n in range(first, last):
        if not seen[n]:
            continue
        x, y, z = means[n, 0] - centre[0], means[n, 1] - centre[1], means[n, 2] - centre[2]
        inverse = 1.0 / math.sqrt(x * x + y * y + z * z)
        sh_basis(degree, x * inverse, y * inverse, z * inverse, basis)
        red = green = blue = 0.5
        for k in range((degree + 1) ** 2):
            red += basis[k] * coefficients[n, k, 0]
            green += basis[k] * coefficients[n, k, 1]
            blue += basis[k] * coefficients[n, k, 2]
        colors[n, 0], colors[n, 1], colors[n, 2] = max(0.0, red), max(0.0, green), max(0.0, blue)


@njit(nogil=True, cache=True, error_model="numpy")
def sh_colors_backward(
    first, last, means, coefficients, centre, seen, colors, degree, v_colors, v_means, v_coefficients
):
    basis, g = np.empty(16), np.empty(16)
    for n in range(first, last):
        if not seen[n]:
            continue
        x, y, z = means[n, 0] - centre[0], means[n, 1] - centre[1], means[n, 2] - centre[2]
        inverse = 1.0 / math.sqrt(x * x + y * y + z * z)
        x, y, z = x * inverse, y * inverse, z * inverse
        sh_basis(degree, x, y, z, basis)
        # A colour held at zero passes no gradient on.
        red = v_colors[n, 0] if colors[n, 0] > 0 else np.float32(0)
        green = v_colors[n, 1] if colors[n, 1] > 0 else np.float32(0)
        blue = v_colors[n, 2] if colors[n, 2] > 0 else np.float32(0)
        for k in range((degree + 1) ** 2):
            g[k] = red * coefficients[n, k, 0] + green * coefficients[n, k, 1] + blue * coefficients[n, k, 2]
            v_coefficients[n, k, 0] = basis[k] * red
            v_coefficients[n, k, 1] = basis[k] * green
            v_coefficients[n, k, 2] = basis[k] * blue
        v_x, v_y, v_z = _basis_gradient(degree, x, y, z, g)
        radial = v_x * x + v_y * y + v_z * z
        v_means[n, 0] = (v_x - radial * x) * inverse
        v_means[n, 1] = (v_y - radial * y) * inverse
        v_means[n, 2] = (v_z - radial * z) * inverse
