# mypy: disable-error-code="no-untyped-def,call-arg"
"""Gaussians in space to Gaussians on the image plane (EWA splatting) and their gradients; conventions of gsplat 1.5."""

import math

import numpy as np
from numba import njit

ALPHA_THRESHOLD = 1.0 / 255.0  # less than this cannot change an 8-bit pixel
MAX_EXTENT = 3.33  # standard deviations at which an opaque Gaussian falls under the threshold
EPS2D = 0.3  # pixels^2 added to each Gaussian's variance, about what a pixel blurs
NEAR, FAR = 0.01, 1e10


def view_of(camera_from_world: np.ndarray, intrinsics: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The 3x4 pose and (fx, fy, cx, cy) of a [4, 4] and a [3, 3], in double precision, as the kernels take them."""
    pose = np.ascontiguousarray(camera_from_world[:3], np.float64)
    return pose, np.ascontiguousarray(intrinsics[[0, 1, 0, 1], [0, 1, 2, 2]], np.float64)


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _rotation(q: np.ndarray) -> tuple[float, ...]:
    """(w, x, y, z) of the unit quaternion, the inverse of the given one's length, then the matrix by rows."""
    inverse = 1.0 / math.sqrt(q[0] * q[0] + q[1] * q[1] + q[2] * q[2] + q[3] * q[3])
    w, x, y, z = q[0] * inverse, q[1] * inverse, q[2] * inverse, q[3] * inverse
    return (
        w, x, y, z, inverse,
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    )  # fmt: skip


@njit(nogil=True, cache=True, error_model="numpy")
def _camera_axes(pose: np.ndarray, q: np.ndarray, s: np.ndarray, axes: np.ndarray) -> None:
    """axes[i, k]: the Gaussian's k-th half axis in camera coordinates."""
    _, _, _, _, _, r00, r01, r02, r10, r11, r12, r20, r21, r22 = _rotation(q)
    for i in range(3):
        a, b, c = pose[i, 0], pose[i, 1], pose[i, 2]
        axes[i, 0] = (a * r00 + b * r10 + c * r20) * s[0]
        axes[i, 1] = (a * r01 + b * r11 + c * r21) * s[1]
        axes[i, 2] = (a * r02 + b * r12 + c * r22) * s[2]


@njit(nogil=True, cache=True, error_model="numpy")
def _clamped(slope: float, centre: float, focal: float, size: float) -> float:
    """The Jacobian is taken no further than 15 % of the frame outside it, where it would explode."""
    margin = 0.3 * 0.5 * size / focal
    return min((size - centre) / focal + margin, max(-centre / focal - margin, slope))


@njit(nogil=True, cache=True, error_model="numpy")
def project_gaussians(
    first, last, means, quats, scales, opacities, pose, lens, width, height, eps2d, near, far, radius_clip, antialiased,
    means2d, depths, conics, compensations, radii,
):  # fmt: skip
    fx, fy, cx, cy = lens
    axes = np.empty((3, 3))
    for n in range(first, last):
        m = means[n]
        x = pose[0, 0] * m[0] + pose[0, 1] * m[1] + pose[0, 2] * m[2] + pose[0, 3]
        y = pose[1, 0] * m[0] + pose[1, 1] * m[1] + pose[1, 2] * m[2] + pose[1, 3]
        z = pose[2, 0] * m[0] + pose[2, 1] * m[1] + pose[2, 2] * m[2] + pose[2, 3]
        if not (near <= z <= far):
            continue
        _camera_axes(pose, quats[n], scales[n], axes)
        slope_x, slope_y = _clamped(x / z, cx, fx, width), _clamped(y / z, cy, fy, height)
        xx = xy = yy = 0.0
        for k in range(3):
            u = fx / z * (axes[0, k] - slope_x * axes[2, k])
            v = fy / z * (axes[1, k] - slope_y * axes[2, k])
            xx += u * u
            xy += u * v
            yy += v * v
        sharp = xx * yy - xy * xy
        xx += eps2d
        yy += eps2d
        det = xx * yy - xy * xy
        if not det > 0:
            continue
        compensation = math.sqrt(max(0.0, sharp / det))
        opacity = opacities[n] * (compensation if antialiased else 1.0)
        if not opacity >= ALPHA_THRESHOLD:
            continue
        extent = min(MAX_EXTENT, math.sqrt(2 * math.log(opacity / ALPHA_THRESHOLD)))
        radius_x, radius_y = math.ceil(extent * math.sqrt(xx)), math.ceil(extent * math.sqrt(yy))
        u, v = fx * x / z + cx, fy * y / z + cy
        if radius_x <= radius_clip and radius_y <= radius_clip:
            continue
        if u + radius_x <= 0 or u - radius_x >= width or v + radius_y <= 0 or v - radius_y >= height:
            continue
        radii[n, 0], radii[n, 1] = min(radius_x, 1e9), min(radius_y, 1e9)
        means2d[n, 0], means2d[n, 1] = u, v
        depths[n] = z
        conics[n, 0], conics[n, 1], conics[n, 2] = yy / det, -xy / det, xx / det
        compensations[n] = compensation


@njit(nogil=True, cache=True, error_model="numpy")
def project_gaussians_backward(
    first, last, means, quats, scales, pose, lens, width, height, eps2d, antialiased,
    conics, compensations, radii, v_means2d, v_depths, v_conics, v_compensations, v_means, v_quats, v_scales,
):  # fmt: skip
    fx, fy, cx, cy = lens
    axes, v_axes = np.empty((3, 3)), np.empty((3, 3))
    for n in range(first, last):
        if radii[n, 0] <= 0 or radii[n, 1] <= 0:
            continue
        m = means[n]
        x = pose[0, 0] * m[0] + pose[0, 1] * m[1] + pose[0, 2] * m[2] + pose[0, 3]
        y = pose[1, 0] * m[0] + pose[1, 1] * m[1] + pose[1, 2] * m[2] + pose[1, 3]
        z = pose[2, 0] * m[0] + pose[2, 1] * m[1] + pose[2, 2] * m[2] + pose[2, 3]
        _camera_axes(pose, quats[n], scales[n], axes)
        slope_x, slope_y = _clamped(x / z, cx, fx, width), _clamped(y / z, cy, fy, height)
        # Through the inverse: d conic = -conic d cov conic. g are gradients of the entries of cov, xy counted once.
        a, b, c = float(conics[n, 0]), float(conics[n, 1]), float(conics[n, 2])
        va, vb, vc = float(v_conics[n, 0]), 0.5 * v_conics[n, 1], float(v_conics[n, 2])
        p, q, r, s = a * va + b * vb, a * vb + b * vc, b * va + c * vb, b * vb + c * vc
        g_xx, g_xy, g_yy = -(p * a + q * b), -(p * b + q * c) - (r * a + s * b), -(r * b + s * c)
        if antialiased and compensations[n] > 0:
            # compensation^2 = sharp / det with sharp = det - eps2d (xx + yy) + eps2d^2
            inverse_det = a * c - b * b
            ratio = float(compensations[n]) ** 2
            half = 0.5 * v_compensations[n] / compensations[n] * inverse_det
            xx, yy, xy = c / inverse_det, a / inverse_det, -b / inverse_det
            g_xx += half * ((yy - eps2d) - ratio * yy)
            g_yy += half * ((xx - eps2d) - ratio * xx)
            g_xy += half * (ratio - 1) * 2 * xy
        v_j00 = v_j02 = v_j11 = v_j12 = 0.0
        for k in range(3):
            u = fx / z * (axes[0, k] - slope_x * axes[2, k])
            v = fy / z * (axes[1, k] - slope_y * axes[2, k])
            v_u, v_v = 2 * g_xx * u + g_xy * v, 2 * g_yy * v + g_xy * u
            v_axes[0, k], v_axes[1, k] = v_u * fx / z, v_v * fy / z
            v_axes[2, k] = -(v_u * fx * slope_x + v_v * fy * slope_y) / z
            v_j00 += v_u * axes[0, k]
            v_j02 += v_u * axes[2, k]
            v_j11 += v_v * axes[1, k]
            v_j12 += v_v * axes[2, k]
        v_x, v_y = fx / z * v_means2d[n, 0], fy / z * v_means2d[n, 1]
        v_z = v_depths[n] - (x * v_x + y * v_y) / z - (fx * v_j00 + fy * v_j11) / (z * z)
        v_z += (fx * slope_x * v_j02 + fy * slope_y * v_j12) / (z * z)
        if slope_x == x / z:
            v_x -= fx / (z * z) * v_j02
            v_z += fx * x / (z * z * z) * v_j02
        if slope_y == y / z:
            v_y -= fy / (z * z) * v_j12
            v_z += fy * y / (z * z * z) * v_j12
        for i in range(3):
            v_means[n, i] += pose[0, i] * v_x + pose[1, i] * v_y + pose[2, i] * v_z
        _axes_backward(pose, quats[n], scales[n], v_axes, v_quats[n], v_scales[n])


@njit(nogil=True, cache=True, error_model="numpy")
def _axes_backward(pose, quat, s, v_axes, v_quat, v_scale):
    """From the gradient of the camera-space half axes to those of the (not normalised) quaternion and the scales."""
    w, x, y, z, inverse, r00, r01, r02, r10, r11, r12, r20, r21, r22 = _rotation(quat)
    rotation = ((r00, r01, r02), (r10, r11, r12), (r20, r21, r22))
    g = np.empty((3, 3))
    for k in range(3):
        for i in range(3):
            along = pose[0, i] * v_axes[0, k] + pose[1, i] * v_axes[1, k] + pose[2, i] * v_axes[2, k]
            v_scale[k] += rotation[i][k] * along
            g[i, k] = along * s[k]
    v_w = 2 * (x * (g[2, 1] - g[1, 2]) + y * (g[0, 2] - g[2, 0]) + z * (g[1, 0] - g[0, 1]))
    v_x = 2 * (
        -2 * x * (g[1, 1] + g[2, 2]) + y * (g[1, 0] + g[0, 1]) + z * (g[2, 0] + g[0, 2]) + w * (g[2, 1] - g[1, 2])
    )
    v_y = 2 * (
        x * (g[1, 0] + g[0, 1]) - 2 * y * (g[0, 0] + g[2, 2]) + z * (g[2, 1] + g[1, 2]) + w * (g[0, 2] - g[2, 0])
    )
    v_z = 2 * (
        x * (g[2, 0] + g[0, 2]) + y * (g[2, 1] + g[1, 2]) - 2 * z * (g[0, 0] + g[1, 1]) + w * (g[1, 0] - g[0, 1])
    )
    along = v_w * w + v_x * x + v_y * y + v_z * z
    v_quat[0] += (v_w - along * w) * inverse
    v_quat[1] += (v_x - along * x) * inverse
    v_quat[2] += (v_y - along * y) * inverse
    v_quat[3] += (v_z - along * z) * inverse
