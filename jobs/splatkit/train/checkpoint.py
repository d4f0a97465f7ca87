"""Checkpoints of a training: appear whole or not at all, are checked when read, and the one before is kept."""

import hashlib
import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, cast

import torch

from splatkit.train.options import TrainOptions
from splatkit.train.scene import Scene

KEEP = 2
NAME = re.compile(r"step-(\d{8,})-([0-9a-f]{16})-([0-9a-f]{16})\.pt")  # step, training, content
FIRST_NAME = re.compile(r"step-\d{8,}-[0-9a-f]{16}\.pt")  # of earlier versions, without the training
BESIDE = re.compile(r"\.writing-(\d{1,9})")  # the process's number
LONGEST_WRITING = 3600  # seconds
SAMPLE = 1 << 14  # bytes of a photo
FORMAT = "5"  # of what is saved


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


def fingerprint(scene: Scene, options: TrainOptions) -> str:
    """Of all that a checkpoint depends on: another scene or another option must not go on from it."""
    settings = {name: str(getattr(options, name)) for name in options.__dataclass_fields__}
    for name in ("input_dir", "output_dir", "checkpoint_dir", "models_dir", "checkpoint_seconds", "flythrough_seconds"):
        settings.pop(name)
    for name in ("min_psnr", "threads", "device", "gpus"):
        settings.pop(name)
    settings["format"] = FORMAT
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for view in scene.views:
        digest.update(view.name.encode() + view.camera_from_world.tobytes() + view.intrinsics.tobytes())
        digest.update(_sample(view.taken.photo) + view.taken.lens.encode())
        digest.update(view.mask.read_bytes() if view.mask else b"no mask")
    digest.update(scene.points.tobytes())
    return digest.hexdigest()


def _sample(photo: Path) -> bytes:
    """Size, begin, middle and end, which tell a photo from another of its name: to read all of all would take long."""
    size = photo.stat().st_size
    with photo.open("rb") as file:
        parts = [str(size).encode()]
        for at in (0, max(0, size // 2 - SAMPLE // 2), max(0, size - SAMPLE)):
            file.seek(at)
            parts.append(file.read(SAMPLE))
    return b"".join(parts)
