"""What trainers read: undistorted photos in images/, their masks in masks/ and a PINHOLE model in sparse/0/."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pycolmap
from PIL import Image

from splatkit.sfm.colmap import run_step

JPEG_START = b"\xff\xd8"


def write_undistorted(
    reconstruction: pycolmap.Reconstruction,
    prepared: Path,
    work: Path,
    output: Path,
    request: dict[str, Any],
    log: Path,
) -> None:
    """Replaces images/ and sparse/ of `output`."""
    model, flat = work / "model", work / "undistorted"
    for folder in (model, flat):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    reconstruction.write(model)
    run_step("undistort", {**request, "model": str(model), "images": str(prepared), "output": str(flat)}, log)
    for folder in (output / "images", output / "sparse"):
        shutil.rmtree(folder, ignore_errors=True)
    shutil.move(flat / "images", output / "images")
    (output / "sparse").mkdir(parents=True)
    shutil.move(flat / "sparse", output / "sparse" / "0")
    for photo in (output / "images").rglob("*.jpg"):
        _carry_exif(prepared / photo.relative_to(output / "images"), photo)


def write_masks(
    reconstruction: pycolmap.Reconstruction, masks: Path, sources: Mapping[str, str], output: Path, max_size: int
) -> None:
    """The masks of registered photos as trainers look for them, output/masks/<photo>.png, straightened like the photos.

    sources: photos that came with a mask, the others have a white one that says nothing.
    """
    options = pycolmap.UndistortCameraOptions(max_image_size=max_size)
    for image_id in reconstruction.reg_image_ids():
        image = reconstruction.images[image_id]
        if not sources.get(image.name):
            continue
        with Image.open(masks / f"{image.name}.png") as mask:
            bitmap = pycolmap.Bitmap.from_array(np.asarray(mask.convert("L")))
        straight, _ = pycolmap.undistort_image(options, bitmap, reconstruction.cameras[image.camera_id])
        target = output / "masks" / f"{image.name}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        counts = np.squeeze(straight.to_array()) > 127
        Image.fromarray((counts * 255).astype(np.uint8)).save(target)


def _carry_exif(source: Path, target: Path) -> None:
    """COLMAP drops EXIF. It goes back in as a segment of its own, so that the pixels are not compressed again."""
    with Image.open(source) as original, Image.open(target) as written:
        exif = original.getexif()
        exif[0x0112] = 1
        packed = exif.tobytes()
        if "exif" in written.info:
            return
    content = target.read_bytes()
    if not content.startswith(JPEG_START) or not packed or len(packed) > 65_000:
        return
    packed = packed if packed.startswith(b"Exif\x00\x00") else b"Exif\x00\x00" + packed
    segment = b"\xff\xe1" + (len(packed) + 2).to_bytes(2, "big") + packed
    target.write_bytes(JPEG_START + segment + content[len(JPEG_START) :])
