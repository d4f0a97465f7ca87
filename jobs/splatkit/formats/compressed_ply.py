"""PlayCanvas' compressed PLY: chunks of 256 splats with their bounds, four 32-bit words per splat."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from plyfile import PlyData, PlyElement

from splatkit.errors import input_error
from splatkit.formats.packing import smallest_three
from splatkit.splats import SH_C0, SH_COEFFICIENTS, Floats, Splats, logit

CHUNK = 256
PACKED = ("packed_position", "packed_rotation", "packed_scale", "packed_color")
PLACE, SIZE, COLOUR = ("x", "y", "z"), ("scale_x", "scale_y", "scale_z"), ("r", "g", "b")
WORDS, BYTES = ("u4", "i4"), ("u1",)  # numpy's names of what a property may be
NUMBERS = (*BYTES, *WORDS, "i1", "i2", "u2", "f4", "f8")
Words = NDArray[np.uint32]


def is_compressed(ply: PlyData) -> bool:
    return "chunk" in ply and "vertex" in ply and PACKED[0] in ply["vertex"].data.dtype.names


def read_compressed_ply(ply: PlyData, path: Path) -> Splats:
    """Raises StageError (input_error) for elements that do not fit each other."""
    vertex, chunk = ply["vertex"], ply["chunk"]
    _require(vertex, PACKED, WORDS, path)
    _require(chunk, _bounds(*PLACE, *SIZE), NUMBERS, path)
    if len(chunk.data) * CHUNK < len(vertex.data):
        cause = f"{path.name} has {len(chunk.data)} chunks of {CHUNK} for {len(vertex.data)} splats"
        raise input_error("bad_ply", cause, "Export the scene again.")
    chunk_of = np.arange(len(vertex.data)) // CHUNK
    colour = _bytes(vertex["packed_color"])
    rgb = colour[:, :3]
    if {*_bounds(*COLOUR)} & {*chunk.data.dtype.names}:  # without them colours lie between 0 and 1
        _require(chunk, _bounds(*COLOUR), NUMBERS, path)
        rgb = _between(chunk, COLOUR, chunk_of, rgb)
    rotation = np.asarray(vertex["packed_rotation"], np.uint32)
    three = np.stack([_fraction(rotation, shift, 10) for shift in (20, 10, 0)], axis=1)
    return Splats(
        means=_between(chunk, PLACE, chunk_of, _thirds(vertex["packed_position"])),
        scales=_between(chunk, SIZE, chunk_of, _thirds(vertex["packed_scale"])),
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
    names = [f"f_rest_{i}" for i in range(columns)]
    _require(ply["sh"], names, BYTES, path)
    codes = np.stack([np.asarray(ply["sh"][name]) for name in names], axis=1).astype(np.float32)
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


def _bounds(*names: str) -> list[str]:
    return [f"{end}_{name}" for name in names for end in ("min", "max")]


def _require(element: PlyElement, names: Sequence[str], kinds: tuple[str, ...], path: Path) -> None:
    missing = [name for name in names if name not in element.data.dtype.names]
    if missing:
        cause = f"{path.name} lacks {', '.join(missing)} in its element {element.name!r}"
        raise input_error("missing_properties", cause, "Export the scene again.")
    for name in names:
        kind = element.data.dtype[name]
        if kind.str[1:] not in kinds:
            found = "a list" if kind.hasobject else kind.name
            cause = f"{path.name}: {name} of its element {element.name!r} is {found}; it must be {_in_words(kinds)}"
            raise input_error("bad_ply", cause, "Export the scene again.")


def _in_words(kinds: tuple[str, ...]) -> str:
    return "a number" if kinds == NUMBERS else " or ".join(np.dtype(kind).name for kind in kinds)
