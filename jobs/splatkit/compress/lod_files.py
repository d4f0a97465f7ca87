"""Streamed SOG: levels of detail in pieces of space, each a SOG, with the lod-meta.json by which a viewer picks them.

Specification: developer.playcanvas.com, user manual, Gaussian splatting, formats, streamed SOG.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from splatkit.compress.curves import hilbert_order
from splatkit.compress.sog_encoder import GENERATOR, Precision, encode_sog, log_means
from splatkit.formats.paletted import Paletted, join_paletted
from splatkit.formats.sog import open_sog
from splatkit.formats.spool import taken
from splatkit.orientation import rotation_matrices
from splatkit.splats import Floats, Splats, unit_quats
from splatkit.whole_files import whole_folder

INDEX_FILE = "lod-meta.json"
FILE_SPLATS = 512 * 1024  # about so many per SOG
LEAF_SPLATS = 64 * 1024  # of the finest level per leaf of the tree: the unit in which a viewer changes detail
STANDARD_DEVIATIONS = 3  # that a splat reaches beyond its centre

Index = NDArray[np.int64]


@dataclass
class Node:
    """A part of space: halves, or the place of its splats in the files of each level."""

    halves: "tuple[Node, Node] | None" = None
    axis: int = 0
    cut: float = 0.0  # what is no larger along the axis lies in the first half
    lods: dict[str, dict[str, int]] = field(default_factory=dict)
    low: Floats = field(default_factory=lambda: np.full(3, np.inf, np.float32))
    high: Floats = field(default_factory=lambda: np.full(3, -np.inf, np.float32))

    def as_json(self) -> dict[str, Any]:
        if self.halves is None:
            return {"bound": _bound(self.low, self.high), "lods": self.lods}
        children = [half.as_json() for half in self.halves]
        bounds = [child["bound"] for child in children]
        low = np.min([bound["min"] for bound in bounds], axis=0)
        return {"bound": _bound(low, np.max([bound["max"] for bound in bounds], axis=0)), "children": children}


def write_levels(
    folder: Path, levels: Iterable[Splats], precision: Precision, between: Callable[[int], None]
) -> list[dict[str, int]]:
    """Writes lod-meta.json and the SOGs; returns splats and bytes of each level, the finest first.

    The folder appears when all of it is there. Of the levels only one is held at a time.
    """
    with whole_folder(folder) as beside:
        counts: list[int] = []
        names: list[str] = []
        tree = Node()
        for number, splats in enumerate(levels):
            between(number)
            if number == 0:
                tree = _tree(splats.means, np.arange(len(splats)))
            counts.append(len(splats))
            names += _write_level(beside, number, splats, tree, precision, len(names))
        meta = {
            "version": 1,
            "asset": {"generator": GENERATOR},
            "count": sum(counts),
            "counts": counts,
            "lodLevels": len(counts),
            "filenames": names,
            "tree": tree.as_json(),
        }
        (beside / INDEX_FILE).write_text(json.dumps(meta, separators=(",", ":"), allow_nan=False))
    return [{"splats": count, "bytes": _bytes_of(folder, number)} for number, count in enumerate(counts)]


def read_level(folder: Path, number: int) -> Paletted:
    return join_paletted([open_sog(part) for part in sorted(folder.glob(f"{number}_*"))])


def _bytes_of(folder: Path, number: int) -> int:
    return sum(path.stat().st_size for path in folder.glob(f"{number}_*/*"))


def _tree(means: Floats, rows: Index) -> Node:
    """Splits along the longest side at the median until the rows of the finest level fit a leaf."""
    if len(rows) <= LEAF_SPLATS:
        return Node()
    axis = int(np.ptp(means[rows], axis=0).argmax())
    cut = float(np.median(means[rows, axis]))
    first = means[rows, axis] <= cut
    if first.all():  # too many in one place
        return Node()
    return Node((_tree(means, rows[first]), _tree(means, rows[~first])), axis, cut)


def _leaves(node: Node, means: Floats, rows: Index) -> Iterator[tuple[Node, Index]]:
    """The rows in each leaf, along a Hilbert curve; leaves without rows are left out."""
    if node.halves is None:
        if len(rows):
            yield node, rows[hilbert_order(log_means(means[rows]).astype(np.float32))]
        return
    first = means[rows, node.axis] <= node.cut
    yield from _leaves(node.halves[0], means, rows[first])
    yield from _leaves(node.halves[1], means, rows[~first])


def _write_level(
    folder: Path, number: int, splats: Splats, tree: Node, precision: Precision, first_file: int
) -> list[str]:
    """The level's files by name; `first_file` is the number of the first of them in the index."""
    names: list[str] = []
    held: list[Index] = []

    def close() -> None:
        part = taken(splats, np.concatenate(held))
        encoded = encode_sog(part, precision, np.arange(len(part)))
        encoded.files.write_folder(folder / f"{number}_{len(names)}")
        names.append(f"{number}_{len(names)}/meta.json")
        held.clear()

    for leaf, rows in _leaves(tree, splats.means, np.arange(len(splats))):
        offset = sum(map(len, held))
        leaf.lods[str(number)] = {"file": first_file + len(names), "offset": offset, "count": len(rows)}
        inside = splats.with_sh_degree(0).take(rows)
        reach = _reach(inside)
        leaf.low = np.minimum(leaf.low, (inside.means - reach).min(axis=0))
        leaf.high = np.maximum(leaf.high, (inside.means + reach).max(axis=0))
        held.append(rows)
        if offset + len(rows) >= FILE_SPLATS:
            close()
    if held:
        close()
    return names


def _reach(splats: Splats) -> NDArray[np.float32]:
    """[N, 3] half the sides of the box around each Gaussian."""
    turned = rotation_matrices(unit_quats(splats.quats)) * np.exp(splats.scales)[:, None, :]
    return STANDARD_DEVIATIONS * np.sqrt((turned**2).sum(axis=2))


def _bound(low: NDArray[Any], high: NDArray[Any]) -> dict[str, list[float]]:
    return {"min": [float(f"{x:.7g}") for x in low], "max": [float(f"{x:.7g}") for x in high]}
