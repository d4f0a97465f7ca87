"""SOG version 2, PlayCanvas' format: meta.json and lossless WebP pictures, a pixel per splat, bundled in a zip or not.

Specification: developer.playcanvas.com, user manual, Gaussian splatting, formats, SOG.
"""

import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from splatkit.errors import StageError, input_error
from splatkit.formats.limits import require_believable
from splatkit.formats.packing import smallest_three
from splatkit.formats.paletted import Paletted
from splatkit.formats.sog_container import Bundle, Container, Folder
from splatkit.formats.sog_meta import MAX_PALETTE, SogMeta, parse_meta
from splatkit.formats.webp import Pixels, read_webp
from splatkit.splats import SH_COEFFICIENTS, Floats, Splats, logit
from splatkit.whole_files import whole_file, whole_folder

META = "meta.json"
MAX_META_BYTES = 1 << 20
# A picture may have so many pixels for a splat, and these: a writer may round its sides up to powers of two. VP8L
# makes noise of four bytes hardly longer than it is.
PIXELS_PER_SPLAT = 4
SPARE_PIXELS = 1 << 16
MOST_BYTES_OF_PIXEL = 8
INDEX_BASE = 252  # alpha of a quaternion's pixel, plus the number of the component that was left out
PALETTE_COLUMNS = 64  # entries of the palette in one row of its picture
ROWS_AT_ONCE = 1 << 16
OPAQUE = 1 - 1e-6  # nearest to 1 that still has a logit

Load = Callable[[str, int], bytes]  # by name, when it has no more than so many bytes


@dataclass(frozen=True)
class SogFiles:
    """A scene as SOG: the description and the encoded pictures by name."""

    meta: dict[str, Any]
    pictures: Mapping[str, bytes]

    @property
    def meta_bytes(self) -> bytes:
        return json.dumps(self.meta, separators=(",", ":"), allow_nan=False).encode()

    @property
    def sizes(self) -> dict[str, int]:
        return {META: len(self.meta_bytes), **{name: len(content) for name, content in self.pictures.items()}}

    @property
    def size(self) -> int:
        return sum(self.sizes.values())

    def decode(self) -> Paletted:
        return decode(parse_meta(self.meta), lambda name, _: self.pictures[name])

    def write_bundle(self, path: Path) -> None:
        """A zip without compression, meta.json first so that a reader knows what comes."""
        with whole_file(path) as beside, zipfile.ZipFile(beside, "w", zipfile.ZIP_STORED) as bundle:
            for name, content in {META: self.meta_bytes, **self.pictures}.items():
                bundle.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content)  # same input, same bytes

    def write_folder(self, folder: Path) -> None:
        with whole_folder(folder) as beside:
            for name, content in {META: self.meta_bytes, **self.pictures}.items():
                (beside / name).write_bytes(content)


def read_sog(path: Path) -> Splats:
    """`path` is a bundle, a folder, or the meta.json in one. Raises StageError (input_error) when it is damaged."""
    return open_sog(path).expanded


def open_sog(path: Path) -> Paletted:
    """As read_sog, but the harmonics stay a palette."""
    try:
        if path.is_dir() or path.name == META:
            return _read(Folder(path if path.is_dir() else path.parent))
        with zipfile.ZipFile(path) as bundle:
            return _read(Bundle(bundle))
    except (ValueError, zipfile.BadZipFile, NotImplementedError) as problem:
        raise _damaged(path, str(problem)) from problem
    except FileNotFoundError as problem:
        raise _damaged(path, "it is missing") from problem


def decode(meta: SogMeta, load: Load) -> Paletted:
    """Raises ValueError for pictures that do not fit the description."""

    def pixels(name: str) -> Pixels:
        picture = _picture(load, name, meta.count * PIXELS_PER_SPLAT + SPARE_PIXELS).reshape(-1, 4)
        if len(picture) < meta.count:
            raise ValueError(f"{name} has {len(picture)} pixels for {meta.count} splats")
        return picture[: meta.count]

    colours = pixels(meta.sh0_file)
    splats = Splats(
        means=_means(meta, pixels(meta.means_files[0]), pixels(meta.means_files[1])),
        scales=_looked_up(meta.scales_codebook, pixels(meta.scales_file)[:, :3], meta.scales_file),
        quats=_quats(pixels(meta.quats_file), meta.quats_file),
        opacities=logit(np.minimum(colours[:, 3] / np.float32(255), OPAQUE)),
        sh0=_looked_up(meta.sh0_codebook, colours[:, :3], meta.sh0_file),
        shN=np.zeros((meta.count, 0, 3), np.float32),
        antialiased=meta.antialiased,
    )
    return Paletted(splats, *_harmonics(meta, load, pixels))


def _read(container: Container) -> Paletted:
    meta = parse_meta(_description(container.load(META, MAX_META_BYTES)))
    require_believable(meta.count, sum(container.held(name) for name in meta.files))
    return decode(meta, container.load)


def _description(content: bytes) -> Any:
    try:
        return json.loads(content)
    except RecursionError as problem:
        raise ValueError(f"{META} is nested too deeply") from problem
    except ValueError as problem:
        raise ValueError(f"{META} cannot be parsed: {problem}") from problem


def _picture(load: Load, name: str, most_pixels: int) -> Pixels:
    return read_webp(load(name, MOST_BYTES_OF_PIXEL * most_pixels), name, most_pixels)


def _means(meta: SogMeta, low: Pixels, high: Pixels) -> Floats:
    means = np.empty((meta.count, 3), np.float32)
    for axis in range(3):
        codes = low[:, axis] + 256.0 * high[:, axis]
        logs = meta.means_mins[axis] + (meta.means_maxs[axis] - meta.means_mins[axis]) * (codes / 65535)
        means[:, axis] = np.sign(logs) * np.expm1(np.abs(logs))
    return means


def _quats(pixels: Pixels, name: str) -> Floats:
    if pixels[:, 3].min() < INDEX_BASE:
        raise ValueError(f"{name}: alpha {pixels[:, 3].min()} is no number of a component; allowed are 252 to 255")
    quats = np.empty((len(pixels), 4), np.float32)
    for start in range(0, len(pixels), ROWS_AT_ONCE):
        part = pixels[start : start + ROWS_AT_ONCE]
        three = (part[:, :3] / 255.0 - 0.5) * np.sqrt(2.0)
        quats[start : start + len(part)] = smallest_three(three, part[:, 3].astype(np.int64) - INDEX_BASE)
    return quats


def _harmonics(meta: SogMeta, load: Load, pixels: Callable[[str], Pixels]) -> tuple[Floats, NDArray[np.int32]]:
    if meta.palette is None:
        return np.zeros((1, 0, 3), np.float32), np.zeros(meta.count, np.int32)
    coefficients = SH_COEFFICIENTS[meta.palette.bands]
    entries = _picture(load, meta.palette.centroids_file, MAX_PALETTE * coefficients)
    height, width = entries.shape[:2]
    if width != PALETTE_COLUMNS * coefficients or height * PALETTE_COLUMNS < meta.palette.count:
        wanted = f"{PALETTE_COLUMNS * coefficients} wide and at least {-(-meta.palette.count // PALETTE_COLUMNS)} high"
        raise ValueError(f"{meta.palette.centroids_file} is {width}x{height}; for its palette it must be {wanted}")
    palette = _looked_up(meta.palette.codebook, entries[..., :3], meta.palette.centroids_file)
    palette = palette.reshape(-1, coefficients, 3)
    low, high = pixels(meta.palette.labels_file)[:, :2].astype(np.int32).T
    labels = low + 256 * high
    if labels.max() >= meta.palette.count:
        raise ValueError(f"{meta.palette.labels_file} names entry {labels.max()} of a palette of {meta.palette.count}")
    return palette, labels


def _looked_up(codebook: Floats, indices: Pixels, name: str) -> Floats:
    if indices.max() >= len(codebook):
        raise ValueError(f"{name} names entry {indices.max()} of a codebook of {len(codebook)}")
    return codebook[indices]


def _damaged(path: Path, detail: str) -> StageError:
    fix = "Give a SOG of version 2, whole, as this stage, SuperSplat or splat-transform write it."
    return input_error("bad_sog", f"{path.name} cannot be read as SOG: {detail}", fix)
