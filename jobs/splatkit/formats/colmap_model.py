"""The files of a COLMAP model looked through record by record, before pycolmap reads them.

From a binary file that is cut off pycolmap goes on reading, without end and with ever more memory.
The formats: https://colmap.github.io/format.html and colmap/scene/reconstruction_io_binary.cc.
"""

import mmap
import os
import re
import struct
from collections.abc import Callable
from pathlib import Path

from splatkit.errors import StageError, input_error

ALWAYS, TOGETHER = ("cameras", "images", "points3D"), ("rigs", "frames")  # rigs and frames since COLMAP 3.12
# Doubles that each camera model has, by COLMAP's number of the model.
PARAMETERS = (3, 4, 4, 5, 8, 8, 12, 5, 4, 5, 12, 16, 4, 5, 3, 4, 6, 2)
COUNT, INT, LONG, TWO_INTS = struct.Struct("<Q"), struct.Struct("<I"), struct.Struct("<Q"), struct.Struct("<II")
POSE = 7 * 8  # bytes: a quaternion and a translation
POINT, TRACK = 8 + 3 * 8 + 3 + 8, 8  # id, place, colour, error; then image and feature for each photo that shows it


def check_model(folder: Path) -> None:
    """Raises StageError (input_error) for a file that is missing, cut off, or not what its name says."""
    ending = _ending(folder)
    there = [name for name in (*ALWAYS, *TOGETHER) if (folder / f"{name}.{ending}").is_file()]
    if len(there) == len(ALWAYS) + 1:
        missing = next(name for name in TOGETHER if name not in there)
        raise bad_model(f"the COLMAP model in {folder} has {there[-1]}.{ending}, but no {missing}.{ending}")
    for name in there:
        path = folder / f"{name}.{ending}"
        if ending == "bin":
            _check_binary(path, name)
        else:
            _check_text(path, name)


def _ending(folder: Path) -> str:
    """Of the files that pycolmap will read: binary ones where all are there."""
    missing = {
        ending: [f"{name}.{ending}" for name in ALWAYS if not (folder / f"{name}.{ending}").is_file()]
        for ending in ("bin", "txt")
    }
    fewest = min(missing, key=lambda ending: len(missing[ending]))
    if missing[fewest]:
        raise bad_model(f"the COLMAP model in {folder} has no {' and no '.join(missing[fewest])}")
    return fewest


def bad_model(cause: str, otherwise: str = "") -> StageError:
    fix = "Copy the whole model again, or run sfm.py on the photos and give its output folder."
    return input_error("bad_model", cause, f"{fix} {otherwise}".rstrip())


def _check_binary(path: Path, name: str) -> None:
    size = path.stat().st_size
    if size < COUNT.size:
        raise bad_model(f"{path} has {size} bytes, too few for the number of its {name}")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        count = COUNT.unpack_from(content)[0]
        skip, at, number = SKIP[name], COUNT.size, 0
        try:
            while number < count:
                number += 1
                at = skip(content, at)
            whole = at <= size
        except (struct.error, OverflowError, IndexError):  # begins behind the end, or has a lens that is none
            whole = False
    if not whole:
        raise bad_model(f"{path} is cut off or damaged: its {size} bytes end in number {number} of {count} {name}")
    if at < size:
        raise bad_model(f"{path} is damaged: {count} {name} take {at} bytes, it has {size}")


def _skip_camera(content: mmap.mmap, at: int) -> int:
    """Each of these: where the record that begins at `at` ends. May lie, or look, behind the end of the file."""
    return at + 24 + 8 * PARAMETERS[INT.unpack_from(content, at + 4)[0]]


def _skip_image(content: mmap.mmap, at: int) -> int:
    end = content.find(b"\0", at + 4 + POSE + 4)
    if end < 0:
        raise struct.error("a name without an end")
    return end + 1 + 8 + 24 * int(LONG.unpack_from(content, end + 1)[0])


def _skip_point(content: mmap.mmap, at: int) -> int:
    return at + POINT + 8 + TRACK * int(LONG.unpack_from(content, at + POINT)[0])


def _skip_rig(content: mmap.mmap, at: int) -> int:
    sensors = TWO_INTS.unpack_from(content, at)[1]
    at += 8 + (8 if sensors else 0)
    for _ in range(sensors - 1):
        at += 9 + (POSE if content[at + 8 : at + 9] == b"\1" else 0)
        if at > len(content):
            raise struct.error("more sensors than bytes")
    return at


def _skip_frame(content: mmap.mmap, at: int) -> int:
    return at + 8 + POSE + 4 + 16 * int(INT.unpack_from(content, at + 8 + POSE)[0])


SKIP: dict[str, Callable[[mmap.mmap, int], int]] = {
    "cameras": _skip_camera,
    "images": _skip_image,
    "points3D": _skip_point,
    "rigs": _skip_rig,
    "frames": _skip_frame,
}


def _check_text(path: Path, name: str) -> None:
    """pycolmap refuses most of what is cut off; some it takes for whole, with the last points or photos gone.

    That the head names more than there are is no fault by itself: people thin points out and leave it as it was.
    """
    with path.open("rb") as file:
        if not file.seek(0, os.SEEK_END):
            return
        file.seek(-1, os.SEEK_END)
        if file.read(1) == b"\n":
            return
        file.seek(0)
        said, lines = 0, 0
        for line in file:
            if match := re.match(rb"# Number of \w+: (\d+)", line):
                said = int(match[1])
            lines += not line.startswith(b"#") and (name == "images" or bool(line.strip()))
    found = lines // 2 if name == "images" else lines  # a photo has a second line, empty where it shows no point
    if found < said:
        cause = f"{path} is cut off: it tells of {said} {name}, and ends without a line's end after {found}"
        raise bad_model(cause, "If lines were taken out on purpose, end the file with a line break.")
