"""The files of a folder as `aws s3 cp --recursive` finds them, through links too; what cannot be sent is all named."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from splatworks.cli.problems import Problem
from splatworks.contract.failures import UnusableInputError
from splatworks.contract.keys import READY
from splatworks.contract.paths import path_below

MARKS = (READY, "Thumbs.db", "desktop.ini")  # _READY would start a run of its own where uploads do


@dataclass(frozen=True)
class NamedFile:
    name: str  # below the folder, with slashes
    path: Path


@dataclass(frozen=True)
class _Flaw:
    path: Path
    why: str
    fix: str


@dataclass
class _Walk:
    top: Path
    flaws: list[_Flaw] = field(default_factory=list)
    folders: dict[tuple[int, int], Path] = field(default_factory=dict)  # device and inode: a link has other names


def files_in(local: Path) -> list[NamedFile]:
    """All but hidden files and marks, in the order of their names. `local` is a folder, or one file."""
    walk = _Walk(local.parent if local.is_file() else local)
    found = list(_entry(walk, local) if local.is_file() else _below(walk, local))
    if walk.flaws:
        raise _refusal(local, walk.flaws)
    return found


def _below(walk: _Walk, folder: Path) -> Iterator[NamedFile]:
    if not _is_new(walk, folder):
        return
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        walk.flaws.append(_unreadable(folder, error))
        return
    for path in entries:
        yield from _entry(walk, path)


def _entry(walk: _Walk, path: Path) -> Iterator[NamedFile]:
    if path.name.startswith(".") or path.name in MARKS:
        return
    try:
        path.stat()
    except PermissionError as error:
        walk.flaws.append(_unreadable(path, error))
        return
    except OSError:  # of a link that is dead, or leads in a circle
        walk.flaws.append(_Flaw(path, "is a link that leads nowhere", "Mend such links, or remove them."))
        return
    if path.is_dir():
        yield from _below(walk, path)
    elif path.is_file() and _is_nameable(walk, path):
        yield NamedFile(path.relative_to(walk.top).as_posix(), path)


def _is_new(walk: _Walk, folder: Path) -> bool:
    """A loop would never end, and the photos of one folder under two names are the same photos twice."""
    fix = "Remove such links: each folder can be sent once only."
    if folder != walk.top and walk.top.resolve().is_relative_to(folder.resolve()):
        walk.flaws.append(_Flaw(folder, "leads back to the folder that holds it", fix))
        return False
    status = folder.stat()
    other = walk.folders.setdefault((status.st_dev, status.st_ino), folder)
    if other != folder:
        walk.flaws.append(_Flaw(folder, f"is the same folder as {_readable(other.relative_to(walk.top))}", fix))
    return other == folder


def _is_nameable(walk: _Walk, path: Path) -> bool:
    name = path.relative_to(walk.top).as_posix()
    try:
        name.encode()
        path_below(Path("input"), name, name)
    except UnicodeEncodeError:
        walk.flaws.append(_Flaw(path, "has a name that is not UTF-8", "Rename it: keys in S3 are UTF-8."))
    except UnusableInputError:
        walk.flaws.append(_Flaw(path, "has a name that no key can have", "Rename it."))
    else:
        return True
    return False


def _unreadable(path: Path, error: OSError) -> _Flaw:
    return _Flaw(path, f"cannot be read: {error.strerror}", "Make it readable, or move it away.")


def _refusal(local: Path, flaws: list[_Flaw]) -> Problem:
    top = local.parent if local.is_file() else local
    lines = [f"  {_readable(flaw.path.relative_to(top))} {flaw.why}" for flaw in flaws]
    fixes = dict.fromkeys(flaw.fix for flaw in flaws)
    return Problem("\n".join([f"{local} cannot be uploaded as it is:", *lines]), " ".join(fixes))


def _readable(path: Path) -> str:
    r"""Bytes that are no text as \xff, where Python has put half a surrogate pair in their place."""
    return os.fsencode(path).decode(errors="backslashreplace")
