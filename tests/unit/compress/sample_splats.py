"""A small scene with the statistics of a real one."""

import numpy as np

from splatkit.splats import SH_COEFFICIENTS, Splats, unit_quats


def ball(count: int, degree: int = 0, seed: int = 1) -> Splats:
    """Discs on a coloured, bumpy sphere of radius 1 around (0, 0, 0)."""
    draw = np.random.default_rng(seed)
    normal = draw.normal(size=(count, 3))
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    means = normal * (1 + 0.1 * np.sin(5 * normal[:, [1, 2, 0]]))
    size = np.log(2.5 / np.sqrt(count))
    scales = np.stack(
        [draw.normal(size, 0.3, count), draw.normal(size, 0.3, count), draw.normal(size - 3, 0.3, count)], 1
    )
    # Shortest turn from z to the normal, then some way around the normal.
    half = np.stack([1 + normal[:, 2], -normal[:, 1], normal[:, 0], np.zeros(count)], axis=1)
    quats = unit_quats((half + draw.normal(0, 0.05, half.shape)).astype(np.float32))
    bands = np.repeat([0.2, 0.1, 0.05], [3, 5, 7])[: SH_COEFFICIENTS[degree], None]
    waves = np.sin(3 * normal @ draw.normal(size=(3, 3 * len(bands)))).reshape(count, len(bands), 3)
    return Splats(
        means=means.astype(np.float32),
        scales=scales.astype(np.float32),
        quats=quats,
        opacities=draw.normal(2, 1.5, count).astype(np.float32),
        sh0=(np.sin(4 * normal) + draw.normal(0, 0.1, (count, 3))).astype(np.float32),
        shN=((waves + draw.normal(0, 0.3, waves.shape)) * bands).astype(np.float32),
    )
