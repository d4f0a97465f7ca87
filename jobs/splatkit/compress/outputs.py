"""Results in the output folder: an earlier run's are removed, other files stay."""

import re
from pathlib import Path

from splatkit.compress.sog_encoder import GENERATOR
from splatkit.output_folder import removable_results
from splatkit.stage_files import REPORT
from splatworks.contract.output_folder import mark_in, remove
from splatworks.contract.stages.compress import STAGE

FILES = ("scene.sog", "thumbnail.png", "turntable.mp4")
FOLDERS = {  # and all that is ever in them
    "lod": re.compile(r"lod-meta\.json|\d+_\d+|\.DS_Store"),
    "viewer": re.compile(r"\.?(index|stream)\.html(\.\d+)?|\.DS_Store"),
}
NAMES = (*FILES, *FOLDERS, REPORT)  # the last is written before the others, and marks them as ours
MADE_BY = {"generator": GENERATOR, "stage": STAGE.name}  # the report's first lines
REPORTED_BEFORE = {"source", "dropped", "turn", "precision", "held"}  # by reports from before they named their maker


def results_in(folder: Path, output: Path) -> list[Path]:
    """Where results in `output` lie as `folder` names them, whose part it may be."""
    outer, inner = folder.resolve(), output.resolve()
    return [folder / inner.relative_to(outer) / name for name in NAMES] if inner.is_relative_to(outer) else []


def clear_output(folder: Path, splat: Path) -> None:
    """Remove an earlier run's results and what it was writing when it was killed.

    Raises StageError (input_error), before anything is removed, if `splat` or other files would go.
    """
    ours = _is_ours(folder / REPORT)
    results = [folder / name for name in NAMES]
    remove(removable_results(results, lambda path: ours and _only_ours_in(path), [splat]))
    for name in NAMES:
        unfinished = re.compile(rf"\.{re.escape(name)}(\.\d+)+")
        remove(path for path in folder.glob(f".{name}.*") if unfinished.fullmatch(path.name))


def _is_ours(report: Path) -> bool:
    facts = mark_in(report)
    return MADE_BY.items() <= facts.items() or facts.keys() >= REPORTED_BEFORE


def _only_ours_in(path: Path) -> bool:
    if path.is_symlink():
        return True  # only the link is removed
    if names := FOLDERS.get(path.name):
        return path.is_dir() and all(names.fullmatch(entry.name) for entry in path.iterdir())
    return path.is_file()
