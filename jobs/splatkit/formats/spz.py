"""Niantic's SPZ, versions 2 to 4, read into the axes of a PLY (right, down, forward).

Specification: github.com/nianticlabs/spz. Versions to 3 are one gzip stream; 4 has a plain header, a table of contents
and one Zstandard stream per attribute.
"""

import gzip
import io
import struct
import zlib
from pathlib import Path

import numpy as np
import zstandard
from numpy.typing import NDArray

from splatkit.errors import input_error
from splatkit.formats.limits import MAX_SPLATS, require_believable
from splatkit.formats.packing import smallest_three
from splatkit.splats import SH_COEFFICIENTS, Floats, Splats, logit

HEADER = struct.Struct("<4sIIBBBB")  # magic, version, splats, degree, fractional bits, flags, streams (version 4)
TABLE_OFFSET = struct.Struct("<I")
TABLE_ENTRY = struct.Struct("<QQ")  # bytes packed, bytes unpacked
# SPZ's axes are right, up, back: y and z turn round, and with them every harmonic that is odd in y or in z.
AXES = np.array([1, -1, -1], np.float32)
HARMONICS = np.array([-1, -1, 1, -1, 1, 1, -1, 1, -1, 1, -1, -1, 1, -1, 1], np.float32)
COLOUR_SCALE = 0.15
ANTIALIASED = 1  # of the flags
POSITION_BITS = 24
MOST_EXTENSIONS = 1 << 20  # bytes that may follow the splats

Bytes = NDArray[np.uint8]


def read_spz(path: Path) -> Splats:
    """Raises StageError (input_error) when the file is damaged or of another version."""
    content = path.read_bytes()
    try:
        return _read(content)
    except (ValueError, gzip.BadGzipFile, EOFError, zlib.error, zstandard.ZstdError) as problem:
        cause = f"{path.name} cannot be read as SPZ: {problem}"
        raise input_error("bad_spz", cause, "Give an SPZ of version 2 to 4, whole.") from problem


def _read(content: bytes) -> Splats:
    packed = content[:2] == b"\x1f\x8b"
    head = gzip.GzipFile(fileobj=io.BytesIO(content)).read(HEADER.size) if packed else content[: HEADER.size]
    magic, version, count, degree, fraction_bits, flags, _ = HEADER.unpack(_whole(head, HEADER.size))
    if magic != b"NGSP" or version not in ((2, 3) if packed else (4,)):
        raise ValueError(f"its header says {magic!r}, version {version}; versions 2, 3 (gzip) and 4 are read")
    if not 0 < count <= MAX_SPLATS or degree >= len(SH_COEFFICIENTS):
        raise ValueError(f"{count:,} splats of degree {degree}; allowed are 1 to {MAX_SPLATS:,} and degree 0 to 3")
    if fraction_bits > POSITION_BITS:
        raise ValueError(f"positions of {fraction_bits} fractional bits; they have {POSITION_BITS} bits in all")
    require_believable(count, len(content))
    rotation_bytes = 3 if version == 2 else 4
    widths = [9, 1, 3, 3, rotation_bytes, 3 * SH_COEFFICIENTS[degree]]
    sizes = [count * width for width in widths if width]
    streams = _gzip_streams(content, sizes) if packed else _zstd_streams(content, sizes)
    columns = [np.frombuffer(stream, np.uint8).reshape(count, -1) for stream in streams]
    positions, alphas, colours, scales, rotations = columns[:5]
    return Splats(
        means=_positions(positions, fraction_bits) * AXES,
        scales=(scales / np.float32(16) - np.float32(10)).astype(np.float32),
        quats=_rotations(rotations) * np.concatenate([[1], AXES]).astype(np.float32),
        opacities=logit((alphas[:, 0] / 255).astype(np.float32)),
        sh0=((colours / np.float32(255) - np.float32(0.5)) / np.float32(COLOUR_SCALE)).astype(np.float32),
        shN=_harmonics(columns[5], degree) if degree else np.zeros((count, 0, 3), np.float32),
        antialiased=bool(flags & ANTIALIASED),
    )


def _gzip_streams(content: bytes, sizes: list[int]) -> list[bytes]:
    with gzip.GzipFile(fileobj=io.BytesIO(content)) as source:
        source.read(HEADER.size)
        streams = [_whole(source.read(size), size) for size in sizes]
        if len(source.read(MOST_EXTENSIONS + 1)) > MOST_EXTENSIONS:  # at its end the checksum is compared as well
            raise ValueError(f"more than {MOST_EXTENSIONS:,} bytes follow the splats")
    return streams


def _zstd_streams(content: bytes, sizes: list[int]) -> list[bytes]:
    streams = []
    announced = content[HEADER.size - 1]
    if announced < len(sizes):
        raise ValueError(f"it has {announced} streams; {len(sizes)} are needed")
    (entry,) = TABLE_OFFSET.unpack(_whole(content[HEADER.size :][: TABLE_OFFSET.size], TABLE_OFFSET.size))
    start = entry + announced * TABLE_ENTRY.size
    for size in sizes:
        table = content[entry : entry + TABLE_ENTRY.size]
        packed, unpacked = TABLE_ENTRY.unpack(_whole(table, TABLE_ENTRY.size))
        if unpacked != size:
            raise ValueError(f"a stream announces {unpacked:,} bytes; {size:,} are needed")
        streams.append(_unpacked(_whole(content[start : start + packed], packed), size))
        entry, start = entry + TABLE_ENTRY.size, start + packed
    return streams


def _unpacked(frame: bytes, size: int) -> bytes:
    announced = zstandard.frame_content_size(frame)
    if announced not in (-1, size):  # -1: it does not say. What it says would be allocated.
        raise ValueError(f"a stream unpacks to {announced:,} bytes; {size:,} are needed")
    return _whole(zstandard.ZstdDecompressor().decompress(frame, max_output_size=size), size)


def _whole(stream: bytes, size: int) -> bytes:
    if len(stream) != size:
        raise ValueError(f"a part of it ends after {len(stream):,} of {size:,} bytes")
    return stream


def _positions(columns: Bytes, fraction_bits: int) -> Floats:
    parts = columns.reshape(-1, 3, 3).astype(np.int32)
    whole = parts[..., 0] | parts[..., 1] << 8 | parts[..., 2] << 16
    signed = (whole ^ 0x800000) - 0x800000
    return (signed / np.float32(1 << fraction_bits)).astype(np.float32)


def _rotations(columns: Bytes) -> Floats:
    """w first. Version 2 stores x, y, z in 8 bits each; later ones a 2-bit index and three of sign and 9 bits."""
    if columns.shape[1] == 3:
        xyz = columns.astype(np.float32) / np.float32(127.5) - 1
        w = np.sqrt(np.maximum(0, 1 - (xyz**2).sum(axis=1, keepdims=True)))
        return np.concatenate([w, xyz], axis=1).astype(np.float32)
    words = columns.view("<u4")[:, 0].astype(np.uint32)
    fields = np.stack([words >> np.uint32(shift) & np.uint32(1023) for shift in (20, 10, 0)], axis=1).astype(np.int64)
    magnitudes = (fields & 511) / 511 * np.sqrt(0.5)
    three = np.where(fields & 512, -magnitudes, magnitudes)
    return np.roll(smallest_three(three, words >> np.uint32(30)), 1, axis=1)  # x, y, z, w in the file


def _harmonics(columns: Bytes, degree: int) -> Floats:
    coefficients = SH_COEFFICIENTS[degree]
    values = (columns.astype(np.float32) - 128) / 128
    return (values.reshape(-1, coefficients, 3) * HARMONICS[:coefficients, None]).astype(np.float32)
