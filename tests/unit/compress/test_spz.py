"""SPZ: files packed by hand after its description, and damaged ones."""

import gzip
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import zstandard

from splatkit.errors import StageError
from splatkit.formats.spz import read_spz
from splatworks.contract.exit_codes import ExitCode

POSITIONS = struct.pack("<6i", 6144, -8192, 1024, 0, 4095, -1)  # 12 bits behind the point
POSITIONS = b"".join(POSITIONS[i : i + 3] for i in range(0, 24, 4))  # 24 bits each
ALPHAS, COLOURS, SCALES = bytes([128, 255]), bytes([255, 0, 51, 204, 128, 0]), bytes([160, 0, 80, 16, 32, 48])
ROTATIONS_2 = bytes([204, 51, 128, 128, 128, 128])  # x, y, z
# Number of the one left out among x, y, z, w, then sign and 9 bits of each other one.
ROTATIONS_3 = struct.pack("<2I", 3 << 30 | 511 << 20, 0 << 30 | 0 << 20 | (512 + 256) << 10 | 128)
HARMONICS = bytes([255, 128, 0, 160, 128, 128, 96, 128, 128] * 2)  # red, green, blue of each coefficient


def header(version: int, count: int = 2, degree: int = 1, bits: int = 12, flags: int = 0, streams: int = 0) -> bytes:
    return struct.pack("<4sIIBBBB", b"NGSP", version, count, degree, bits, flags, streams)


def body(version: int) -> list[bytes]:
    rotations = ROTATIONS_2 if version == 2 else ROTATIONS_3
    return [POSITIONS, ALPHAS, COLOURS, SCALES, rotations, HARMONICS]


def packed(version: int, head: bytes | None = None) -> bytes:
    if version < 4:
        return gzip.compress((head or header(version)) + b"".join(body(version)))
    frames = [zstandard.ZstdCompressor(write_checksum=True).compress(stream) for stream in body(version)]
    sizes = [struct.pack("<QQ", len(frame), len(stream)) for frame, stream in zip(frames, body(version), strict=True)]
    start = (head or header(4, streams=6)) + struct.pack("<I", 32) + bytes(12)
    return start + b"".join(sizes) + b"".join(frames)


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(StageError) as caught:
        read_spz(path)
    assert (caught.value.code, caught.value.exit_code, caught.value.retryable) == (
        "bad_spz",
        ExitCode.INPUT_ERROR,
        False,
    )
    return str(caught.value)


@pytest.mark.parametrize("version", [2, 3, 4])
def test_every_field_is_where_the_format_puts_it(tmp_path: Path, version: int) -> None:
    splats = read_spz(written(tmp_path / "scene.spz", packed(version)))
    # Its axes are right, up, back; ours right, down, forward.
    np.testing.assert_allclose(splats.means, [[1.5, 2, -0.25], [0, -4095 / 4096, 1 / 4096]], rtol=1e-6)
    np.testing.assert_allclose(splats.alphas, [128 / 255, 1], atol=2e-6)
    np.testing.assert_allclose(splats.sh0 * 0.15 + 0.5, [[1, 0, 0.2], [0.8, 128 / 255, 0]], atol=1e-6)
    np.testing.assert_allclose(splats.scales, [[0, -10, -5], [-9, -8, -7]])
    # Of degree 1 are y, z and x, the first two of which turn round.
    np.testing.assert_allclose(splats.shN, [[[-127 / 128, 0, 1], [-0.25, 0, 0], [-0.25, 0, 0]]] * 2)
    assert splats.antialiased is False


@pytest.mark.parametrize(
    ("version", "wanted"),
    [
        (2, [[np.sqrt(0.28), 0.6, 0.6, -0.004], [1, 0.004, -0.004, -0.004]]),
        (3, [[np.sqrt(0.5), np.sqrt(0.5), 0, 0], [0.17712, 0.91823, 0, 0.35424]]),
        (4, [[np.sqrt(0.5), np.sqrt(0.5), 0, 0], [0.17712, 0.91823, 0, 0.35424]]),
    ],
)
def test_rotations_are_read_as_their_version_stores_them(
    tmp_path: Path, version: int, wanted: list[list[float]]
) -> None:
    quats = read_spz(written(tmp_path / "scene.spz", packed(version))).quats
    np.testing.assert_allclose(quats, wanted, atol=2e-4)


@pytest.mark.parametrize("version", [2, 3, 4])
def test_the_flag_of_the_antialiasing_filter_is_read(tmp_path: Path, version: int) -> None:
    head = header(version, flags=1, streams=6)
    assert read_spz(written(tmp_path / "scene.spz", packed(version, head))).antialiased


def test_extensions_behind_the_splats_are_left_alone_and_a_flood_is_not_unpacked(tmp_path: Path) -> None:
    whole = header(3) + b"".join(body(3))
    assert len(read_spz(written(tmp_path / "scene.spz", gzip.compress(whole + bytes(100))))) == 2
    assert "1,048,576 bytes follow" in refusal(written(tmp_path / "bad.spz", gzip.compress(whole + bytes(2 << 20))))


@pytest.mark.parametrize("version", [2, 3, 4])
def test_a_file_that_is_cut_off_anywhere_is_refused(tmp_path: Path, version: int) -> None:
    whole = packed(version)
    for length in (0, 1, 15, 16, 20, 40, len(whole) // 2, len(whole) - 9, len(whole) - 4, len(whole) - 1):
        refusal(written(tmp_path / "bad.spz", whole[:length]))


def test_a_wrong_checksum_is_refused(tmp_path: Path) -> None:
    whole = packed(3)
    assert "CRC" in refusal(written(tmp_path / "bad.spz", whole[:-8] + bytes(4) + whole[-4:]))
    assert "hecksum" in refusal(written(tmp_path / "bad.spz", packed(4)[:-4] + bytes(4)))


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (header(1), "version 1"),
        (header(4), "version 4; versions 2, 3 (gzip)"),
        (b"JUNK" + header(3)[4:], "b'JUNK'"),
        (header(3, degree=9), "2 splats of degree 9"),
        (header(3, count=0), "0 splats"),
        (header(3, count=3), "ends after"),
        (header(3, count=50_000_001), "50,000,001 splats"),
        (header(3, bits=25), "25 fractional bits; they have 24"),
        (header(3, bits=255), "255 fractional bits"),
    ],
)
def test_a_header_that_cannot_be_is_refused(tmp_path: Path, head: bytes, words: str) -> None:
    assert words in refusal(written(tmp_path / "bad.spz", packed(3, head)))


def test_streams_that_do_not_fit_their_table_are_refused(tmp_path: Path) -> None:
    whole = packed(4)
    assert "5 streams; 6 are needed" in refusal(written(tmp_path / "bad.spz", packed(4, header(4, streams=5))))
    assert "ends after" in refusal(written(tmp_path / "bad.spz", whole[:16] + b"\xff\xff\xff\xff" + whole[20:]))
    assert "announces 17 bytes" in refusal(written(tmp_path / "bad.spz", whole[:40] + b"\x11" + whole[41:]))
    frame = whole.index(b"\x28\xb5\x2f\xfd")
    larger = whole[: frame + 5] + b"\xff" + whole[frame + 6 :]  # the frame's own size
    assert "unpacks to 255 bytes; 18" in refusal(written(tmp_path / "bad.spz", larger))


def test_a_small_file_that_unpacks_to_gigabytes_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    bomb = gzip.compress(header(3, count=40_000_000, degree=3) + bytes(10_000_000), 1)
    tracemalloc.start()
    try:
        assert "40,000,000 splats are announced" in refusal(written(tmp_path / "bomb.spz", bomb))
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()
