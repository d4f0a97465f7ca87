"""splat.ply: what is written is what is read, and files from strangers end in an error that says what is wrong."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.lib.recfunctions import repack_fields
from plyfile import PlyData, PlyElement

from splatkit.errors import StageError
from splatkit.formats.ply import read_ply, write_ply
from splatkit.splats import SH_COEFFICIENTS, Splats
from splatworks.contract.exit_codes import ExitCode


def random_splats(count: int, degree: int, seed: int = 1) -> Splats:
    draw = np.random.default_rng(seed)
    shapes = [(count, 3), (count, 3), (count, 4), (count,), (count, 3), (count, SH_COEFFICIENTS[degree], 3)]
    return Splats(*(draw.normal(size=shape).astype(np.float32) for shape in shapes))


def assert_same(one: Splats, other: Splats) -> None:
    for field in fields(Splats):
        np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name), field.name)


def refusal(path: Path) -> StageError:
    with pytest.raises(StageError) as caught:
        read_ply(path)
    assert caught.value.exit_code == ExitCode.INPUT_ERROR
    return caught.value


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_every_degree_survives_a_round_trip_bit_for_bit(tmp_path: Path, degree: int) -> None:
    splats = random_splats(70_001, degree)  # more than one chunk
    write_ply(tmp_path / "splat.ply", splats)
    assert_same(read_ply(tmp_path / "splat.ply"), splats)
    assert [path.name for path in tmp_path.iterdir()] == ["splat.ply"]


@pytest.mark.parametrize(("antialiased", "on_white"), [(False, False), (False, True), (True, False), (True, True)])
def test_a_file_says_how_it_was_trained(tmp_path: Path, antialiased: bool, on_white: bool) -> None:
    write_ply(tmp_path / "splat.ply", replace(random_splats(3, 0), antialiased=antialiased, on_white=on_white))
    read = read_ply(tmp_path / "splat.ply")
    assert (read.antialiased, read.on_white) == (antialiased, on_white)


def test_harmonics_are_written_channel_major_as_the_inria_code_does(tmp_path: Path) -> None:
    splats = random_splats(3, 1)
    write_ply(tmp_path / "splat.ply", splats)
    vertex = PlyData.read(tmp_path / "splat.ply")["vertex"]
    np.testing.assert_array_equal(vertex["f_rest_4"], splats.shN[:, 1, 1])  # coefficient 1 of green: 3 * 1 + 1


@pytest.mark.parametrize("form", ["ascii", "big_endian", "reordered"])
def test_other_layouts_of_the_same_splats_read_the_same(tmp_path: Path, form: str) -> None:
    splats = random_splats(500, 2)
    write_ply(tmp_path / "splat.ply", splats)
    rows = np.array(PlyData.read(tmp_path / "splat.ply")["vertex"].data)
    if form == "reordered":
        rows = repack_fields(rows[sorted(rows.dtype.names or (), reverse=True)])
        rows = rows.astype([(name, "<f8") for name in rows.dtype.names or ()])
    order = ">" if form == "big_endian" else "<"
    PlyData([PlyElement.describe(rows, "vertex")], text=form == "ascii", byte_order=order).write(tmp_path / "other.ply")
    other = read_ply(tmp_path / "other.ply")
    for field in fields(Splats):
        np.testing.assert_allclose(getattr(other, field.name), getattr(splats, field.name), rtol=1e-6)


def test_a_file_that_is_no_ply_is_refused_with_its_first_bytes(tmp_path: Path) -> None:
    (tmp_path / "splat.ply").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert "PNG" in refusal(tmp_path / "splat.ply").cause


@pytest.mark.parametrize("kept", [0.001, 0.5, 0.9999])
def test_a_truncated_file_is_called_truncated(tmp_path: Path, kept: float) -> None:
    write_ply(tmp_path / "splat.ply", random_splats(5000, 0))
    whole = (tmp_path / "splat.ply").read_bytes()
    (tmp_path / "splat.ply").write_bytes(whole[: int(len(whole) * kept)])
    assert refusal(tmp_path / "splat.ply").code == "truncated_ply"


def test_a_truncated_ascii_file_is_refused(tmp_path: Path) -> None:
    write_ply(tmp_path / "splat.ply", random_splats(50, 0))
    PlyData([PlyData.read(tmp_path / "splat.ply")["vertex"]], text=True).write(tmp_path / "text.ply")
    lines = (tmp_path / "text.ply").read_text().splitlines()
    (tmp_path / "text.ply").write_text("\n".join(lines[:-20]))
    assert refusal(tmp_path / "text.ply").code in ("truncated_ply", "bad_ply")


def test_missing_properties_are_named(tmp_path: Path) -> None:
    rows = np.zeros(4, [("x", "f4"), ("y", "f4"), ("z", "f4"), ("opacity", "f4")])
    PlyData([PlyElement.describe(rows, "vertex")]).write(tmp_path / "points.ply")
    problem = refusal(tmp_path / "points.ply")
    assert problem.code == "missing_properties"
    assert "f_dc_0" in str(problem) and "rot_3" in str(problem) and "opacity" not in str(problem)


def test_a_number_of_harmonics_that_no_degree_has_is_refused(tmp_path: Path) -> None:
    write_ply(tmp_path / "splat.ply", random_splats(4, 1))
    rows = np.array(PlyData.read(tmp_path / "splat.ply")["vertex"].data)
    kept: Any = repack_fields(rows[[name for name in rows.dtype.names or () if name != "f_rest_8"]])
    PlyData([PlyElement.describe(kept, "vertex")]).write(tmp_path / "odd.ply")
    assert "8 f_rest" in str(refusal(tmp_path / "odd.ply"))


def test_no_splats_is_an_error_and_not_an_empty_scene(tmp_path: Path) -> None:
    write_ply(tmp_path / "splat.ply", random_splats(0, 0))
    assert refusal(tmp_path / "splat.ply").code == "no_splats"


@pytest.mark.parametrize(
    ("count", "code"), [(10**9, "too_many_splats"), (10**19, "too_many_splats"), (40_000_000, "truncated_ply")]
)
def test_a_header_that_promises_the_moon_allocates_nothing(tmp_path: Path, count: int, code: str) -> None:
    write_ply(tmp_path / "splat.ply", random_splats(10, 0))
    whole = (tmp_path / "splat.ply").read_bytes().replace(b"vertex 10", b"vertex %d" % count)
    (tmp_path / "splat.ply").write_bytes(whole)
    assert refusal(tmp_path / "splat.ply").code == code


def test_a_list_where_a_number_belongs_is_refused(tmp_path: Path) -> None:
    write_ply(tmp_path / "splat.ply", random_splats(10, 0))
    whole = (tmp_path / "splat.ply").read_bytes().replace(b"property float x", b"property list uchar float x")
    (tmp_path / "splat.ply").write_bytes(whole)
    assert refusal(tmp_path / "splat.ply").code in ("bad_ply", "truncated_ply")


def with_header(path: Path, old: bytes, new: bytes) -> Path:
    write_ply(path, random_splats(10, 0))
    whole = path.read_bytes()
    assert old in whole
    path.write_bytes(whole.replace(old, new, 1))
    return path


@pytest.mark.parametrize(
    ("count", "code", "words"),
    [
        (b"9" * 5000, "too_many_splats", "a number of 5000 digits of vertex"),
        (b"1_000_000_000", "bad_ply", "'1_000_000_000' of vertex"),
        (b"+1000000000", "bad_ply", "'+1000000000' of vertex"),
        (b"-10", "bad_ply", "'-10' of vertex"),
    ],
)
def test_a_count_that_is_none_is_refused_as_such(tmp_path: Path, count: bytes, code: str, words: str) -> None:
    problem = refusal(with_header(tmp_path / "splat.ply", b"vertex 10", b"vertex " + count))
    assert problem.code == code and words in str(problem)


@pytest.mark.parametrize(
    "comment",
    [b"element face 99999999999", b"end_header", "aufgenommen in Łódź".encode(), b"caf\xe9 \x85", b"property float x"],
)
def test_what_a_comment_says_changes_nothing(tmp_path: Path, comment: bytes) -> None:
    path = with_header(tmp_path / "splat.ply", b"element vertex", b"comment " + comment + b"\nelement vertex")
    assert_same(read_ply(path), random_splats(10, 0))


def test_a_comment_does_not_hide_a_count_that_is_too_large(tmp_path: Path) -> None:
    path = with_header(tmp_path / "splat.ply", b"element vertex 10", b"comment end_header\nelement vertex 1000000000")
    assert refusal(path).code == "too_many_splats"


def test_a_strange_comment_does_not_hide_that_the_filter_was_used(tmp_path: Path) -> None:
    comments = "comment Łódź\ncomment rasterize_mode antialiased\nelement vertex".encode()
    assert read_ply(with_header(tmp_path / "splat.ply", b"element vertex", comments)).antialiased


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b"property float nx", b"property float x", "property x of element vertex twice"),
        (b"end_header", b"element vertex 3\nproperty float x\nend_header", "element vertex twice"),
    ],
)
def test_what_is_announced_twice_is_named_and_not_called_truncated(
    tmp_path: Path, old: bytes, new: bytes, words: str
) -> None:
    problem = refusal(with_header(tmp_path / "splat.ply", old, new))
    assert problem.code == "bad_ply" and words in str(problem)


def test_a_property_of_the_same_name_in_another_element_is_none_of_our_business(tmp_path: Path) -> None:
    more = b"element camera 0\nproperty float x\nproperty float y\nend_header"
    assert_same(read_ply(with_header(tmp_path / "splat.ply", b"end_header", more)), random_splats(10, 0))


@pytest.mark.parametrize("newline", [b"\r\n", b"\r"])
def test_lines_may_end_in_other_ways(tmp_path: Path, newline: bytes) -> None:
    write_ply(tmp_path / "splat.ply", random_splats(10, 0))
    header, end, data = (tmp_path / "splat.ply").read_bytes().partition(b"end_header\n")
    (tmp_path / "splat.ply").write_bytes((header + end).replace(b"\n", newline) + data)
    assert_same(read_ply(tmp_path / "splat.ply"), random_splats(10, 0))
