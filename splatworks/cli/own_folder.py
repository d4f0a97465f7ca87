"""A folder of results that a command replaces each time: never one that holds, or is in, what the command reads."""

from collections.abc import Iterable
from pathlib import Path

from splatworks.contract.output_folder import NotOursError, overlap, removable, remove


class NotOurFolderError(Exception):
    """The folder must not be replaced; the text says why."""


def check_replaceable(folder: Path, mark: str, read: Iterable[Path]) -> None:
    """`mark` is in the folders that an earlier run left; `read` is what this run reads."""
    if folder.exists() and not folder.is_dir():
        raise NotOurFolderError(f"{folder} is not a folder.")
    for path in read:
        if overlap(folder, path):
            raise NotOurFolderError(f"{folder} is replaced by each run, and {path} is read: one lies in the other.")
    try:
        removable([folder], lambda path: (path / mark).exists() or not any(path.iterdir()))
    except NotOursError:
        raise NotOurFolderError(f"{folder} holds files that no earlier run wrote.") from None


def replace_folder(folder: Path, mark: str) -> None:
    remove([folder])
    folder.mkdir(parents=True)
    (folder / mark).touch()
