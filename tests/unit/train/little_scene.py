"""A scene of a few hundred Gaussians, photographed by the CPU rasterizer, as a COLMAP text model with its photos."""

import math
from pathlib import Path

import numpy as np
import pycolmap
import torch
from PIL import Image

from splatkit.rasterizer.rasterize import rasterization

WIDTH, HEIGHT, FOCAL = 96, 64, 80.0
OFFSET, UNIT = np.array([500.0, -300.0, 40.0]), 25.0  # as a georeferenced model in metres would lie


def write_scene(folder: Path, *, views: int = 24, seed: int = 0, points: int = 300, k1: float | None = None) -> Path:
    """k1: names the camera SIMPLE_RADIAL of that distortion (the photos stay as they are)."""
    dice = torch.Generator().manual_seed(seed)
    count = 400
    means = torch.randn(count, 3, generator=dice) * torch.tensor([1.0, 1.0, 0.5])
    colors = torch.rand(count, 3, generator=dice)
    scales = torch.exp(torch.randn(count, 3, generator=dice) * 0.3 - 2.0)
    quats, opacities = torch.randn(count, 4, generator=dice), torch.full((count,), 0.9)
    lens = torch.tensor([[[FOCAL, 0, WIDTH / 2], [0, FOCAL, HEIGHT / 2], [0, 0, 1]]])
    images, model = folder / "images", folder / "sparse" / "0"
    images.mkdir(parents=True)
    model.mkdir(parents=True)
    lines = []
    for number in range(views):
        angle = 2 * math.pi * number / views
        pose = look_at(np.array([3.4 * math.cos(angle), 3.4 * math.sin(angle), 1.2 + 0.4 * math.sin(3 * angle)]))
        view = torch.tensor(pose, dtype=torch.float32)[None]
        image, _, _ = rasterization(
            means, quats, scales, opacities, colors, view, lens, WIDTH, HEIGHT, backgrounds=torch.full((1, 3), 0.1)
        )
        name = f"view_{number:02d}.png"
        Image.fromarray((image[0].clamp(0, 1) * 255).round().byte().numpy()).save(images / name)
        centre = -pose[:3, :3].T @ pose[:3, 3] * UNIT + OFFSET
        x, y, z, w = (float(q) for q in pycolmap.Rotation3d(pose[:3, :3]).quat)
        moved = " ".join(repr(float(t)) for t in -pose[:3, :3] @ centre)
        lines.append(f"{number + 1} {w!r} {x!r} {y!r} {z!r} {moved} 1 {name}\n\n")
    (model / "images.txt").write_text("".join(lines))
    camera = f"PINHOLE {WIDTH} {HEIGHT} {FOCAL} {FOCAL}" if k1 is None else f"SIMPLE_RADIAL {WIDTH} {HEIGHT} {FOCAL}"
    (model / "cameras.txt").write_text(f"1 {camera} {WIDTH / 2} {HEIGHT / 2} {'' if k1 is None else k1}\n")
    rows = []
    for number in range(points):
        x, y, z = (means[number].numpy() * UNIT + OFFSET).tolist()
        red, green, blue = (colors[number] * 255).int().tolist()
        rows.append(f"{number + 1} {x!r} {y!r} {z!r} {red} {green} {blue} 0.5\n")
    (model / "points3D.txt").write_text("".join(rows))
    return folder


def look_at(eye: np.ndarray) -> np.ndarray:
    """[4, 4] camera from world, looking at the origin with z up."""
    forward = -eye / np.linalg.norm(eye)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(forward, right), forward])
    pose[:3, 3] = -pose[:3, :3] @ eye
    return pose
