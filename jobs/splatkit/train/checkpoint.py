"""Checkpoints of a training: appear whole or not at all, are checked when read, and the one before is kept."""

import hashlib
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, cast

import torch

KEEP = 2
NAME = re.compile(r"step-(\d{8,})-([0-9a-f]{16})-([0-9a-f]{16})\.pt")  # step, training, content
FIRST_NAME = re.compile(r"step-\d{8,}-[0-9a-f]{16}\.pt")  # of earlier versions, without the training
BESIDE = re.compile(r"\.writing-(\d{1,9})")  # the process's number
LONGEST_WRITING = 3600  # seconds


class _Hashing:
    """A file that torch.save writes to, hashed on the way."""

    def __init__(self, path: Path) -> None:
        self._file, self._digest = path.open("wb"), hashlib.sha256()

    def write(self, data: Any) -> int:
        self._digest.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()

    def finish(self) -> str:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return self._digest.hexdigest()[:16]


def save_checkpoint(folder: Path, step: int, state: dict[str, Any]) -> Path:
    """The hash is in the name: no second file can be lost or stale. Other trainings' go with the first of this."""
    mark = _mark(state["fingerprint"])
    folder.mkdir(parents=True, exist_ok=True)
    beside = folder / f".writing-{os.getpid()}"
    try:
        file = _Hashing(beside)
        torch.save(state, cast(IO[bytes], file))
        path = folder / f"step-{step:08d}-{mark}-{file.finish()}.pt"
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    kept = [own for own in _by_age(folder) if f"-{mark}-" in own.name][:KEEP]
    for old in {*_by_age(folder)} - {*kept}:
        old.unlink(missing_ok=True)
    return path


def load_checkpoint(folder: Path, fingerprint: str, say: Callable[[str], None]) -> dict[str, Any] | None:
    """The newest that is whole and of this training, its tensors mapped from the file. Says why it passes over one.

    Damaged ones are removed: each would take the place of a good one.
    """
    for path in folder.glob(".writing-*"):
        if (writer := BESIDE.fullmatch(path.name)) and _was_killed(int(writer[1]), path):
            path.unlink(missing_ok=True)
    for path in _by_age(folder):
        match = NAME.fullmatch(path.name)
        if not match or match[2] != _mark(fingerprint):
            say(f"{path.name} is of other photos or options and is not used")
        elif _hash(path) != match[3]:
            say(f"{path.name} is damaged or was cut off, and is removed; trying the one before")
            path.unlink(missing_ok=True)
        else:
            # weights_only: a checkpoint comes from a bucket, and unpickling must not run code.
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            return state
    return None


def _was_killed(writer: int, path: Path) -> bool:
    """Its number may be another's by now: this process's own, for one, in a container."""
    try:
        if writer == os.getpid() or time.time() - path.stat().st_mtime > LONGEST_WRITING:
            return True
        os.kill(writer, 0)
    except FileNotFoundError:
        return False
    except ProcessLookupError:
        return True
    except PermissionError:  # it is alive, and another user's
        return False
    return False


def _mark(fingerprint: str) -> str:
    return hashlib.sha256(fingerprint.encode()).hexdigest()[:16]


def _by_age(folder: Path) -> list[Path]:
    """Newest first. Only ours: the folder may hold another program's, too."""
    ours = [p for p in folder.glob("step-*.pt") if NAME.fullmatch(p.name) or FIRST_NAME.fullmatch(p.name)]
    return sorted(ours, key=lambda p: (int(p.name.split("-")[1]), p.name), reverse=True)


def _hash(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:16]
    except FileNotFoundError:  # another rank has removed it
        return ""
