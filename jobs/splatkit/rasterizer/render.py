"""A picture of Gaussians without gradients, and without torch, whose import alone takes the memory of a large scene."""

import numpy as np
from numpy.typing import NDArray

from splatkit.rasterizer.projection import EPS2D, FAR, NEAR, project_gaussians, view_of
from splatkit.rasterizer.tile_kernels import render_tiles
from splatkit.rasterizer.tile_lists import RED, TILE, TileLists, tile_lists
from splatkit.threads import in_parallel

Floats = NDArray[np.float32]
CHANNELS = 3  # composited in one pass


def render(
    means: Floats,  # [N, 3]
    quats: Floats,  # [N, 4] w x y z, of any length
    scales: Floats,  # [N, 3]
    opacities: Floats,  # [N]
    colors: Floats,  # [N, 3]
    camera_from_world: NDArray[np.floating],  # [4, 4]
    intrinsics: NDArray[np.floating],  # [3, 3]
    width: int,
    height: int,
    antialiased: bool = False,
    background: float = 0.0,
) -> Floats:
    """[height, width, 3] on this grey; what rasterization gives for the same."""
    count = len(means)
    means2d, conics = np.zeros((count, 2), np.float32), np.zeros((count, 3), np.float32)
    depths, compensations = np.zeros(count, np.float32), np.zeros(count, np.float32)
    radii = np.zeros((count, 2), np.int32)
    pose, lens = view_of(camera_from_world, intrinsics)
    camera = (pose, lens, float(width), float(height), EPS2D, NEAR, FAR, 0.0, antialiased)
    projected = (means2d, depths, conics, compensations, radii)
    in_parallel(count, project_gaussians, means, quats, scales, opacities, *camera, *projected)
    alphas = opacities * compensations if antialiased else opacities
    lists = tile_lists(width, height, means2d, conics, alphas, depths, radii)
    image, transmittance = np.empty((height, width, CHANNELS), np.float32), np.empty((height, width), np.float32)
    last_member = np.empty((height, width), np.int32)
    composite(lists, colors, np.full(CHANNELS, background, np.float32), image, transmittance, last_member)
    return image


def composite(
    lists: TileLists, colors: Floats, background: Floats, image: Floats, transmittance: Floats,
    last_member: NDArray[np.int32],
) -> None:  # fmt: skip
    """Tiles, front to back: colors [N, <=3] over background [3] into the last three, see render_tiles."""
    columns = -(-image.shape[1] // TILE)
    arguments = (columns, lists.offsets, lists.members, with_colors(lists, colors), background)
    in_parallel(len(lists.offsets) - 1, render_tiles, *arguments, image, transmittance, last_member)


def with_colors(lists: TileLists, colors: Floats) -> Floats:
    lists.packed[:, RED:] = 0
    lists.packed[:, RED : RED + colors.shape[-1]] = colors[lists.order]
    return lists.packed
