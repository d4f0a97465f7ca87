# mypy: disable-error-code="no-untyped-def,call-arg"
"""Structural similarity of two images with its gradient, fused into one pass over the rows for a CPU.

The measure of Wang et al. 2004 as Gaussian splatting uses it: an 11x11 window of sigma 1.5, zeros beyond the edge, mean
over all pixels and channels.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from splatkit.threads import in_parallel

Floats = NDArray[np.float32]
RADIUS, SIGMA = 5, 1.5
C1, C2 = 0.01**2, 0.03**2  # for values in 0..1
_bell = np.exp(-(np.arange(-RADIUS, RADIUS + 1) ** 2) / (2 * SIGMA**2))
WINDOW = (_bell / _bell.sum()).astype(np.float32)
MATH = {"contract", "reassoc", "nsz", "arcp"}


def ssim_and_derivatives(a: Floats, b: Floats) -> tuple[float, Floats]:
    """The mean over two [H, W, C] images, and [3, H, W * C] for ssim_gradient."""
    height, width, channels = a.shape
    partial, rows = np.empty((3, height, width * channels), np.float32), np.empty(height)
    flat = (height, width * channels)
    in_parallel(height, _ssim_rows, a.reshape(flat), b.reshape(flat), channels, partial, rows)
    return float(rows.sum() / a.size), partial


def ssim_gradient(a: Floats, b: Floats, partial: Floats, scale: float) -> Floats:
    """[H, W, C] over the first image, times `scale`."""
    height, width, channels = a.shape
    out, flat = np.empty_like(a), (height, width * channels)
    share = np.float32(scale / a.size)
    in_parallel(
        height, _ssim_rows_backward, a.reshape(flat), b.reshape(flat), channels, partial, share, out.reshape(flat)
    )
    return out


@njit(nogil=True, cache=True, fastmath=MATH, error_model="numpy")
def _across(line, width, channels, out):
    """line is padded by RADIUS pixels on both sides; pixels are interleaved, so a neighbour is `channels` further."""
    for x in range(width):
        out[x] = np.float32(0)
    for k in range(2 * RADIUS + 1):
        weight, shifted = WINDOW[k], line[k * channels :]
        for x in range(width):
            out[x] += weight * shifted[x]


@njit(nogil=True, cache=True, fastmath=MATH, error_model="numpy")
def _ssim_rows(first, last, a, b, channels, partial, rows):
    """partial: the derivatives over the window's means of a, a^2 and ab. rows: each row's sum of the similarity."""
    height, width = a.shape
    pad = RADIUS * channels
    lines, blurred = np.zeros((5, width + 2 * pad), np.float32), np.empty((5, width), np.float32)
    c1, c2, two = np.float32(C1), np.float32(C2), np.float32(2)
    for y in range(first, last):
        lines[:, :] = np.float32(0)
        for k in range(max(0, RADIUS - y), min(2 * RADIUS + 1, height + RADIUS - y)):
            weight, row_a, row_b = WINDOW[k], a[y + k - RADIUS], b[y + k - RADIUS]
            l0, l1, l2, l3, l4 = lines[0, pad:], lines[1, pad:], lines[2, pad:], lines[3, pad:], lines[4, pad:]
            for x in range(width):
                l0[x] += weight * row_a[x]
                l1[x] += weight * row_b[x]
            for x in range(width):
                l2[x] += weight * row_a[x] * row_a[x]
                l3[x] += weight * row_b[x] * row_b[x]
            for x in range(width):
                l4[x] += weight * row_a[x] * row_b[x]
        for i in range(5):
            _across(lines[i], width, channels, blurred[i])
        total = np.float32(0)
        m0, m1, m2, m3, m4 = blurred[0], blurred[1], blurred[2], blurred[3], blurred[4]
        p0, p1, p2 = partial[0, y], partial[1, y], partial[2, y]
        for x in range(width):
            ma, mb = m0[x], m1[x]
            near, likeness = two * ma * mb + c1, two * (m4[x] - ma * mb) + c2
            size, spread = ma * ma + mb * mb + c1, m2[x] - ma * ma + m3[x] - mb * mb + c2
            inverse = np.float32(1) / (size * spread)
            similarity = near * likeness * inverse
            total += similarity
            v_square, v_product = -similarity / spread, two * near * inverse
            p0[x] = two * (mb * likeness * inverse - ma * similarity / size - ma * v_square) - mb * v_product
            p1[x], p2[x] = v_square, v_product
        rows[y] = total


@njit(nogil=True, cache=True, fastmath=MATH, error_model="numpy")
def _ssim_rows_backward(first, last, a, b, channels, partial, scale, out):
    height, width = a.shape
    pad = RADIUS * channels
    lines, blurred = np.zeros((3, width + 2 * pad), np.float32), np.empty((3, width), np.float32)
    for y in range(first, last):
        lines[:, :] = np.float32(0)
        for k in range(max(0, RADIUS - y), min(2 * RADIUS + 1, height + RADIUS - y)):
            for i in range(3):
                weight, line, source = WINDOW[k], lines[i, pad:], partial[i, y + k - RADIUS]
                for x in range(width):
                    line[x] += weight * source[x]
        for i in range(3):
            _across(lines[i], width, channels, blurred[i])
        m0, m1, m2, row_a, row_b, row = blurred[0], blurred[1], blurred[2], a[y], b[y], out[y]
        for x in range(width):
            row[x] = scale * (m0[x] + np.float32(2) * row_a[x] * m1[x] + row_b[x] * m2[x])
