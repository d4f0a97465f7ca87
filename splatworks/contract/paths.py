"""S3 keys as paths below one folder. A key is anything that somebody typed: it must not lead out of the folder."""

import unicodedata
from collections.abc import Iterable
from pathlib import Path

from splatworks.contract.failures import UnusableInputError

LONGEST_NAME = 255  # bytes; ext4 and xfs hold no longer name


def path_below(folder: Path, name: str, uri: str) -> Path:
    """The path below `folder` that `name` (the part of a key after its prefix) says; `uri` is for the message."""
    parts = name.split("/")
    for part in parts:
        if problem := _problem(part):
            raise UnusableInputError(
                "unsafe_key", f"{uri!r} cannot become a file: {problem}", "Rename the object, or give another input"
            )
    return folder.joinpath(*parts)


def refuse_collisions(targets: Iterable[tuple[Path, str]]) -> None:
    """Refuses (path, URI) pairs of which one would overwrite another, here or on a file system that ignores case."""
    files: dict[str, str] = {}
    folders: dict[str, str] = {}
    for path, uri in targets:
        if other := files.get(_folded(path)):
            raise _collision(uri, other, "they differ in upper and lower case only, or not at all")
        files[_folded(path)] = uri
        folders.update((_folded(parent), uri) for parent in path.parents)
    for name, uri in files.items():
        if name in folders:
            raise _collision(uri, folders[name], "one is a file where the other needs a folder")


def _problem(part: str) -> str | None:
    if part == "":
        return "its name has an empty part (`//`, or a `/` at its begin or end)"
    if part in (".", ".."):
        return f"its name has a part `{part}`"
    if "\0" in part:
        return "its name has a NUL character"
    if len(part.encode("utf-8", "surrogatepass")) > LONGEST_NAME:
        return f"its name has a part longer than {LONGEST_NAME} bytes"
    return None


def _folded(path: Path) -> str:
    return unicodedata.normalize("NFC", str(path).casefold())


def _collision(uri: str, other: str, why: str) -> UnusableInputError:
    return UnusableInputError(
        "colliding_keys", f"{uri!r} and {other!r} cannot both become files: {why}", "Rename or remove one of them"
    )
