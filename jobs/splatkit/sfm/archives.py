"""Zip files from strangers: unpacked without leaving the folder and without filling the disk."""

import contextlib
import shutil
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath

MAX_ENTRIES = 50_000
MAX_BYTES = 64 * 2**30  # of one zip, unpacked
MAX_RATIO = 200  # unpacked over packed; photos are compressed already, so honest ones are near 1


def unpack_zip(archive: Path, folder: Path, wanted: Callable[[str], bool]) -> list[tuple[str, str]]:
    """Unpacks the wanted files below `folder`; returns (entry, reason) of what was left out."""
    try:
        with zipfile.ZipFile(archive) as opened:
            return _unpack(opened, folder, wanted)
    except (zipfile.BadZipFile, NotImplementedError, EOFError) as problem:
        return [("", f"not a zip file that can be read: {problem}")]


def _unpack(opened: zipfile.ZipFile, folder: Path, wanted: Callable[[str], bool]) -> list[tuple[str, str]]:
    # A name may be empty, which is_dir() does not expect.
    entries = [entry for entry in opened.infolist() if not entry.filename or not entry.is_dir()]
    if len(entries) > MAX_ENTRIES:
        return [("", f"{len(entries)} entries; at most {MAX_ENTRIES} are unpacked")]
    if sum(entry.file_size for entry in entries) > MAX_BYTES:
        return [("", f"unpacks to more than {MAX_BYTES // 2**30} GiB")]
    left_out = []
    for entry in entries:
        reason = _refusal(entry, wanted)
        if reason is None:
            reason = _extract(opened, entry, folder)
        if reason:
            left_out.append((entry.filename, reason))
    return left_out


def _refusal(entry: zipfile.ZipInfo, wanted: Callable[[str], bool]) -> str | None:
    path = PurePosixPath(entry.filename.replace("\\", "/"))
    if not path.parts or path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
        return "its path would leave the folder"
    if stat.S_ISLNK(entry.external_attr >> 16):
        return "a link"
    if entry.flag_bits & 1:
        return "encrypted"
    if entry.file_size > MAX_RATIO * max(1, entry.compress_size):
        return f"unpacks to {entry.file_size} bytes from {entry.compress_size}: a zip bomb"
    return None if wanted(path.name) else "not a photo"


def _extract(opened: zipfile.ZipFile, entry: zipfile.ZipInfo, folder: Path) -> str | None:
    target = folder / entry.filename.replace("\\", "/")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # zipfile stops at the declared size, so that a lying header cannot write more than was summed up above.
        with opened.open(entry) as source, target.open("wb") as sink:
            shutil.copyfileobj(source, sink, 1 << 20)
    except (zipfile.BadZipFile, NotImplementedError, EOFError, OSError, ValueError) as problem:
        with contextlib.suppress(OSError, ValueError):  # a name that no file can have left nothing behind
            target.unlink()
        return f"damaged: {problem}"
    return None
