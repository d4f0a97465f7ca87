"""What lies in the input folder, by the stages' own names: the splat, the photos that judge it, which way is up.

The outputs of train.py and sfm.py may be mixed in one folder, or lie in folders of any name beside each other.
"""

import json
from collections.abc import Collection
from pathlib import Path

from splatkit.errors import input_error
from splatkit.formats.sog import META
from splatkit.formats.splat_files import READERS
from splatkit.stage_files import GEOREFERENCE, METRICS, SPLAT


def find_splat(folder: Path, chosen: str, results: Collection[Path] = ()) -> Path:
    """Raises StageError (input_error) when the folder has none, or several and nothing says which.

    What lies in `results`, those of an earlier run, is only taken where there is no other.
    """
    if folder.is_file():
        return folder
    if chosen:
        path = folder / chosen
        if not path.resolve().is_relative_to(folder.resolve()) or not path.exists():
            raise input_error("no_splat", f"there is no {chosen} in {folder}", "Correct --splat.")
        return path
    found = _in_or_below(folder, SPLAT) or sorted(
        path for path in folder.rglob("*") if path.suffix.lower() in READERS or path.name == META
    )
    found = [path for path in found if not any(path.is_relative_to(result) for result in results)] or found
    if len(found) == 1:
        return found[0]
    if not found:
        cause = f"{folder} holds no {SPLAT}, nor another file of {', '.join(READERS)}"
        raise input_error("no_splat", cause, "Give the output folder of train.py as --input-dir.")
    names = ", ".join(str(path.relative_to(folder)) for path in found[:5])
    raise input_error("several_splats", f"{folder} holds {len(found)} splats: {names}", "Choose one with --splat.")


def is_z_up(folder: Path) -> bool:
    return bool(_in_or_below(folder, GEOREFERENCE))


def held_out_by_training(splat: Path) -> list[str] | None:
    """Names of the photos that train.py measured itself by, none where it trained on all; None where it does not tell.

    Other programs write files of that name too.
    """
    path = splat.with_name(METRICS)
    if not path.is_file():
        return None
    try:
        metrics = json.loads(path.read_text())
        names = [str(photo["name"]) for photo in metrics["per_photo"]]
        return names if names or metrics["held_out"] == 0 else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def size_of(splat: Path) -> int:
    """Of an unbundled SOG: all its files."""
    return sum(p.stat().st_size for p in splat.parent.iterdir()) if splat.name == META else splat.stat().st_size


def _in_or_below(folder: Path, name: str) -> list[Path]:
    """In the folder itself, else in the folders directly below."""
    if (folder / name).exists():
        return [folder / name]
    return sorted(folder.glob(f"*/{name}"))
