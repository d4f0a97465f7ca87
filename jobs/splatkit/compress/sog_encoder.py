"""Splats to SOG: what is kept of each attribute, in which order, as which pictures."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from splatkit.compress.codebook import ENTRIES, best_codebook, indices_of, stepped_codebook
from splatkit.compress.curves import hilbert_order, morton_order
from splatkit.compress.palette import MAX_ENTRIES, by_first_appearance, palette_of
from splatkit.formats.packing import OTHER_COMPONENTS
from splatkit.formats.sog import INDEX_BASE, PALETTE_COLUMNS, SogFiles
from splatkit.formats.webp import Pixels, lossless_webp
from splatkit.orientation import canonical
from splatkit.splats import Floats, Splats

Order = Literal["hilbert", "morton", "given"]
GENERATOR = "splatworks"
THREADS = 2  # libwebp takes 100 MB for a picture of a million pixels


@dataclass(frozen=True, kw_only=True)
class Precision:
    """How finely each attribute is kept. Steps of 2 with rounding err no more than the usual 1 with truncation."""

    means_step: int = 2  # of 65,535 over the scene's extent along an axis, on a logarithmic scale
    quats_step: int = 2  # of 255
    alpha_step: int = 2  # of 255
    scales_step: float = 0.03  # of the natural logarithm
    sh0_step: float = 0.0125
    palette_growth: float = 1.0  # entries of the palette, times what is usual for so many splats
    palette_noise: float = 0.003  # variance that rounding may add to harmonics, of their own variance
    sh_degree: int = 3  # bands above are left out
    keep_coded: bool = True  # what has at most 256 distinct values (a SOG that was decoded) is not rounded again


@dataclass(frozen=True)
class Encoded:
    files: SogFiles
    source: Splats  # in the orientation of the file
    order: NDArray[np.int64]  # of the source's splats in the file

    @property
    def kept(self) -> Splats:
        """The source in the file's order, to compare with what comes out of it. A copy, made on demand."""
        return self.source.take(self.order)


def encode_sog(splats: Splats, precision: Precision, order: Order = "hilbert") -> Encoded:
    splats = splats.with_sh_degree(min(splats.sh_degree, precision.sh_degree))
    source = canonical(splats)
    rows = np.arange(len(source)) if order == "given" else ORDERS[order](source)
    splats = source.with_sh_degree(0).take(rows)
    means, pictures = _means(splats, precision)
    scales_codebook, pictures["scales.webp"] = _coded(splats.scales, precision.scales_step, precision.keep_coded)
    pictures["quats.webp"] = _quats(splats, precision)
    sh0_codebook, colours = _coded(splats.sh0, precision.sh0_step, precision.keep_coded)
    pictures["sh0.webp"] = np.column_stack([colours, _alphas(splats, precision)])
    meta: dict[str, Any] = {
        "version": 2,
        "asset": {"generator": GENERATOR},
        "count": len(splats),
        "means": {**means, "files": ["means_l.webp", "means_u.webp"]},
        "scales": {"codebook": _short(scales_codebook), "files": ["scales.webp"]},
        "quats": {"files": ["quats.webp"]},
        "sh0": {"codebook": _short(sh0_codebook), "files": ["sh0.webp"]},
    }
    layers = {name: _picture(columns) for name, columns in pictures.items()}
    del pictures
    if source.sh_degree:
        meta["shN"], harmonics = _harmonics(source, rows, precision)
        layers |= harmonics
    return Encoded(SogFiles(meta, _compressed(layers)), source, rows)


def usual_entries(count: int) -> int:
    """Of the palette. Others take a power of two between n / 2 and n; labels in order make more entries cheap."""
    return min(MAX_ENTRIES, max(1024, count * 2 // 3))


def log_means(means: Floats) -> NDArray[np.float64]:
    wide = means.astype(np.float64)
    return np.sign(wide) * np.log1p(np.abs(wide))


ORDERS: dict[str, Callable[[Splats], NDArray[np.int64]]] = {
    "morton": lambda splats: morton_order(log_means(splats.means).astype(np.float32)),
    "hilbert": lambda splats: hilbert_order(log_means(splats.means).astype(np.float32)),
}


def _means(splats: Splats, precision: Precision) -> tuple[dict[str, list[float]], dict[str, NDArray[Any]]]:
    logs = log_means(splats.means)
    low, high = logs.min(axis=0), logs.max(axis=0)
    extent = np.where(high > low, high - low, 1.0)
    codes = np.rint((logs - low) / extent * (65535 / precision.means_step)).astype(np.int64) * precision.means_step
    codes = np.minimum(codes, 65535)
    meta = {"mins": _short(low), "maxs": _short(low + extent)}
    return meta, {"means_l.webp": (codes & 255).astype(np.uint8), "means_u.webp": (codes >> 8).astype(np.uint8)}


def _quats(splats: Splats, precision: Precision) -> NDArray[np.uint8]:
    quats = splats.quats.astype(np.float64)
    dropped = np.abs(quats).argmax(axis=1)
    largest = np.abs(np.take_along_axis(quats, dropped[:, None], axis=1))
    signs = np.sign(np.take_along_axis(quats, dropped[:, None], axis=1))
    three = np.take_along_axis(quats, OTHER_COMPONENTS[dropped], axis=1) * signs
    codes = _rounded_together(three, largest, precision.quats_step)
    return np.column_stack([codes, dropped + INDEX_BASE]).astype(np.uint8)


def _rounded_together(three: NDArray[np.float64], largest: NDArray[np.float64], step: int) -> NDArray[np.float64]:
    """Of the 8 ways to round three components up or down, the one that also moves the fourth, which follows, least."""
    exact = (three * np.sqrt(0.5) + 0.5) * 255
    below = np.floor(exact / step) * step
    best, least = below, np.full(len(three), np.inf)
    for up in np.ndindex(2, 2, 2):
        codes = np.clip(below + np.array(up) * step, 0, 255 // step * step)
        off = codes - exact
        error = (off**2).sum(axis=1) + ((three * off).sum(axis=1) / largest[:, 0]) ** 2
        better = error < least
        best, least = np.where(better[:, None], codes, best), np.where(better, error, least)
    return best


def _alphas(splats: Splats, precision: Precision) -> NDArray[np.uint8]:
    """Counted down from 255, so that what is opaque stays so at any step."""
    coded = precision.keep_coded and len(np.unique(splats.alphas)) <= ENTRIES
    step = 1 if coded else precision.alpha_step
    missing = np.rint((1 - splats.alphas.astype(np.float64)) * (255 / step)) * step
    return np.maximum(255 - missing, 0).astype(np.uint8)


def _coded(values: Floats, step: float, keep_coded: bool) -> tuple[Floats, NDArray[np.uint8]]:
    codebook = best_codebook(values, ENTRIES)
    distinct = float(np.abs(codebook[indices_of(values, codebook)] - values).max()) == 0
    if not (distinct and keep_coded):
        codebook = stepped_codebook(values, step)
    return codebook, indices_of(values, codebook)


def _harmonics(
    splats: Splats, rows: NDArray[np.int64], precision: Precision
) -> tuple[dict[str, Any], dict[str, Pixels]]:
    vectors = splats.shN.reshape(len(splats), -1)
    entries = round(usual_entries(len(splats)) * precision.palette_growth)
    palette, labels = palette_of(vectors, min(max(entries, 64), MAX_ENTRIES))
    named, labels = by_first_appearance(labels[rows], len(palette))
    palette = palette[named]
    flat = vectors.ravel()
    variance = float(flat @ flat) / flat.size - float(flat.mean()) ** 2  # var() would copy all of it
    codebook = stepped_codebook(palette, float(np.sqrt(12 * precision.palette_noise * variance)) or 1.0)
    coefficients = splats.shN.shape[1]
    height = -(-len(palette) // PALETTE_COLUMNS)
    picture = np.zeros((height * PALETTE_COLUMNS, coefficients, 4), np.uint8)
    picture[..., 3] = 255
    picture[: len(palette), :, :3] = indices_of(palette, codebook).reshape(-1, coefficients, 3)
    meta = {
        "count": len(palette),
        "bands": splats.sh_degree,
        "codebook": _short(codebook),
        "files": ["shN_centroids.webp", "shN_labels.webp"],
    }
    label_columns = np.column_stack([labels & 255, labels >> 8, np.zeros_like(labels)])
    centroids = picture.reshape(height, PALETTE_COLUMNS * coefficients, 4)
    return meta, {"shN_centroids.webp": centroids, "shN_labels.webp": _picture(label_columns)}


def _picture(columns: NDArray[Any]) -> Pixels:
    """[n, 3 or 4] as a nearly square picture whose sides are multiples of 4; pixels without a splat are zero."""
    width = -(-int(np.ceil(np.sqrt(len(columns)))) // 4) * 4
    height = -(-len(columns) // (4 * width)) * 4
    pixels = np.zeros((height * width, 4), np.uint8)
    pixels[: len(columns), : columns.shape[1]] = columns
    if columns.shape[1] == 3:
        pixels[:, 3] = 255
    return pixels.reshape(height, width, 4)


def _compressed(layers: dict[str, Pixels]) -> dict[str, bytes]:
    with ThreadPoolExecutor(THREADS) as pool:  # libwebp works without the interpreter's lock
        return dict(zip(layers, pool.map(lossless_webp, layers.values()), strict=True))


def _short(values: Floats | NDArray[np.float64]) -> list[float]:
    """As few digits as bring back the same float32."""
    return [float(str(value)) for value in np.asarray(values, np.float32)]
