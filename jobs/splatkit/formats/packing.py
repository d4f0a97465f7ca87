"""Quaternions of which three components are stored: the largest follows from the others."""

import numpy as np
from numpy.typing import NDArray

from splatkit.splats import Floats

OTHER_COMPONENTS = np.array([[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]])


def smallest_three(three: NDArray[np.floating], dropped: NDArray[np.integer]) -> Floats:
    """[N, 4] from the components other than number `dropped`, in order."""
    quats = np.empty((len(three), 4), np.float32)
    np.put_along_axis(quats, OTHER_COMPONENTS[dropped], three.astype(np.float32), axis=1)
    largest = np.sqrt(np.maximum(0, 1 - (three**2).sum(axis=1)))
    np.put_along_axis(quats, dropped.astype(np.int64)[:, None], largest[:, None].astype(np.float32), axis=1)
    return quats
