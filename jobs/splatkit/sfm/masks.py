"""Masks: pictures as large as the photos, black where nothing shall be sought (people, sky, the drone's own legs)."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from splatkit.sfm.preparation import DAMAGE, FORMATS, ORIENTATION, UnusableError


def prepare_mask(path: Path, target: Path, size: tuple[int, int], orientation: int) -> None:
    """Writes the mask as COLMAP reads it: grey, as the upright photo lies, black to leave out. Raises UnusableError."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            if image.width * image.height > 4 * size[0] * size[1]:
                raise UnusableError(f"a mask of {image.width} x {image.height} for a photo of {size[0]} x {size[1]}")
            grey = _visible(ImageOps.exif_transpose(image))
    except DAMAGE as problem:
        raise UnusableError(f"damaged: {problem}") from problem
    if grey.size != size and grey.size == size[::-1] and orientation > 4:  # drawn on the photo as it lay in the camera
        turned = Image.Exif()
        turned[ORIENTATION] = orientation
        grey.info["exif"] = turned.tobytes()
        grey = ImageOps.exif_transpose(grey)
    if abs(grey.width * size[1] / (grey.height * size[0]) - 1) > 0.02:
        raise UnusableError(f"a mask of {grey.width} x {grey.height} for a photo of {size[0]} x {size[1]}")
    target.parent.mkdir(parents=True, exist_ok=True)
    grey.resize(size, Image.Resampling.NEAREST).save(target, format="PNG", compress_level=1)


def _visible(image: Image.Image) -> Image.Image:
    """White where a photo counts. Masks come as 0 and 255, as 0 and 1, and as JPEG, whose black is not quite black."""
    solid = image.convert("RGBA")
    black = Image.new("RGBA", solid.size, (0, 0, 0, 255))
    grey = np.asarray(Image.alpha_composite(black, solid).convert("RGB")).max(axis=2)
    if not grey.any():
        raise UnusableError("a mask that is wholly black leaves nothing of the photo")
    return Image.fromarray(np.where(grey > grey.max() / 2, 255, 0).astype(np.uint8))
