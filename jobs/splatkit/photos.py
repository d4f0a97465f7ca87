"""Photos in: found in folders and zips, checked, turned upright, named so that COLMAP can hold them."""

import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from splatkit.archives import unpack_zip
from splatkit.exif import ExifFacts, read_exif

FORMATS = ("JPEG", "PNG", "TIFF", "WEBP")  # MPO opens as a JPEG
SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".tif", ".tiff", ".webp", ".mpo")
HEIC, VIDEO = (".heic", ".heif"), (".mp4", ".mov", ".avi", ".mkv", ".m4v", ".webm")
MIN_SIDE = 200  # pixels; less holds too few features to place the photo
MAX_PIXELS = 300_000_000
MAX_PIXELS_PER_BYTE = 1000  # an even wall still has a byte per hundred pixels; above is a decompression bomb
ORIENTATION = 0x0112

Image.MAX_IMAGE_PIXELS = None  # we check against MAX_PIXELS ourselves, before anything is decoded


@dataclass(frozen=True)
class Photo:
    name: str  # path below the prepared folder: ASCII, no spaces, unique
    source: str  # path in the input as the user knows it
    width: int  # upright
    height: int
    exif: ExifFacts
    sha256: str


@dataclass(frozen=True)
class LeftOut:
    source: str
    reason: str


def collect(
    input_dir: Path, work: Path, max_images: int, step: Callable[[int, int], None]
) -> tuple[list[Photo], list[LeftOut]]:
    """Prepared photos, in the natural order of their names, under work/photos; and what was left out, with the reason.

    max_images 0 takes all; else an even choice over the order, which keeps a flight's coverage.
    """
    left_out: list[LeftOut] = []
    found = sorted(_candidates(input_dir, work / "unpacked", left_out), key=lambda pair: _natural(pair[0]))
    candidates = _thin_out(_without_duplicates(found, left_out), max_images, left_out)
    names = _colmap_names([source for source, _, _ in candidates])
    prepared = work / "photos"
    shutil.rmtree(prepared, ignore_errors=True)
    photos: list[Photo] = []
    # Decoding releases the lock; two at a time bound the memory to two decoded photos.
    with ThreadPoolExecutor(min(2, os.cpu_count() or 1)) as pool:
        jobs = [
            pool.submit(_prepare, source, path, digest, prepared, name)
            for (source, path, digest), name in zip(candidates, names, strict=True)
        ]
        try:
            for done, job in enumerate(jobs, start=1):
                outcome = job.result()
                if isinstance(outcome, Photo):
                    photos.append(outcome)
                else:
                    left_out.append(outcome)
                step(done, len(jobs))
        finally:
            pool.shutdown(cancel_futures=True)
    return photos, left_out


def _candidates(input_dir: Path, unpacked: Path, left_out: list[LeftOut]) -> Iterator[tuple[str, Path]]:
    for path in _files(input_dir):
        source = _readable(path.relative_to(input_dir).as_posix())
        if path.suffix.lower() != ".zip":
            if reason := _not_a_photo(path.name):
                left_out.append(LeftOut(source, reason))
            else:
                yield source, path
            continue
        target = unpacked / source
        for entry, reason in unpack_zip(path, target, lambda name: _not_a_photo(name) is None):
            left_out.append(LeftOut(f"{source}/{entry}".rstrip("/"), reason))
        yield from ((f"{source}/{_readable(inner.relative_to(target).as_posix())}", inner) for inner in _files(target))


def _files(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):  # does not follow links to folders
        folders[:] = sorted(f for f in folders if not f.startswith(".") and f != "__MACOSX")
        yield from (Path(parent, name) for name in sorted(files) if not name.startswith("."))


def _readable(name: str) -> str:
    """File names are bytes; what is not UTF-8 in them could not be written into a report."""
    return name.encode("utf-8", "replace").decode()


def _not_a_photo(name: str) -> str | None:
    suffix = Path(name).suffix.lower()
    if name.startswith("."):
        return "hidden"
    if suffix in HEIC:
        return "HEIC cannot be read yet: export it as JPEG"
    if suffix in VIDEO:
        return "videos cannot be read yet: extract frames as JPEG"
    return None if suffix in SUFFIXES else "not a photo"


def _without_duplicates(candidates: list[tuple[str, Path]], left_out: list[LeftOut]) -> list[tuple[str, Path, str]]:
    first: dict[str, str] = {}
    kept = []
    for source, path in candidates:
        try:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as problem:
            left_out.append(LeftOut(source, f"cannot be read: {problem.strerror}"))
            continue
        if digest in first:
            left_out.append(LeftOut(source, f"the same bytes as {first[digest]}"))
        else:
            first[digest] = source
            kept.append((source, path, digest))
    return kept


def _thin_out(
    candidates: list[tuple[str, Path, str]], max_images: int, left_out: list[LeftOut]
) -> list[tuple[str, Path, str]]:
    if not max_images or len(candidates) <= max_images:
        return candidates
    chosen = set(np.linspace(0, len(candidates) - 1, max_images).round().astype(int).tolist())
    left_out += [
        LeftOut(c[0], f"beyond max_images ({max_images})") for i, c in enumerate(candidates) if i not in chosen
    ]
    return [c for i, c in enumerate(candidates) if i in chosen]


def _colmap_names(sources: list[str]) -> list[str]:
    """COLMAP's text files separate by spaces; trainers replace suffixes. So: plain characters and unique stems."""
    taken: set[str] = set()
    names = []
    for source in sources:
        path = Path(re.sub(r"[^A-Za-z0-9._/-]+", "_", source))
        stem = path.with_suffix("").as_posix().lstrip("-")
        suffix = ".jpg" if path.suffix.lower() in (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo") else ".png"
        unique, count = stem, 1
        while unique.lower() in taken:
            count += 1
            unique = f"{stem}_{count}"
        taken.add(unique.lower())
        names.append(unique + suffix)
    return names


def _prepare(source: str, path: Path, digest: str, folder: Path, name: str) -> Photo | LeftOut:
    try:
        with Image.open(path, formats=FORMATS) as image:
            if reason := _unusable(image, path.stat().st_size):
                return LeftOut(source, reason)
            facts = read_exif(image)
            image.load()  # all of it, to find out about truncation
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            width, height = _write_upright(image, path, target)
    except UnidentifiedImageError:
        return LeftOut(source, "not an image, whatever its name says")
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as problem:
        return LeftOut(source, f"damaged: {problem}")
    return Photo(name, source, width, height, facts, digest)


def _unusable(image: Image.Image, size: int) -> str | None:
    pixels = image.width * image.height
    if min(image.size) < MIN_SIDE:
        return f"tiny: {image.width} x {image.height} pixels, at least {MIN_SIDE} each are needed"
    if pixels > MAX_PIXELS:
        return f"{image.width} x {image.height} pixels are more than {MAX_PIXELS // 1_000_000} megapixels"
    if pixels > MAX_PIXELS_PER_BYTE * size:
        return f"{pixels // size} pixels per byte: a decompression bomb"
    return None


def _write_upright(image: Image.Image, path: Path, target: Path) -> tuple[int, int]:
    orientation = image.getexif().get(ORIENTATION, 1)
    compressed = {"JPEG": ".jpg", "MPO": ".jpg", "PNG": ".png"}.get(image.format or "")
    plain = image.mode == "RGB" and orientation in (0, 1) and "transparency" not in image.info
    if plain and compressed == target.suffix:
        target.symlink_to(path.resolve())
        return image.size
    upright = ImageOps.exif_transpose(_eight_bit_rgb(image))
    exif = upright.getexif()
    exif[ORIENTATION] = 1
    if target.suffix == ".jpg":
        upright.save(target, format="JPEG", quality=97, subsampling=0, exif=exif)
    else:
        upright.save(target, format="PNG", compress_level=1, exif=exif)
    return upright.size


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


def _natural(text: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (-1, part.lower()) for part in re.split(r"(\d+)", text)]
