"""splat.ply as trainers write it: one `vertex` element, one property per number, any degree of spherical harmonics."""

import io
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from reprlib import repr as shortened
from typing import Any

import numpy as np
from numpy.typing import NDArray
from plyfile import PlyData, PlyElement, PlyElementParseError, PlyParseError

from splatkit.errors import StageError, input_error
from splatkit.formats.compressed_ply import is_compressed, read_compressed_ply
from splatkit.formats.limits import MAX_SPLATS
from splatkit.splats import SH_COEFFICIENTS, Floats, Splats
from splatkit.whole_files import whole_file

ROWS_AT_ONCE = 1 << 15
OTHERS_ASKED = bytes(code if code < 128 else ord("?") for code in range(256))
POSITION, COLOUR = ("x", "y", "z"), ("f_dc_0", "f_dc_1", "f_dc_2")
SHAPE = ("opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3")
WANTED: tuple[str, ...] = POSITION + COLOUR + SHAPE
# Comments by which a PLY of ours says how it was trained; other programs do not say.
ANTIALIASED, ON_WHITE = "rasterize_mode antialiased", "background white"
TRAINED = "Give the splat.ply that a trainer of 3D Gaussians writes (train.py, gsplat, the INRIA code, SuperSplat)."


def read_ply(path: Path) -> Splats:
    """Plain or PlayCanvas' compressed PLY. NaN and infinity are let through.

    Raises StageError (input_error) for anything else.
    """
    ply = open_ply(path)
    vertex = vertex_element(ply, path)
    if is_compressed(ply):
        return read_compressed_ply(ply, path)
    names = [prop.name for prop in vertex.properties]
    missing = [name for name in WANTED if name not in names]
    if missing:
        kind = "a mesh or a plain point cloud" if {"x", "y", "z"} <= set(names) else "something else"
        cause = f"{path.name} lacks the properties {', '.join(missing)}: it is {kind}, not a splat"
        raise input_error("missing_properties", cause, TRAINED)
    rest = sorted((name for name in names if re.fullmatch(r"f_rest_\d+", name)), key=lambda name: int(name[7:]))
    if len(rest) not in [3 * count for count in SH_COEFFICIENTS]:
        cause = f"{path.name} has {len(rest)} f_rest properties; allowed are 0, 9, 24 or 45 (degree 0 to 3)"
        raise input_error("odd_harmonics", cause, TRAINED)
    return replace(
        _gather(vertex.data, rest, path), antialiased=ANTIALIASED in ply.comments, on_white=ON_WHITE in ply.comments
    )


def write_ply(path: Path, splats: Splats) -> None:
    """Binary, little endian, in the property order of the INRIA code; appears under its name only when complete."""
    rest = 3 * splats.shN.shape[1]
    names = [*POSITION, "nx", "ny", "nz", *COLOUR, *(f"f_rest_{i}" for i in range(rest)), *SHAPE]
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(splats)}"]
    said = {ANTIALIASED: splats.antialiased, ON_WHITE: splats.on_white}
    header[2:2] = [f"comment {comment}" for comment, true in said.items() if true]
    header += [f"property float {name}" for name in names]
    with whole_file(path) as beside, beside.open("wb") as file:
        file.write("\n".join([*header, "end_header\n"]).encode())
        for start in range(0, len(splats), ROWS_AT_ONCE):
            file.write(_rows(splats.take(slice(start, start + ROWS_AT_ONCE))).astype("<f4").tobytes())


def open_ply(path: Path) -> PlyData:
    """Maps the file into memory instead of reading it where it is binary."""
    end = _checked_header(path)
    try:
        with _AsciiHeader(path, end) as file:
            return PlyData.read(file, mmap="r")
    except PlyElementParseError as problem:
        if "early end-of-file" in str(problem):
            raise _truncated(path, str(problem)) from problem
        raise input_error("bad_ply", f"{path.name} is not a PLY file that can be read: {problem}", TRAINED) from problem
    except (PlyParseError, UnicodeDecodeError) as problem:
        raise input_error("bad_ply", f"{path.name} is not a PLY file that can be read: {problem}", TRAINED) from problem
    except (ValueError, MemoryError, OverflowError) as problem:  # numpy's words for a file that ends too early
        raise _truncated(path, str(problem)) from problem


def vertex_element(ply: PlyData, path: Path) -> PlyElement:
    if "vertex" not in ply:
        found = ", ".join(element.name for element in ply) or "none"
        raise input_error("bad_ply", f"{path.name} has no element 'vertex', only: {found}", TRAINED)
    if not len(ply["vertex"].data):
        raise input_error(
            "no_splats", f"{path.name} holds no splat", "Look at the training's report: nothing was left."
        )
    return ply["vertex"]


class _AsciiHeader(io.BufferedReader):
    """For plyfile, which refuses comments in any other encoding though nothing depends on what they say."""

    def __init__(self, path: Path, end: int) -> None:
        super().__init__(io.FileIO(path))
        self._end = end

    def read(self, size: int | None = -1, /) -> bytes:
        in_header = self.tell() < self._end
        content = super().read(size)
        return content.translate(OTHERS_ASKED) if in_header else content


def _checked_header(path: Path) -> int:
    """Where the header ends. Looked at before plyfile does, which would first allocate what it promises."""
    with path.open("rb") as file:
        head = file.read(1 << 16)
    if not head.startswith((b"ply\n", b"ply\r")):
        raise input_error("bad_ply", f"{path.name} is not a PLY file: it begins with {head[:8]!r}", TRAINED)
    newline = b"\r\n" if head[3:5] == b"\r\n" else head[3:4]
    header, found, _ = head.partition(newline + b"end_header" + newline)
    if not found:
        raise _truncated(path, "the header does not end")
    element, names = "", {""}
    for line in header.split(newline):
        words = line.decode("ascii", "replace").split()
        if words[:1] == ["element"] and len(words) == 3:
            element = words[1]
            _require_count(path, element, words[2])
        elif words[:1] != ["property"]:
            continue
        name = f"element {element}" if words[0] == "element" else f"property {words[-1]} of element {element}"
        if name in names:
            raise input_error("bad_ply", f"{path.name} announces {name} twice", "Export it again, by another program.")
        names.add(name)
    return len(header) + len(found)


def _require_count(path: Path, element: str, count: str) -> None:
    if not re.fullmatch(r"[0-9]+", count):
        raise input_error("bad_ply", f"{path.name} announces {shortened(count)} of {element}: no count", TRAINED)
    digits = count.lstrip("0") or "0"
    if len(digits) > 18 or int(digits) > MAX_SPLATS:  # Python reads no number of any length
        number = f"a number of {len(digits)} digits" if len(digits) > 18 else f"{int(digits):,}"
        cause = f"{path.name} announces {number} of {element}; at most {MAX_SPLATS:,} are read"
        raise input_error("too_many_splats", cause, "Split the scene, or prune it before this stage.")
    if int(digits) > path.stat().st_size:
        raise _truncated(path, f"{int(digits):,} of {element} in {path.stat().st_size:,} bytes")


def _truncated(path: Path, detail: str) -> StageError:
    fix = "Copy it again; the copy or the training was cut off."
    return input_error("truncated_ply", f"{path.name} ends before its data does: {detail}", fix)


def _gather(rows: NDArray[np.void], rest: list[str], path: Path) -> Splats:
    shapes = {"means": (3,), "scales": (3,), "quats": (4,), "opacities": (), "sh0": (3,), "shN": (len(rest) // 3, 3)}
    arrays: dict[str, Any] = {name: np.empty((len(rows), *shape), np.float32) for name, shape in shapes.items()}
    splats = Splats(**arrays)
    shape = [splats.opacities, *splats.scales.T, *splats.quats.T]
    targets = dict(zip(WANTED, [*splats.means.T, *splats.sh0.T, *shape], strict=True))
    for index, name in enumerate(rest):  # channel by channel in the file
        channel, coefficient = divmod(index, len(rest) // 3)
        targets[name] = splats.shN[:, coefficient, channel]
    try:
        start = 0
        for piece in _pieces(rows, path):
            for name, target in targets.items():
                target[start : start + len(piece)] = piece[name]
            start += len(piece)
    except (ValueError, TypeError) as problem:  # a list property under a wanted name
        raise input_error("bad_ply", f"{path.name}: {problem}", TRAINED) from problem
    return splats


def _pieces(rows: NDArray[Any], path: Path) -> Iterator[NDArray[Any]]:
    """What is mapped is read instead: pages of a map would stay in memory until the end, as much as the file has."""
    if not isinstance(rows, np.memmap):
        yield from (rows[start : start + ROWS_AT_ONCE] for start in range(0, len(rows), ROWS_AT_ONCE))
        return
    with path.open("rb") as file:
        file.seek(rows.offset)
        for start in range(0, len(rows), ROWS_AT_ONCE):
            count = min(ROWS_AT_ONCE, len(rows) - start)
            yield np.frombuffer(file.read(count * rows.dtype.itemsize), rows.dtype)


def _rows(splats: Splats) -> Floats:
    rest = splats.shN.transpose(0, 2, 1).reshape(len(splats), -1)
    normals = np.zeros_like(splats.means)
    parts = (splats.means, normals, splats.sh0, rest, splats.opacities[:, None], splats.scales, splats.quats)
    return np.concatenate(parts, axis=1)
