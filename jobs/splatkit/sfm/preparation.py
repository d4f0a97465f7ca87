"""One photo made ready for COLMAP: checked, turned upright, eight bits of RGB, EXIF kept; and how blurred it is."""

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pillow_heif
from PIL import Image, ImageOps, UnidentifiedImageError

from splatkit.sfm.exif import ExifFacts, read_exif

FORMATS = ("JPEG", "PNG", "TIFF", "WEBP", "HEIF")  # MPO opens as a JPEG
MIN_SIDE = 200  # pixels; less holds too few features to place the photo
MAX_PIXELS = 300_000_000
MAX_PIXELS_PER_BYTE = 1000  # an even wall still has a byte per hundred pixels; above is a decompression bomb
ORIENTATION = 0x0112
BLUR_SIZE = 1024  # longest side at which blur is judged: finer blur does no harm to a scene
THUMBNAIL_SIZE = 256
# What Pillow's decoders raise for damaged files; each was seen. The last is none of the others' kind.
DAMAGE = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    RuntimeError,
    TypeError,
    struct.error,
    Image.DecompressionBombError,
)

Image.MAX_IMAGE_PIXELS = None  # we check against MAX_PIXELS ourselves, before anything is decoded
pillow_heif.register_heif_opener(thumbnails=False)


class UnusableError(Exception):
    """Why a file cannot be used as a photo, in words for its owner."""


@dataclass(frozen=True)
class Prepared:
    width: int  # upright
    height: int
    orientation: int  # that EXIF told and that was applied
    exif: ExifFacts
    blur: float


def prepare(path: Path, target: Path, thumbnail: Path) -> Prepared:
    """Writes `target` (a link where the file is fit as it is) and `thumbnail`. Raises UnusableError."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            if reason := _unusable(image, path.stat().st_size):
                raise UnusableError(reason)
            facts, orientation = read_exif(image), int(image.getexif().get(ORIENTATION, 1))
            image.load()  # all of it, to find out about truncation
            target.parent.mkdir(parents=True, exist_ok=True)
            upright = _write_upright(image, path, target, orientation)
            blur = _judge(upright, thumbnail)
    except UnidentifiedImageError:
        raise UnusableError("not an image, whatever its name says") from None
    except DAMAGE as problem:
        raise UnusableError(f"damaged: {problem}") from problem
    return Prepared(*upright.size, orientation, facts, blur)


def _unusable(image: Image.Image, size: int) -> str | None:
    pixels = image.width * image.height
    if min(image.size) < MIN_SIDE:
        return f"tiny: {image.width} x {image.height} pixels, at least {MIN_SIDE} each are needed"
    if pixels > MAX_PIXELS:
        return f"{image.width} x {image.height} pixels are more than {MAX_PIXELS // 1_000_000} megapixels"
    if pixels > MAX_PIXELS_PER_BYTE * size:
        return f"{pixels // size} pixels per byte: a decompression bomb"
    return None


def _write_upright(image: Image.Image, path: Path, target: Path, orientation: int) -> Image.Image:
    compressed = {"JPEG": ".jpg", "MPO": ".jpg", "PNG": ".png"}.get(image.format or "")
    plain = image.mode == "RGB" and orientation in (0, 1) and "transparency" not in image.info
    if plain and compressed == target.suffix:
        target.symlink_to(path.resolve())
        return image
    upright = ImageOps.exif_transpose(_eight_bit_rgb(image))
    exif = upright.getexif()
    exif[ORIENTATION] = 1
    if target.suffix == ".jpg":
        upright.save(target, format="JPEG", quality=97, subsampling=0, exif=exif)
    else:
        upright.save(target, format="PNG", compress_level=1, exif=exif)
    return upright


def _eight_bit_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        return image
    if image.mode.startswith(("I", "F")):  # 16-bit grey, or deeper
        values = np.asarray(image, dtype=np.float64)
        top = 65535.0 if values.min() >= 0 and 255 < values.max() <= 65535 else max(float(values.max()), 1e-12)
        grey = Image.fromarray((values.clip(0, top) * (255.0 / top)).round().astype(np.uint8))
        return _with_exif(grey.convert("RGB"), image)
    if image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        solid = image.convert("RGBA")
        black = Image.new("RGBA", solid.size, (0, 0, 0, 255))
        return _with_exif(Image.alpha_composite(black, solid).convert("RGB"), image)
    return _with_exif(image.convert("RGB"), image)


def _with_exif(image: Image.Image, original: Image.Image) -> Image.Image:
    image.info["exif"] = original.getexif().tobytes()
    return image


def _judge(upright: Image.Image, thumbnail: Path) -> float:
    small = upright.copy() if max(upright.size) <= BLUR_SIZE else _reduced(upright, BLUR_SIZE)
    thumbnail.parent.mkdir(parents=True, exist_ok=True)
    _reduced(small, THUMBNAIL_SIZE).convert("RGB").save(thumbnail, format="JPEG", quality=80)
    return blurriness(np.asarray(small.convert("L"), np.float32))


def _reduced(image: Image.Image, longest: int) -> Image.Image:
    share = longest / max(image.size)
    size = (max(1, round(image.width * share)), max(1, round(image.height * share)))
    return image.resize(size, Image.Resampling.BOX, reducing_gap=2.0)


def blurriness(grey: np.ndarray) -> float:
    """0 for crisp, 1 for wholly blurred: what blurring it once more takes from the differences between neighbours.

    Crété-Roffet et al., The Blur Effect, 2007. The worse of the two directions, since motion blurs only one.
    """
    return max(_blurred_along(grey), _blurred_along(grey.T))


def _blurred_along(grey: np.ndarray) -> float:
    sums = np.cumsum(np.pad(grey, ((5, 4), (0, 0)), mode="edge"), axis=0, dtype=np.float64)
    smooth = (sums[9:] - sums[:-9]) / 9
    change, left = np.abs(np.diff(grey, axis=0))[: len(smooth) - 1], np.abs(np.diff(smooth, axis=0))
    total = float(change.sum())
    return 1.0 - float(np.maximum(0, change[: len(left)] - left).sum()) / total if total > 0 else 1.0
