"""PlayCanvas' compressed PLY: files packed by hand after its description, and others that do not fit it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from splatkit.errors import StageError
from splatkit.formats.ply import read_ply
from splatworks.contract.exit_codes import ExitCode

CHUNK = 256
SH_C0 = 0.28209479177387814
BOUNDS = [f"{end}_{name}" for end in ("min", "max") for name in ("x", "y", "z", "scale_x", "scale_y", "scale_z")]
COLOURS = [f"{end}_{name}" for end in ("min", "max") for name in ("r", "g", "b")]
# Of the two chunks: x, y, z and scales from and to, then r, g, b from and to.
FIRST = [-1, -2, -3, -8, -8, -8, 1, 2, 3, -2, -2, -2]
SECOND = [10, 20, 30, -4, -5, -6, 11, 22, 33, -3, -3, -3]
FLOATS = {name: "float" for name in BOUNDS}
WORDS = {f"packed_{name}": "uint" for name in ("position", "rotation", "scale", "color")}


def header(elements: dict[str, tuple[int, dict[str, str]]]) -> bytes:
    lines = ["ply", "format binary_little_endian 1.0"]
    for element, (count, properties) in elements.items():
        lines.append(f"element {element} {count}")
        lines += [f"property {kind} {name}" for name, kind in properties.items()]
    return "\n".join([*lines, "end_header\n"]).encode()


def words(position: Sequence[int], rotation: Sequence[int], scale: Sequence[int], colour: Sequence[int]) -> list[int]:
    """Fields from the top of each word: 11, 10, 11 bits; 2, 10, 10, 10; 11, 10, 11; 8, 8, 8, 8."""
    thirds = [a << 21 | b << 11 | c for a, b, c in (position, scale)]
    return [
        thirds[0],
        rotation[0] << 30 | rotation[1] << 20 | rotation[2] << 10 | rotation[3],
        thirds[1],
        colour[0] << 24 | colour[1] << 16 | colour[2] << 8 | colour[3],
    ]


LOWEST = words((0, 0, 0), (0, 511, 511, 511), (0, 0, 0), (0, 0, 0, 0))
HIGHEST = words((2047, 1023, 2047), (3, 1023, 511, 0), (2047, 1023, 2047), (255, 255, 255, 255))
MIXED = words((1025, 513, 1024), (1, 511, 1023, 511), (0, 1023, 1024), (255, 0, 51, 128))


def write(path: Path, chunks: list[list[float]], colours: bool = False, harmonics: int = 0) -> Path:
    """257 splats: the lowest 255 times, a mixed one, and the highest in the second chunk."""
    rows = np.array([LOWEST] * 255 + [MIXED, HIGHEST], "<u4")
    properties = FLOATS | ({name: "float" for name in COLOURS} if colours else {})
    elements = {"chunk": (len(chunks), properties), "vertex": (len(rows), WORDS)}
    content = np.array(chunks, "<f4").tobytes() + rows.tobytes()
    if harmonics:
        elements["sh"] = len(rows), {f"f_rest_{i}": "uchar" for i in range(harmonics)}
        codes = np.zeros((len(rows), harmonics), np.uint8)
        codes[0, :4] = 255, 128, 127, 1
        content += codes.tobytes()
    path.write_bytes(header(elements) + content)
    return path


def refusal(path: Path) -> StageError:
    with pytest.raises(StageError) as caught:
        read_ply(path)
    assert caught.value.exit_code == ExitCode.INPUT_ERROR
    return caught.value


def test_every_field_is_where_the_format_puts_it(tmp_path: Path) -> None:
    splats = read_ply(write(tmp_path / "scene.ply", [FIRST, SECOND]))
    assert (len(splats), splats.sh_degree) == (257, 0)
    np.testing.assert_allclose(splats.means[[0, 256]], [[-1, -2, -3], [11, 22, 33]], rtol=1e-6)
    np.testing.assert_allclose(
        splats.means[255], [-1 + 2 * 1025 / 2047, -2 + 4 * 513 / 1023, -3 + 6 * 1024 / 2047], rtol=1e-4
    )
    np.testing.assert_allclose(splats.scales[[0, 256]], [[-8, -8, -8], [-3, -3, -3]], rtol=1e-6)
    np.testing.assert_allclose(splats.scales[255], [-8, -2, -8 + 6 * 1024 / 2047], rtol=1e-6)
    np.testing.assert_allclose(splats.sh0[[0, 256], 0] * SH_C0, [-0.5, 0.5], rtol=1e-6)
    np.testing.assert_allclose(splats.sh0[255] * SH_C0, [0.5, -0.5, -0.3], rtol=1e-6)
    np.testing.assert_allclose(splats.alphas[[0, 255, 256]], [0, 128 / 255, 1], atol=2e-6)


def test_rotations_are_the_smallest_three_after_w(tmp_path: Path) -> None:
    quats = read_ply(write(tmp_path / "scene.ply", [FIRST, SECOND])).quats
    half, zero = np.sqrt(0.5), (511 / 1023 - 0.5) * np.sqrt(2)
    np.testing.assert_allclose(quats[0], [1, zero, zero, zero], atol=2e-6)  # w was left out
    np.testing.assert_allclose(quats[255], [zero, half, half, zero], atol=1e-3)  # x was: w, y, z are stored
    np.testing.assert_allclose(quats[256], [half, zero, -half, 0], atol=1e-3)  # z was: w, x, y are stored
    np.testing.assert_allclose(np.linalg.norm(quats, axis=1), 1, atol=1e-3)


def test_colours_lie_between_their_bounds_where_a_chunk_has_them(tmp_path: Path) -> None:
    chunks = [[*FIRST, -1, 0, 0.25, 1, 0.5, 0.75], [*SECOND, 0, 0, 0, 2, 1, 0.5]]
    splats = read_ply(write(tmp_path / "scene.ply", chunks, colours=True))
    np.testing.assert_allclose(splats.sh0[0] * SH_C0 + 0.5, [-1, 0, 0.25], atol=1e-6)
    np.testing.assert_allclose(splats.sh0[255] * SH_C0 + 0.5, [1, 0, 0.35], atol=1e-6)
    np.testing.assert_allclose(splats.sh0[256] * SH_C0 + 0.5, [2, 1, 0.5], atol=1e-6)


def test_harmonics_are_read_channel_by_channel(tmp_path: Path) -> None:
    splats = read_ply(write(tmp_path / "scene.ply", [FIRST, SECOND], harmonics=9))
    assert splats.sh_degree == 1
    np.testing.assert_allclose(splats.shN[0, :, 0], [4, 8 * (128.5 / 256 - 0.5), 8 * (127.5 / 256 - 0.5)])
    np.testing.assert_allclose(splats.shN[0, 0, 1], 8 * (1.5 / 256 - 0.5))
    np.testing.assert_allclose(splats.shN[1:], -4)


def test_too_few_chunks_are_refused(tmp_path: Path) -> None:
    assert "1 chunks of 256 for 257 splats" in str(refusal(write(tmp_path / "bad.ply", [FIRST])))


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        (b"uint packed_color", b"list uchar uint packed_color", "packed_color of its element 'vertex' is a list"),
        (b"uint packed_scale", b"float packed_scale", "packed_scale of its element 'vertex' is float32"),
        (b"uint packed_rotation", b"uint packed_turn", "lacks packed_rotation in its element 'vertex'"),
        (b"float min_x", b"list uchar float min_x", "min_x of its element 'chunk' is a list"),
        (b"float max_scale_z", b"float max_scale_w", "lacks max_scale_z in its element 'chunk'"),
        (b"float max_b", b"float max_blue", "lacks max_b in its element 'chunk'"),
        (b"uchar f_rest_8", b"uchar q_8", "lacks f_rest_8 in its element 'sh'"),
        (b"uchar f_rest_8", b"char f_rest_8", "f_rest_8 of its element 'sh' is int8; it must be uint8"),
    ],
)
def test_a_property_of_another_kind_or_name_is_named(tmp_path: Path, old: bytes, new: bytes, named: str) -> None:
    chunks = [[*bounds, 0, 0, 0, 1, 1, 1] for bounds in (FIRST, SECOND)]
    path = write(tmp_path / "bad.ply", chunks, colours=True, harmonics=9)
    whole = path.read_bytes().replace(b"property " + old, b"property " + new)
    path.write_bytes(whole + bytes(100_000))  # enough for lists of any length
    assert named in str(refusal(path))
