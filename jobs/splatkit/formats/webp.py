"""Lossless WebP with exact RGBA: the pictures in which SOG keeps its numbers."""

import io

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


def read_webp(content: bytes, name: str) -> Pixels:
    """Raises ValueError when it is not a WebP picture, or lossy, which would have changed the numbers."""
    if content[:4] != b"RIFF" or content[8:12] != b"WEBP":
        raise ValueError(f"{name} is not a WebP picture: it begins with {content[:12]!r}")
    try:
        with Image.open(io.BytesIO(content), formats=["WEBP"]) as picture:
            if max(picture.size) > MAX_SIDE:
                raise ValueError(
                    f"{name} is {picture.width}x{picture.height}; at most {MAX_SIDE} on a side are allowed"
                )
            return np.asarray(picture.convert("RGBA"))
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as problem:
        raise ValueError(f"{name} is damaged: {problem}") from problem


def _encoded(picture: Image.Image, method: int, quality: int) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", lossless=True, exact=True, method=method, quality=quality)
    return buffer.getvalue()
