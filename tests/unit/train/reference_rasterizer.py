"""Splatting as plain as possible, in double precision, all Gaussians on all pixels; torch does the gradients."""

import torch
from torch import Tensor

C0 = 0.28209479177387814


def render(
    means: Tensor, quats: Tensor, scales: Tensor, opacities: Tensor, colors: Tensor, viewmat: Tensor, k: Tensor,
    width: int, height: int, *, sh_degree: int | None = None, background: Tensor | None = None,
    antialiased: bool = False, eps2d: float = 0.3, near: float = 0.01,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Colours [H, W, 3], alpha [H, W], accumulated depth [H, W]."""
    rotation, translation = viewmat[:3, :3], viewmat[:3, 3]
    local = means @ rotation.T + translation
    covariance = rotation @ _covariances(quats, scales) @ rotation.T
    x, y, z = local.unbind(-1)
    fx, fy, cx, cy = k[0, 0], k[1, 1], k[0, 2], k[1, 2]
    margin_x, margin_y = 0.15 * width / fx, 0.15 * height / fy
    slope_x = (x / z).clamp(-cx / fx - margin_x, (width - cx) / fx + margin_x)
    slope_y = (y / z).clamp(-cy / fy - margin_y, (height - cy) / fy + margin_y)
    zero = torch.zeros_like(z)
    jacobian = torch.stack([fx / z, zero, -fx * slope_x / z, zero, fy / z, -fy * slope_y / z], -1).view(-1, 2, 3)
    flat = jacobian @ covariance @ jacobian.transpose(1, 2)
    blurred = flat + eps2d * torch.eye(2, dtype=flat.dtype)
    if antialiased:
        ratio = torch.linalg.det(flat) / torch.linalg.det(blurred)
        opacities = opacities * ratio.clamp(min=0).sqrt()
    conics = torch.linalg.inv(blurred)
    centres = torch.stack([fx * x / z + cx, fy * y / z + cy], -1)
    if sh_degree is not None:
        centre = -rotation.T @ translation
        colors = (spherical_harmonics(sh_degree, means - centre, colors) + 0.5).clamp(min=0)
    rows, columns = torch.meshgrid(
        torch.arange(height, dtype=means.dtype) + 0.5, torch.arange(width, dtype=means.dtype) + 0.5, indexing="ij"
    )
    image = means.new_zeros(height, width, 3)
    depth = means.new_zeros(height, width)
    transmittance = means.new_ones(height, width)
    live = torch.ones(height, width, dtype=torch.bool)
    for n in torch.argsort(z, stable=True).tolist():
        if z[n] < near:
            continue
        dx, dy = centres[n, 0] - columns, centres[n, 1] - rows
        sigma = 0.5 * (conics[n, 0, 0] * dx * dx + conics[n, 1, 1] * dy * dy) + conics[n, 0, 1] * dx * dy
        alpha = (opacities[n] * torch.exp(-sigma)).clamp(max=0.999)
        alpha = torch.where(live & (sigma >= 0) & (alpha >= 1 / 255), alpha, torch.zeros_like(alpha))
        after = transmittance * (1 - alpha)
        live = live & (after > 1e-4)
        weight = torch.where(live, alpha * transmittance, torch.zeros_like(alpha))
        image = image + weight[..., None] * colors[n]
        depth = depth + weight * z[n]
        transmittance = torch.where(live, after, transmittance)
    if background is not None:
        image = image + transmittance[..., None] * background
    return image, 1 - transmittance, depth


def _covariances(quats: Tensor, scales: Tensor) -> Tensor:
    w, x, y, z = (quats / quats.norm(dim=-1, keepdim=True)).unbind(-1)
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    axes = torch.stack(rows, -1).view(-1, 3, 3) * scales[:, None, :]
    return axes @ axes.transpose(1, 2)


def spherical_harmonics(degree: int, directions: Tensor, coefficients: Tensor) -> Tensor:
    """The textbook polynomials of the 3DGS paper's code, in Cartesian form."""
    x, y, z = (directions / directions.norm(dim=-1, keepdim=True)).unbind(-1)
    xx, yy, zz = x * x, y * y, z * z
    basis = [torch.full_like(x, C0)]
    if degree > 0:
        basis += [-0.4886025119029199 * y, 0.4886025119029199 * z, -0.4886025119029199 * x]
    if degree > 1:
        basis += [
            1.0925484305920792 * x * y, -1.0925484305920792 * y * z, 0.31539156525252005 * (2 * zz - xx - yy),
            -1.0925484305920792 * x * z, 0.5462742152960396 * (xx - yy),
        ]  # fmt: skip
    if degree > 2:
        basis += [
            -0.5900435899266435 * y * (3 * xx - yy), 2.890611442640554 * x * y * z,
            -0.4570457994644658 * y * (4 * zz - xx - yy), 0.3731763325901154 * z * (2 * zz - 3 * xx - 3 * yy),
            -0.4570457994644658 * x * (4 * zz - xx - yy), 1.445305721320277 * z * (xx - yy),
            -0.5900435899266435 * x * (xx - 3 * yy),
        ]  # fmt: skip
    weights = torch.stack(basis, -1)
    return (weights[..., None] * coefficients[:, : weights.shape[-1]]).sum(1)
