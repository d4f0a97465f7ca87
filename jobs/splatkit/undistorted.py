"""What trainers read: undistorted photos in images/ and a PINHOLE model in sparse/0/."""

import shutil
from pathlib import Path
from typing import Any

import pycolmap
from PIL import Image

from splatkit.colmap import run_step

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
