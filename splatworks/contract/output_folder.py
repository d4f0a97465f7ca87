"""The rule for removing results from an output folder: an earlier run has marked them, and this run does not read them.

The stages and the command line share this rule. Everything is checked before the first file is removed.
"""

import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any


class NotOursError(Exception):
    """`path` must stay: no earlier run wrote it or, if `read` is given, this run reads that in it."""

    def __init__(self, path: Path, read: Path | None = None) -> None:
        super().__init__(f"{path} holds {read}, which is read" if read else f"{path} was not written by an earlier run")
        self.path, self.read = path, read


def removable(results: Iterable[Path], is_ours: Callable[[Path], bool], read: Iterable[Path] = ()) -> list[Path]:
    """The results that exist. Raises NotOursError for one that must stay."""
    present = [path for path in results if path.exists() or path.is_symlink()]
    inputs = list(read)
    for path in present:
        for each in inputs:
            if holds(path, each):
                raise NotOursError(path, each)
    for path in present:
        if not is_ours(path):
            raise NotOursError(path)
    return present


def remove(paths: Iterable[Path]) -> None:
    """Remove files and folders in their order; of a link only the link."""
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def holds(folder: Path, path: Path) -> bool:
    """Whether `path` is `folder` or is in it, by its name or by what the name leads to."""
    places = (path.resolve(), path.parent.resolve() / path.name)
    if any(place.is_relative_to(folder.resolve()) for place in places):
        return True
    parts = [part for place in places for part in (place, *place.parents)]
    return folder.exists() and any(part.exists() and folder.samefile(part) for part in parts)


def overlap(one: Path, other: Path) -> bool:
    """Whether one holds the other."""
    return holds(one, other) or holds(other, one)


def mark_in(report: Path) -> dict[str, Any]:
    """The JSON object in a report, by which a stage knows its own results; else an empty one."""
    try:
        facts = json.loads(report.read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return facts if isinstance(facts, dict) else {}
