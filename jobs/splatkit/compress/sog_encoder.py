"""Splats to SOG: what is kept of each attribute, in which order, as which pictures."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from splatkit.compress.codebook import codebook_within, distinct_values, indices_of, stepped_codebook
from splatkit.compress.curves import hilbert_order, morton_order
from splatkit.compress.palette import MAX_ENTRIES, by_first_appearance, palette_of
from splatkit.formats.packing import OTHER_COMPONENTS
from splatkit.formats.sog import INDEX_BASE, PALETTE_COLUMNS, SogFiles
from splatkit.formats.spool import release
from splatkit.formats.webp import EFFORTS, Efforts, Pixels, lossless_webp
from splatkit.orientation import canonical
from splatkit.splats import Floats, Splats
from splatkit.threads import cores

Order = Literal["hilbert", "morton"]
Bytes = NDArray[np.uint8]
GENERATOR = "splatworks"
IMPORTANCE = 0.25  # power of what a splat covers, by which its harmonics weigh in the palette
THREADS = 2
PIXELS_PER_THREAD = 1 << 19  # of larger pictures one is encoded at a time: libwebp takes 100 bytes per pixel
LEAST_ALPHA = 0.999 / 255  # a little less, as what was decoded has gone through a logarithm and back
ON_A_CODE = 0.05  # of a code that float32 may have moved what lay on one
ROWS_AT_ONCE = 1 << 16
SAMPLE, VALUES_AT_ONCE = 1 << 17, 1 << 17
FAR_OUT = 10.0  # times the range of 99 % of the values


@dataclass(frozen=True, kw_only=True)
class Precision:
    """How finely each attribute is kept. Steps of 2 with rounding err no more than the usual 1 with truncation."""

    means_step: int = 2  # of 65,535 over the scene's extent along an axis, on a logarithmic scale
    quats_step: int = 2  # of 255; half of it beside harmonics, of whose bytes it is a hundredth
    alpha_step: int = 2  # of 255
    scales_error: float = 1.0  # RMSE, times that of the best 256 values, which is as fine as SOG can be
    sh0_error: float = 1.0
    palette_growth: float = 1.0  # entries of the palette, times what is usual for so many splats
    palette_noise: float = 0.0028  # variance that rounding may add to harmonics, of their own variance
    sh_degree: int = 3  # bands above are left out
    keep_coded: bool = True  # what a SOG held that was decoded (256 distinct values; positions on its codes) stays


@dataclass(frozen=True)
class Encoded:
    files: SogFiles
    source: Splats  # in the orientation of the file
    order: NDArray[np.int64]  # of the source's splats in the file: what no picture can show comes last
    visible: int  # how many come before that; of the rest no more is kept than that they are there

    @property
    def kept(self) -> Splats:
        """The visible source in the file's order, to compare with what comes out of it. A copy, made on demand."""
        return self.source.take(self.order[: self.visible])


def encode_sog(
    splats: Splats, precision: Precision, order: Order | NDArray[np.int64] = "hilbert", efforts: Efforts = EFFORTS
) -> Encoded:
    """`order` is a curve's name, or the rows in the order of the file; those that do not show come last in any case."""
    source = canonical(splats.with_sh_degree(min(splats.sh_degree, precision.sh_degree)))
    rows = ORDERS[order](source) if isinstance(order, str) else order
    seen = is_visible(source)[rows]
    shown = rows[seen] if seen.any() else rows
    meta: dict[str, Any] = {"version": 2, "asset": {"generator": GENERATOR}, "count": len(source)}
    if source.antialiased:
        meta["antialias"] = True
    if source.sh_degree:
        precision = replace(precision, quats_step=max(1, precision.quats_step // 2))
    geometry, layers = _geometry(source.with_sh_degree(0).take(shown), precision, len(source))
    meta |= geometry
    if source.sh_degree:
        meta["shN"], harmonics = _harmonics(source, shown, precision)
        layers |= harmonics
        release(source.shN)
    rows = np.concatenate([shown, rows[~seen]]) if seen.any() else rows
    return Encoded(SogFiles(meta, _compressed(layers, efforts)), source, rows, len(shown))


def is_visible(splats: Splats) -> NDArray[np.bool_]:
    """[N] fainter ones are skipped by every rasterizer, and 8 bits cannot hold them."""
    return splats.alphas >= LEAST_ALPHA


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


def _geometry(splats: Splats, precision: Precision, count: int) -> tuple[dict[str, Any], dict[str, Pixels]]:
    means, low_bytes, high_bytes = _means(splats.means, precision)
    scales_codebook, scales = _coded(splats.scales, precision.scales_error, precision.keep_coded)
    sh0_codebook, colours = _coded(splats.sh0, precision.sh0_error, precision.keep_coded)
    pictures = {
        "means_l.webp": low_bytes,
        "means_u.webp": high_bytes,
        "scales.webp": scales,
        "quats.webp": _quats(splats.quats, precision.quats_step),
        "sh0.webp": np.column_stack([colours, _alphas(splats.alphas, precision)]),
    }
    meta = {
        "means": {**means, "files": ["means_l.webp", "means_u.webp"]},
        "scales": {"codebook": _short(scales_codebook), "files": ["scales.webp"]},
        "quats": {"files": ["quats.webp"]},
        "sh0": {"codebook": _short(sh0_codebook), "files": ["sh0.webp"]},
    }
    layers = {name: _picture(columns, count) for name, columns in pictures.items()}
    layers["sh0.webp"].reshape(-1, 4)[len(splats) : count, 3] = 0
    return meta, layers


def _means(means: Floats, precision: Precision) -> tuple[dict[str, list[float]], Bytes, Bytes]:
    low, high = np.zeros(3), np.zeros(3)
    codes = np.empty(means.shape, np.uint16)
    for axis in range(3):
        logs = log_means(means[:, axis])
        low[axis], high[axis] = logs.min(), logs.max()
        extent = high[axis] - low[axis] or 1.0
        exact = (logs - low[axis]) * (65535 / extent)
        coded = precision.keep_coded and float(np.abs(exact - np.rint(exact)).max()) < ON_A_CODE
        codes[:, axis] = _rounded(exact, 1 if coded else precision.means_step, 65535)
        high[axis] = low[axis] + extent
    meta = {"mins": _short(low), "maxs": _short(high)}
    return meta, (codes & 255).astype(np.uint8), (codes >> 8).astype(np.uint8)


def _rounded(exact: NDArray[np.float64], step: int, most: int) -> NDArray[np.float64]:
    """To multiples of `step`; at 2, odd codes go to the values that gain most by them until truncation errs no less."""
    codes = np.rint(exact / step) * step
    if step == 2:
        off = np.abs(codes - exact)
        down = exact - np.floor(exact)
        excess = float((off**2).sum() - min((down**2).sum(), ((1 - down) ** 2).sum()))
        if excess > 0:
            gains = 2 * off - 1  # off^2 - (1 - off)^2
            worst = np.argsort(-gains)
            chosen = worst[: int(np.searchsorted(np.cumsum(gains[worst]), excess)) + 1]
            codes[chosen] += np.sign(exact - codes)[chosen]
    return np.clip(codes, 0, most)


def _quats(quats: Floats, step: int) -> Bytes:
    pixels = np.empty((len(quats), 4), np.uint8)
    for start in range(0, len(quats), ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        pixels[part] = _smallest_three(quats[part].astype(np.float64), step)
    return pixels


def _smallest_three(quats: NDArray[np.float64], step: int) -> NDArray[np.float64]:
    dropped = np.abs(quats).argmax(axis=1)
    largest = np.take_along_axis(quats, dropped[:, None], axis=1)
    three = np.take_along_axis(quats, OTHER_COMPONENTS[dropped], axis=1) * np.sign(largest)
    return np.column_stack([_rounded_together(three, np.abs(largest), step), dropped + INDEX_BASE])


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


def _alphas(alphas: Floats, precision: Precision) -> Bytes:
    """Counted down from 255, so that what is opaque stays so at any step."""
    step = 1 if precision.keep_coded and distinct_values(alphas) is not None else precision.alpha_step
    missing = _rounded((1 - alphas.astype(np.float64)) * 255, step, 255)
    return np.maximum(255 - missing, 1).astype(np.uint8)  # what is visible stays so


def _coded(values: Floats, error: float, keep_coded: bool) -> tuple[Floats, Bytes]:
    codebook = distinct_values(values) if keep_coded else None
    if codebook is None:
        codebook = codebook_within(values, error)
    return codebook, indices_of(values, codebook)


def _harmonics(
    splats: Splats, rows: NDArray[np.int64], precision: Precision
) -> tuple[dict[str, Any], dict[str, Pixels]]:
    """`rows` are the visible ones, in the order of the file."""
    if len(rows) < len(splats):
        vectors = splats.shN[rows].reshape(len(rows), -1)
        at = np.arange(len(rows))
    else:
        vectors, at = splats.shN.reshape(len(splats), -1), rows
    entries = round(usual_entries(len(rows)) * precision.palette_growth)
    weights = _importance(splats)[rows] if len(rows) < len(splats) else _importance(splats)
    palette, labels = palette_of(vectors, min(max(entries, 64), MAX_ENTRIES), weights)
    named, labels = by_first_appearance(labels[at], len(palette))
    palette = palette[named]
    noise = precision.palette_noise * bulk_variance(vectors)
    codebook = stepped_codebook(palette, float(np.sqrt(12 * noise)) or 1.0)
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
    return meta, {"shN_centroids.webp": centroids, "shN_labels.webp": _picture(label_columns, len(splats))}


def bulk_variance(values: Floats) -> float:
    """Variance of all but what is far out: a single value there must not coarsen the steps of all the others."""
    flat = values.ravel()
    low, high = np.quantile(flat[:: max(1, flat.size // SAMPLE)].astype(np.float64), [0.005, 0.995])
    reach = FAR_OUT * (high - low) or np.inf  # where nearly all values are one, the others are what is to be kept
    count, total, squares = 0, 0.0, 0.0
    for start in range(0, flat.size, VALUES_AT_ONCE):  # var() would copy all of it
        part = flat[start : start + VALUES_AT_ONCE].astype(np.float64)
        part = part[(part >= low - reach) & (part <= high + reach)]
        count, total, squares = count + part.size, total + part.sum(), squares + part @ part
    return float(max(squares / count - (total / count) ** 2, 0.0))


def _importance(splats: Splats) -> Floats:
    """[N] how much each counts in pictures, around 1: what it covers, but not so much that it alone were kept well."""
    area = np.log(splats.alphas + 1e-6) + np.sort(splats.scales, axis=1)[:, 1:].sum(axis=1)
    return np.exp(np.clip(IMPORTANCE * (area - np.median(area)), -2, 2)).astype(np.float32)


def _picture(columns: NDArray[Any], count: int) -> Pixels:
    """[n, 3 or 4] as a nearly square picture whose sides are multiples of 4; the last is repeated up to `count`."""
    width = -(-int(np.ceil(np.sqrt(count))) // 4) * 4
    height = -(-count // (4 * width)) * 4
    pixels = np.zeros((height * width, 4), np.uint8)
    pixels[: len(columns), : columns.shape[1]] = columns
    pixels[len(columns) : count] = pixels[len(columns) - 1]
    if columns.shape[1] == 3:
        pixels[:, 3] = 255
    return pixels.reshape(height, width, 4)


def _compressed(layers: dict[str, Pixels], efforts: Efforts) -> dict[str, bytes]:
    pixels = max(layer.size // 4 for layer in layers.values())
    threads = min(THREADS, cores()) if pixels <= PIXELS_PER_THREAD else 1
    with ThreadPoolExecutor(threads) as pool:  # libwebp works without the interpreter's lock
        encoded = pool.map(partial(lossless_webp, efforts=efforts), layers.values())
        return dict(zip(layers, encoded, strict=True))


def _short(values: Floats | NDArray[np.float64]) -> list[float]:
    """As few digits as bring back the same float32."""
    return [float(str(value)) for value in np.asarray(values, np.float32)]
