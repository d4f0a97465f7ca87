"""Masks: pictures as large as the photos, black where nothing shall be sought (people, sky, the drone's own legs)."""

import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from splatkit.sfm.preparation import DAMAGE, FORMATS, ORIENTATION, UnusableError

FOLDER = "masks"  # a folder or a zip file of this name, anywhere in the input, holds masks
PHOTO_SUFFIX = r"\.(jpe?g|jpe|jfif|png|tiff?|webp|mpo|heic|heif)$"


def is_mask(source: str) -> bool:
    return any(part.lower() in (FOLDER, f"{FOLDER}.zip") for part in source.split("/")[:-1])


def match_masks(
    masks: Iterable[tuple[str, Path]], photos: Iterable[str]
) -> tuple[dict[str, tuple[str, Path]], list[str]]:
    """The mask (source and path) of each photo, and the sources of masks without a photo.

    masks/a/1.png or masks/a/1.jpg.png belongs to a/1.jpg, in whatever folder a/ lies. What fits two photos fits none.
    """
    by_tail: dict[str, set[str]] = defaultdict(set)
    for photo in photos:
        parts = _key(photo).split("/")
        for start in range(len(parts)):
            by_tail["/".join(parts[start:])].add(photo)
    found: dict[str, tuple[str, Path]] = {}
    alone = []
    for source, path in masks:
        parts = source.split("/")
        first = next(i for i, part in enumerate(parts) if part.lower() in (FOLDER, f"{FOLDER}.zip"))
        fitting = by_tail.get(_key("/".join(parts[first + 1 :])), set())
        if len(fitting) != 1 or fitting & found.keys():
            alone.append(source)
        else:
            found[next(iter(fitting))] = (source, path)
    return found, alone


def _key(source: str) -> str:
    once = re.sub(PHOTO_SUFFIX, "", source, flags=re.IGNORECASE)
    return re.sub(PHOTO_SUFFIX, "", once, flags=re.IGNORECASE).lower()


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
