"""What lies in the output folder: an earlier run's results go, what is somebody else's is not touched."""

import json
import re
import shutil
from pathlib import Path

from splatkit.compress.sog_encoder import GENERATOR
from splatkit.errors import StageError, input_error
from splatworks.contract.stages.compress import STAGE

REPORT = "report.json"  # written before the other results: where it is ours, so are they
FILES = ("scene.sog", "thumbnail.png", "turntable.mp4")
FOLDERS = {  # and all that is ever in them
    "lod": re.compile(r"lod-meta\.json|\d+_\d+|\.DS_Store"),
    "viewer": re.compile(r"\.?(index|stream)\.html(\.\d+)?|\.DS_Store"),
}
NAMES = (*FILES, *FOLDERS, REPORT)
MADE_BY = {"generator": GENERATOR, "stage": STAGE.name}  # the report's first lines
ALWAYS_TOLD = {"source", "dropped", "turn", "precision", "held"}  # by reports from before they named their maker


def results_in(folder: Path, output: Path) -> list[Path]:
    """Where results in `output` lie as `folder` names them, whose part it may be."""
    outer, inner = folder.resolve(), output.resolve()
    return [folder / inner.relative_to(outer) / name for name in NAMES] if inner.is_relative_to(outer) else []


def clear_output(folder: Path, splat: Path) -> None:
    """An earlier run's results must not be taken for this one's, nor what it was writing when it was killed stay.

    Raises StageError (input_error), before anything is removed, where `splat` or another's files would go.
    """
    present = [path for name in NAMES if (path := folder / name).exists() or path.is_symlink()]
    for path in present:
        if _holds(path, splat):
            cause = f"{splat} would be removed with the results of an earlier run in {folder}"
            raise input_error("input_in_output", cause, "Give another --output-dir, or move the splat elsewhere.")
    ours = _is_ours(folder / REPORT)
    for path in present:
        if not (ours and _only_ours_in(path)):
            raise _strange(path)
    for path in present:  # the report last, so that what is left by an interruption is still known
        _remove(path)
    for name in NAMES:
        for path in folder.glob(f".{name}.*"):
            if re.fullmatch(rf"{re.escape(name)}(\.\d+)+", path.name[1:]):
                _remove(path)


def _holds(path: Path, splat: Path) -> bool:
    """By what the files are, as a link or another spelling leads to the same one."""
    real = splat.resolve()
    return path.exists() and any(path.samefile(part) for part in (real, *real.parents))


def _is_ours(report: Path) -> bool:
    try:
        facts = json.loads(report.read_text())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(facts, dict) and (MADE_BY.items() <= facts.items() or facts.keys() >= ALWAYS_TOLD)


def _only_ours_in(path: Path) -> bool:
    if path.is_symlink():
        return True  # the link goes, and not what it leads to
    if names := FOLDERS.get(path.name):
        return path.is_dir() and all(names.fullmatch(entry.name) for entry in path.iterdir())
    return path.is_file()


def _strange(path: Path) -> StageError:
    holds = " holds files that" if path.is_dir() else " exists and"
    fix = "Give another --output-dir, or move it away."
    return input_error("output_in_use", f"{path}{holds} no earlier run of this stage wrote", fix)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
