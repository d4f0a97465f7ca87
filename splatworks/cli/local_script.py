"""Which files a script brings along, by the rules of the platform: alone, or with the folder it has for itself."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from splatworks.cli.problems import Problem
from splatworks.planning.job_plan import slug

REQUIREMENTS = "requirements.txt"
MOST_FILES, MOST_BYTES = 2000, 500_000_000  # of a script's folder: more is not a script's folder
LEFT_BEHIND = ("__pycache__", "node_modules")
MARK = ".splatworks-run-local"  # in each folder of results that run-local has made


@dataclass(frozen=True)
class ScriptFiles:
    key: str  # of the script in the input bucket
    files: dict[str, Path]  # what is uploaded, by key


def script_files(script: Path, requirements: Path | None, *, alone: bool | None) -> ScriptFiles:
    """`alone` None: a script beside a requirements.txt has the folder for itself."""
    path = script.expanduser().resolve()
    if not path.is_file():
        raise Problem(f"There is no file {script}.", "Give the path of a Python script.")
    if path.suffix != ".py":
        raise Problem(f"{script} does not end in .py.", "Jobs run Python scripts; start other programs from one.")
    if requirements is not None and not requirements.is_file():
        raise Problem(f"There is no file {requirements}.", "Leave --requirements out, or name a file.")
    if alone is None:
        alone = not (path.parent / REQUIREMENTS).is_file()
    return _alone(path, requirements) if alone else _with_folder(path, requirements)


def _alone(script: Path, requirements: Path | None) -> ScriptFiles:
    key = f"jobs/{script.name}"
    beside = requirements or script.with_name(f"{script.stem}.{REQUIREMENTS}")
    files = {key: script}
    if beside.is_file():
        files[f"jobs/{script.stem}.{REQUIREMENTS}"] = beside
    return ScriptFiles(key, files)


def _with_folder(script: Path, requirements: Path | None) -> ScriptFiles:
    folder = f"jobs/{slug(script.parent.name, 'script')}"
    files = {f"{folder}/{path.relative_to(script.parent).as_posix()}": path for path in _folder(script.parent)}
    if requirements is not None:
        files[f"{folder}/{REQUIREMENTS}"] = requirements
    return ScriptFiles(f"{folder}/{script.name}", files)


def _folder(folder: Path) -> Iterator[Path]:
    count = size = 0
    results = {mark.parent for mark in folder.rglob(MARK)}  # of earlier runs: main-output/ beside main.py
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if any(part.startswith(".") or part in LEFT_BEHIND for part in parts) or not path.is_file():
            continue
        if not results.isdisjoint(path.parents):
            continue
        count, size = count + 1, size + path.stat().st_size
        if count > MOST_FILES or size > MOST_BYTES:
            raise Problem(
                f"{folder} holds more than {MOST_FILES} files or {MOST_BYTES // 1_000_000} MB.",
                "All of it would travel along: give the script a folder of its own, or let it travel --alone.",
            )
        yield path
