"""A folder of results that a command replaces each time: never one that holds, or lies in, what the command reads."""

import shutil
from collections.abc import Iterable
from pathlib import Path


class NotOurFolderError(Exception):
    """The folder must not be replaced; the text says why."""


def check_replaceable(folder: Path, mark: str, read: Iterable[Path]) -> None:
    """`mark` is in the folders that an earlier run left; `read` is what this run reads."""
    if folder.exists() and not folder.is_dir():
        raise NotOurFolderError(f"{folder} is no folder.")
    for path in read:
        if _overlap(folder, path):
            raise NotOurFolderError(f"{folder} is replaced by each run, and {path} is read: one lies in the other.")
    if folder.exists() and any(folder.iterdir()) and not (folder / mark).exists():
        raise NotOurFolderError(f"{folder} holds files that no earlier run wrote.")


def replace_folder(folder: Path, mark: str) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / mark).touch()


def _overlap(folder: Path, path: Path) -> bool:
    """Also by way of links: neither what a name leads to may go, nor the name."""
    ours = folder.resolve()
    return any(each.is_relative_to(ours) or ours.is_relative_to(each) for each in (path.resolve(), path.absolute()))
