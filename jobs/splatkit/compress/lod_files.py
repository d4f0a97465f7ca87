"""Streamed SOG: levels of detail in pieces of space, each a SOG, with the lod-meta.json by which a viewer picks them.

Specification: developer.playcanvas.com, user manual, Gaussian splatting, formats, streamed SOG.
"""

import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from splatkit.compress.curves import hilbert_order
from splatkit.compress.sog_encoder import GENERATOR, Precision, encode_sog, log_means
from splatkit.orientation import rotation_matrices
from splatkit.splats import Splats, join, unit_quats

FILE_SPLATS = 512 * 1024  # about so many per SOG
LEAF_SPLATS = 64 * 1024  # of the finest level per leaf of the tree: the unit in which a viewer changes detail
STANDARD_DEVIATIONS = 3  # that a splat reaches beyond its centre

Index = NDArray[np.int64]


def write_levels(
    folder: Path, levels: Sequence[Splats], precision: Precision, between: Callable[[int, int], None]
) -> dict[str, int]:
    """Writes lod-meta.json and the SOGs; returns bytes by file. The folder appears when all of it is there."""
    splats = join(levels)
    level_of = np.repeat(np.arange(len(levels)), [len(level) for level in levels])
    files: list[list[Index]] = []
    names: list[str] = []
    tree = _node(splats, level_of, np.arange(len(splats)), files, names)
    meta = {
        "version": 1,
        "asset": {"generator": GENERATOR},
        "count": len(splats),
        "counts": [len(level) for level in levels],
        "lodLevels": len(levels),
        "filenames": names,
        "tree": tree,
    }
    beside = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        beside.mkdir(parents=True)
        (beside / "lod-meta.json").write_text(json.dumps(meta, separators=(",", ":"), allow_nan=False))
        for i, (name, leaves) in enumerate(zip(names, files, strict=True)):
            between(i, len(names))
            encoded = encode_sog(splats.take(np.concatenate(leaves)), precision, "given")
            encoded.files.write_folder(beside / name.split("/")[0])
        shutil.rmtree(folder, ignore_errors=True)
        beside.replace(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return {str(path.relative_to(folder)): path.stat().st_size for path in sorted(folder.rglob("*")) if path.is_file()}


def _node(splats: Splats, level_of: Index, rows: Index, files: list[list[Index]], names: list[str]) -> dict[str, Any]:
    """Splits along the longest side at the median until the finest level fits a leaf."""
    means = splats.means[rows]
    if np.count_nonzero(level_of[rows] == 0) > LEAF_SPLATS:
        axis = int(np.ptp(means, axis=0).argmax())
        order = np.argsort(means[:, axis], kind="stable")
        halves = rows[order[: len(rows) // 2]], rows[order[len(rows) // 2 :]]
        children = [_node(splats, level_of, half, files, names) for half in halves]
        bounds = [child["bound"] for child in children]
        low = np.min([bound["min"] for bound in bounds], axis=0)
        high = np.max([bound["max"] for bound in bounds], axis=0)
        return {"bound": _bound(low, high), "children": children}
    lods = {}
    for level in np.unique(level_of[rows]):
        part = rows[level_of[rows] == level]
        part = part[hilbert_order(log_means(splats.means[part]).astype(np.float32))]
        file = _file_for(int(level), files, names)
        lods[str(level)] = {"file": file, "offset": sum(map(len, files[file])), "count": len(part)}
        files[file].append(part)
    reach = _reach(splats.take(rows))
    return {"bound": _bound((means - reach).min(axis=0), (means + reach).max(axis=0)), "lods": lods}


def _file_for(level: int, files: list[list[Index]], names: list[str]) -> int:
    """The last file of this level, or a new one where that is full."""
    own = [i for i, name in enumerate(names) if name.startswith(f"{level}_")]
    if own and sum(map(len, files[own[-1]])) < FILE_SPLATS:
        return own[-1]
    names.append(f"{level}_{len(own)}/meta.json")
    files.append([])
    return len(files) - 1


def _reach(splats: Splats) -> NDArray[np.float32]:
    """[N, 3] half the sides of the box around each Gaussian."""
    turned = rotation_matrices(unit_quats(splats.quats)) * np.exp(splats.scales)[:, None, :]
    return STANDARD_DEVIATIONS * np.sqrt((turned**2).sum(axis=2))


def _bound(low: NDArray[Any], high: NDArray[Any]) -> dict[str, list[float]]:
    return {"min": [float(f"{x:.7g}") for x in low], "max": [float(f"{x:.7g}") for x in high]}
