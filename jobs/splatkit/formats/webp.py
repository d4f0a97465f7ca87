"""Lossless WebP with exact RGBA: the pictures in which SOG keeps its numbers."""

import io
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

Pixels = NDArray[np.uint8]  # [height, width, 4]

MAX_SIDE = 16383
# (method, quality) of libwebp. More effort does not pay here: method 6 at quality 100 takes 60 times longer
# and saves nothing.
Efforts = tuple[tuple[int, int], ...]
EFFORTS: Efforts = ((1, 50), (2, 25), (4, 25))
QUICK: Efforts = ((2, 25),)  # tells which of two orders is the smaller


def lossless_webp(pixels: Pixels, efforts: Efforts = EFFORTS) -> bytes:
    """The smallest that libwebp makes of it at a few efforts."""
    picture = Image.fromarray(pixels)
    return min((_encoded(picture, method, quality) for method, quality in efforts), key=len)


def read_webp(content: bytes, name: str, most_pixels: int = MAX_SIDE**2) -> Pixels:
    """Raises ValueError when it is not a WebP picture, too large, or lossy, which would have changed the numbers."""
    if content[:4] != b"RIFF" or content[8:12] != b"WEBP":
        raise ValueError(f"{name} is not a WebP picture: it begins with {content[:12]!r}")
    width, height = _size(content, name)
    if max(width, height) > MAX_SIDE:
        raise ValueError(f"{name} is {width}x{height}; at most {MAX_SIDE} on a side are allowed")
    if width * height > most_pixels:
        raise ValueError(f"{name} is {width}x{height}; at most {most_pixels:,} pixels are allowed for its splats")
    try:
        with Image.open(io.BytesIO(content), formats=["WEBP"]) as picture:
            return np.asarray(picture.convert("RGBA"))
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as problem:
        raise ValueError(f"{name} is damaged: {problem}") from problem


def _size(content: bytes, name: str) -> tuple[int, int]:
    """From the headers, as Pillow takes memory for what they say. Specification: RFC 9649."""
    canvas = None
    for kind, body in _chunks(content):
        if kind == b"VP8X":
            canvas = 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")
        elif kind == b"VP8L":
            sides = int.from_bytes(body[1:5], "little")
            size = 1 + (sides & 0x3FFF), 1 + (sides >> 14 & 0x3FFF)
            if canvas not in (None, size):
                raise ValueError(f"{name} is damaged: it says {canvas} and {size} of its size")
            return size
        elif kind in (b"VP8 ", b"ALPH", b"ANIM", b"ANMF"):
            raise ValueError(f"{name} is a lossy or animated WebP; numbers must be in a lossless one (VP8L)")
    raise ValueError(f"{name} is damaged: there is no picture in it")


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and first bytes of each."""
    start = 12
    while start + 8 < len(content):
        yield content[start : start + 4], content[start + 8 : start + 18]
        length = int.from_bytes(content[start + 4 : start + 8], "little")
        start += 8 + length + length % 2


def _encoded(picture: Image.Image, method: int, quality: int) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", lossless=True, exact=True, method=method, quality=quality)
    return buffer.getvalue()
