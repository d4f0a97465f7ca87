"""splat.ply has its places in float32, as all viewers read them: far from the origin these lie on a coarse grid."""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from splatkit.errors import input_error
from splatkit.splats import Splats
from splatkit.threads import cores
from splatkit.train.scene import Scene

LARGEST_OF_DISTANCE = 0.05  # a grid so wide, in distances of neighbouring points, is refused
# In widths of Gaussians, which get about a fifth as wide as those distances: a place is then off by a tenth of a width.
LARGEST_OF_WIDTH = 0.25
NEIGHBOURHOODS = 10_000  # points that are asked for their neighbour


def require_precision(scene: Scene) -> None:
    """Raises StageError where no float32 can tell the Gaussians of this scene apart."""
    points = scene.frame.to_input(scene.points)
    some = np.random.default_rng(0).permutation(len(points))[:NEIGHBOURHOODS]
    distances = cKDTree(scene.points).query(scene.points[some], k=2, workers=cores())[0][:, 1] * scene.frame.unit
    apart = distances[distances > 0]  # the others are points that came twice
    step = float32_step(points)
    if not len(apart) or step <= LARGEST_OF_DISTANCE * np.median(apart):
        return
    shift = ", ".join(f"{-value:.0f}" for value in scene.frame.origin)
    cause = (
        f"the model lies so far from its origin that a splat's places can only be {step:g} apart (float32); "
        f"its points are {np.median(apart):.3g} apart"
    )
    fix = f"Move the model, for example by ({shift}): docs/guides/train.md has the command. sfm.py writes local models."
    raise input_error("far_from_origin", cause, fix)


def too_coarse(splats: Splats) -> str:
    """What to tell of a splat whose Gaussians are small beside the grid that they lie on; else nothing."""
    step, width = float32_step(splats.means), float(np.median(np.exp(splats.scales)))
    if step <= LARGEST_OF_WIDTH * width:
        return ""
    return f"the splat is coarse: its places are {step:.3g} apart (float32), its Gaussians {width:.3g} wide"


def float32_step(places: NDArray[np.floating]) -> float:
    """Between two numbers that float32 has, where most of the places [N, 3] are: on their worst axis."""
    return float(np.spacing(np.median(np.abs(places), axis=0).max().astype(np.float32)))
