"""A set of 3D Gaussians in the form in which they are trained."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

SH_C0 = 0.28209479177387814  # the constant spherical harmonic: colour = 0.5 + SH_C0 * sh0
SH_COEFFICIENTS = (0, 3, 8, 15)  # of one colour channel beyond the constant, by degree


@dataclass(frozen=True, eq=False)
class Splats:
    """N Gaussians; every array is float32. K is 0, 3, 8 or 15 for spherical harmonics of degree 0 to 3."""

    ARRAYS: ClassVar = ("means", "scales", "quats", "opacities", "sh0", "shN")

    means: Floats  # [N, 3]
    scales: Floats  # [N, 3] natural logarithm of the standard deviations
    quats: Floats  # [N, 4] w, x, y, z; any length but zero
    opacities: Floats  # [N] logit
    sh0: Floats  # [N, 3]
    shN: Floats  # noqa: N815 - [N, K, 3], the name gsplat and the SOG format give it
    antialiased: bool = False  # trained with Mip-Splatting's filter, and to be drawn with it
    on_white: bool = False  # trained before white, and to be shown before it

    def __post_init__(self) -> None:
        n = len(self.means)
        k = self.shN.shape[1] if self.shN.ndim == 3 else -1
        wanted = {
            "means": (n, 3),
            "scales": (n, 3),
            "quats": (n, 4),
            "opacities": (n,),
            "sh0": (n, 3),
            "shN": (n, k, 3),
        }
        for name, shape in wanted.items():
            array = getattr(self, name)
            if array.shape != shape or array.dtype != np.float32:
                raise ValueError(f"{name} is {array.dtype}{list(array.shape)}; it must be float32{list(shape)}")
        if k not in SH_COEFFICIENTS:
            raise ValueError(f"shN has {k} coefficients per channel; it must be one of {SH_COEFFICIENTS}")

    def __len__(self) -> int:
        return len(self.means)

    @property
    def sh_degree(self) -> int:
        return SH_COEFFICIENTS.index(self.shN.shape[1])

    @cached_property
    def alphas(self) -> Floats:
        """[N] opacity between 0 and 1."""
        return sigmoid(self.opacities)

    @property
    def nbytes(self) -> int:
        return sum(getattr(self, name).nbytes for name in self.ARRAYS)

    def take(self, chosen: NDArray[np.integer] | NDArray[np.bool_] | slice) -> "Splats":
        return replace(self, **{name: getattr(self, name)[chosen] for name in self.ARRAYS})

    def with_sh_degree(self, degree: int) -> "Splats":
        """The same splats without the bands above `degree`."""
        return replace(self, shN=self.shN[:, : SH_COEFFICIENTS[degree]])


def join(parts: Sequence[Splats]) -> Splats:
    joined: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in Splats.ARRAYS}
    return replace(parts[0], **joined)


def unit_quats(quats: Floats) -> Floats:
    return (quats / np.linalg.norm(quats, axis=1, keepdims=True)).astype(np.float32)


def sigmoid(logits: Floats) -> Floats:
    # 0.5 * (1 + tanh(x/2)) does not overflow, whatever the sign.
    return (0.5 + 0.5 * np.tanh(0.5 * logits)).astype(np.float32)


def logit(alphas: Floats, limit: float = 1e-6) -> Floats:
    """Inverse of sigmoid; values closer to 0 or 1 than `limit` are moved to it, as they have no finite logit."""
    inside = np.clip(alphas.astype(np.float64), limit, 1 - limit)
    return np.log(inside / (1 - inside)).astype(np.float32)
