"""The files of a SOG by name: entries of a zip, or files of a folder. Both may come from strangers."""

import zipfile
import zlib
from pathlib import Path
from typing import Protocol

ENCRYPTED = 1  # of an entry's flags
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # viewers know no others


class Container(Protocol):
    def held(self, name: str) -> int:
        """Bytes that the file takes here. Raises ValueError when it is missing."""

    def load(self, name: str, most: int) -> bytes:
        """Raises ValueError when it is missing, damaged or larger than `most` bytes."""


class Bundle:
    """Entries are read by their exact names and never extracted, so that no path in the zip matters."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive

    def held(self, name: str) -> int:
        return self._entry(name).compress_size

    def load(self, name: str, most: int) -> bytes:
        entry = self._entry(name)
        if entry.flag_bits & ENCRYPTED:
            raise ValueError(f"{name} is encrypted")
        if entry.compress_type not in METHODS:
            raise ValueError(f"{name} is compressed by method {entry.compress_type}; stored and deflated are read")
        if entry.header_offset < 0:  # zipfile would seek there
            raise ValueError(f"{name} is damaged: the zip is cut off at its beginning")
        _require_small(name, entry.file_size, most)
        try:
            return self._archive.read(entry)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OverflowError) as problem:
            raise ValueError(f"{name} is damaged: {problem}") from problem

    def _entry(self, name: str) -> zipfile.ZipInfo:
        try:
            return self._archive.getinfo(name)
        except KeyError:
            raise ValueError(f"{name} is missing") from None


class Folder:
    def __init__(self, path: Path) -> None:
        self._path = path

    def held(self, name: str) -> int:
        return self._file(name).stat().st_size

    def load(self, name: str, most: int) -> bytes:
        file = self._file(name)
        _require_small(name, file.stat().st_size, most)
        return file.read_bytes()

    def _file(self, name: str) -> Path:
        file = self._path / name
        if not file.is_file():
            raise ValueError(f"{name} is no file" if file.exists() else f"{name} is missing")
        return file


def _require_small(name: str, size: int, most: int) -> None:
    if size > most:
        raise ValueError(f"{name} announces {size:,} bytes; at most {most:,} are read")
