"""PlayCanvas' compressed PLY: chunks of 256 splats with their bounds, four 32-bit words per splat."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from plyfile import PlyData, PlyElement

from splatkit.errors import input_error
from splatkit.formats.packing import smallest_three
from splatkit.splats import SH_C0, SH_COEFFICIENTS, Floats, Splats, logit

CHUNK = 256
PACKED = ("packed_position", "packed_rotation", "packed_scale", "packed_color")
Words = NDArray[np.uint32]


def is_compressed(ply: PlyData) -> bool:
    return "chunk" in ply and "vertex" in ply and PACKED[0] in ply["vertex"].data.dtype.names


def read_compressed_ply(ply: PlyData, path: Path) -> Splats:
    """Raises StageError (input_error) for elements that do not fit each other."""
    vertex, chunk = ply["vertex"], ply["chunk"]
    bounds = [f"{end}_{name}" for name in ("x", "y", "z", "scale_x", "scale_y", "scale_z") for end in ("min", "max")]
    _require(vertex, PACKED, path)
    _require(chunk, bounds, path)
    if len(chunk.data) * CHUNK < len(vertex.data):
        cause = f"{path.name} has {len(chunk.data)} chunks of {CHUNK} for {len(vertex.data)} splats"
        raise input_error("bad_ply", cause, "Export the scene again.")
    chunk_of = np.arange(len(vertex.data)) // CHUNK
    colour = _bytes(vertex["packed_color"])
    rgb = colour[:, :3]
    if "min_r" in chunk.data.dtype.names:
        rgb = _between(chunk, ("r", "g", "b"), chunk_of, rgb)
    rotation = np.asarray(vertex["packed_rotation"], np.uint32)
    three = np.stack([_fraction(rotation, shift, 10) for shift in (20, 10, 0)], axis=1)
    return Splats(
        means=_between(chunk, ("x", "y", "z"), chunk_of, _thirds(vertex["packed_position"])),
        scales=_between(chunk, ("scale_x", "scale_y", "scale_z"), chunk_of, _thirds(vertex["packed_scale"])),
        quats=smallest_three((three - 0.5) * np.sqrt(2.0), rotation >> 30),
        opacities=logit(colour[:, 3]),
        sh0=((rgb - 0.5) / SH_C0).astype(np.float32),
        shN=_harmonics(ply, len(vertex.data), path),
    )


def _harmonics(ply: PlyData, count: int, path: Path) -> Floats:
    if "sh" not in ply:
        return np.zeros((count, 0, 3), np.float32)
    columns = len(ply["sh"].properties)
    if columns not in [3 * k for k in SH_COEFFICIENTS] or len(ply["sh"].data) != count:
        cause = f"{path.name} has {columns} harmonics for {len(ply['sh'].data)} of {count} splats"
        raise input_error("odd_harmonics", cause, "Export the scene again.")
    codes = np.stack([np.asarray(ply["sh"][f"f_rest_{i}"]) for i in range(columns)], axis=1).astype(np.float32)
    values = np.where(codes == 0, 0, np.where(codes == 255, 1, (codes + 0.5) / 256))
    return np.ascontiguousarray(((values - 0.5) * 8).astype(np.float32).reshape(count, 3, -1).transpose(0, 2, 1))


def _between(chunk: PlyElement, names: tuple[str, ...], chunk_of: NDArray[np.intp], fractions: Floats) -> Floats:
    low = np.stack([np.asarray(chunk[f"min_{name}"]) for name in names], axis=1)[chunk_of]
    high = np.stack([np.asarray(chunk[f"max_{name}"]) for name in names], axis=1)[chunk_of]
    return (low * (1 - fractions) + high * fractions).astype(np.float32)


def _thirds(packed: Words) -> Floats:
    words = np.asarray(packed, np.uint32)
    return np.stack([_fraction(words, 21, 11), _fraction(words, 11, 10), _fraction(words, 0, 11)], axis=1)


def _bytes(packed: Words) -> Floats:
    words = np.asarray(packed, np.uint32)
    return np.stack([_fraction(words, shift, 8) for shift in (24, 16, 8, 0)], axis=1)


def _fraction(words: Words, shift: int, bits: int) -> Floats:
    most = (1 << bits) - 1
    return ((words >> np.uint32(shift)) & np.uint32(most)).astype(np.float32) / np.float32(most)


def _require(element: PlyElement, names: tuple[str, ...] | list[str], path: Path) -> None:
    missing = [name for name in names if name not in element.data.dtype.names]
    if missing:
        cause = f"{path.name} lacks {', '.join(missing)} in its element {element.name!r}"
        raise input_error("missing_properties", cause, "Export the scene again.")
