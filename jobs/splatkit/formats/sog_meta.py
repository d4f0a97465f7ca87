"""The meta.json of a SOG, checked."""

from dataclasses import dataclass
from reprlib import repr as shortened
from typing import Any

import numpy as np

from splatkit.formats.limits import MAX_SPLATS
from splatkit.splats import Floats

MAX_PALETTE = 65536
CODES = 256  # most entries of a codebook


@dataclass(frozen=True)
class Palette:
    count: int
    bands: int
    codebook: Floats
    centroids_file: str
    labels_file: str


@dataclass(frozen=True)
class SogMeta:
    count: int
    means_mins: Floats
    means_maxs: Floats
    means_files: tuple[str, str]
    scales_codebook: Floats
    scales_file: str
    quats_file: str
    sh0_codebook: Floats
    sh0_file: str
    palette: Palette | None
    antialiased: bool

    @property
    def files(self) -> set[str]:
        of_palette = {self.palette.centroids_file, self.palette.labels_file} if self.palette else set()
        return {*self.means_files, self.scales_file, self.quats_file, self.sh0_file} | of_palette


def parse_meta(meta: Any) -> SogMeta:
    """Raises ValueError naming the field, what was found and what is allowed."""
    version = _field(meta, "version")
    if version != 2:
        raise ValueError(f"meta.json: version is {shortened(version)}; only version 2 is read")
    means = _field(meta, "means")
    return SogMeta(
        count=_integer(meta, "count", 1, MAX_SPLATS),
        means_mins=_numbers(means, "means.mins", 3, 3),
        means_maxs=_numbers(means, "means.maxs", 3, 3),
        means_files=_files(means, "means.files", 2),  # type: ignore[arg-type]
        scales_codebook=_codebook(_field(meta, "scales"), "scales.codebook"),
        scales_file=_files(meta["scales"], "scales.files", 1)[0],
        quats_file=_files(_field(meta, "quats"), "quats.files", 1)[0],
        sh0_codebook=_codebook(_field(meta, "sh0"), "sh0.codebook"),
        sh0_file=_files(meta["sh0"], "sh0.files", 1)[0],
        palette=_palette(meta["shN"]) if meta.get("shN") else None,
        antialiased=meta.get("antialias") is True,
    )


def _palette(shn: Any) -> Palette:
    centroids, labels = _files(shn, "shN.files", 2)
    count, bands = _integer(shn, "shN.count", 1, MAX_PALETTE), _integer(shn, "shN.bands", 1, 3)
    return Palette(count, bands, _codebook(shn, "shN.codebook"), centroids, labels)


def _field(holder: Any, name: str) -> Any:
    key = name.rpartition(".")[2]
    if not isinstance(holder, dict) or key not in holder:
        raise ValueError(f"meta.json: {name} is missing")
    return holder[key]


def _integer(holder: Any, name: str, least: int, most: int) -> int:
    value = _field(holder, name)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ValueError(f"meta.json: {name} is {shortened(value)}; it must be a whole number from {least} to {most:,}")
    return value


def _codebook(holder: Any, name: str) -> Floats:
    values = _field(holder, name)
    if not isinstance(values, list) or len(values) != CODES or values[0] is not None:
        return _finite(values, name, 1, CODES)
    # Such files are about; PlayCanvas' engine puts the same value in its place.
    rest = _finite(values[1:], name, CODES - 1, CODES - 1)
    return np.concatenate([[rest[0] + (rest[0] - rest[-1]) / (CODES - 1)], rest]).astype(np.float32)


def _numbers(holder: Any, name: str, least: int, most: int) -> Floats:
    return _finite(_field(holder, name), name, least, most)


def _finite(values: Any, name: str, least: int, most: int) -> Floats:
    try:
        numbers = np.array(values, dtype=np.float32)
    except (TypeError, ValueError, OverflowError):
        numbers = np.empty(0, np.float32)
    if numbers.ndim != 1 or not least <= len(numbers) <= most or not np.isfinite(numbers).all():
        wanted = f"{least} to {most}" if least < most else f"{most}"
        raise ValueError(f"meta.json: {name} must be a list of {wanted} finite numbers")
    return numbers


def _files(holder: Any, name: str, count: int) -> tuple[str, ...]:
    names = _field(holder, name)
    if not isinstance(names, list) or len(names) != count or not all(_plain(entry) for entry in names):
        raise ValueError(f"meta.json: {name} is {shortened(names)}; it must be a list of {count} plain file names")
    return tuple(names)


def _plain(name: Any) -> bool:
    """No way out of the folder or the zip."""
    return isinstance(name, str) and bool(name) and not name.startswith(".") and not set("/\\:\0") & set(name)
