"""Photos in: found in folders, zips and videos, checked, turned upright, named so that COLMAP can hold them."""

import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from splatkit.mask_names import PHOTO_SUFFIXES, is_mask, match_masks
from splatkit.sfm import videos
from splatkit.sfm.archives import unpack_zip
from splatkit.sfm.exif import ExifFacts
from splatkit.sfm.masks import prepare_mask
from splatkit.sfm.preparation import UnusableError, prepare
from splatkit.sfm.workers import Tell, run_apart

LOSSY = (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".heic", ".heif")  # become JPEG, the others PNG
Step = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Photo:
    name: str  # path below the prepared folder: ASCII, no spaces, unique
    source: str  # path in the input as the user knows it
    width: int  # upright
    height: int
    exif: ExifFacts
    sha256: str
    video: str = ""  # the source of the video that it is a frame of
    blur: float = 0.0  # 0 crisp to 1 blurred
    mask: str = ""  # the source of its mask


@dataclass(frozen=True)
class LeftOut:
    source: str
    reason: str


@dataclass(frozen=True)
class Candidate:
    source: str
    path: Path
    sha256: str
    video: str = ""


@dataclass
class _Intake:
    """What is being collected, and where it goes."""

    work: Path
    workers: int  # processes that decode
    left_out: list[LeftOut] = field(default_factory=list)

    def leave_out(self, source: str, reason: str) -> None:
        self.left_out.append(LeftOut(source, reason))


def collect(
    input_dir: Path, work: Path, max_images: int, video_frames: int, step: Step, workers: int = 2
) -> tuple[list[Photo], list[LeftOut]]:
    """Photos prepared under work/photos, in the natural order of their sources; and what was left out, with the reason.

    Their masks lie under work/masks, their thumbnails under work/thumbnails. max_images 0 takes all; else an even
    choice over the order, which keeps a flight's coverage.
    """
    intake = _Intake(work, workers)
    for name in ("photos", "masks", "thumbnails"):
        shutil.rmtree(work / name, ignore_errors=True)
    files = sorted(_wanted_files(input_dir, intake), key=lambda pair: _natural(pair[0]))
    masks: list[tuple[str, Path]] = []
    others: list[tuple[str, Path]] = []
    for source, path in files:
        (masks if is_mask(source) and path.suffix.lower() in PHOTO_SUFFIXES else others).append((source, path))
    stills = _without_duplicates(others, intake)
    candidates = _thin_out(_with_frames(stills, max_images, video_frames, intake, step), max_images, intake)
    fitting, alone = match_masks(masks, [candidate.source for candidate in candidates])
    for source in alone:
        intake.leave_out(source, "a mask whose name fits no photo, or several")
    photos = _prepare_all(candidates, fitting, intake, step)
    if any(photo.mask for photo in photos):
        _mask_the_rest(photos, intake.work / "masks")
    return photos, intake.left_out


def _wanted_files(input_dir: Path, intake: _Intake) -> Iterator[tuple[str, Path]]:
    for link in _linked_folders(input_dir):
        source = _readable(link.relative_to(input_dir).as_posix())
        intake.leave_out(source, "a link to a folder, which is not followed: give the folder itself")
    for path in _files(input_dir):
        source = _readable(path.relative_to(input_dir).as_posix())
        if path.suffix.lower() != ".zip":
            if _wanted(path.name):
                yield source, path
            else:
                intake.leave_out(source, "not a photo")
            continue
        target = intake.work / "unpacked" / source
        for entry, reason in unpack_zip(path, target, _wanted):
            intake.leave_out(f"{source}/{_readable(entry)}".rstrip("/"), reason)
        yield from ((f"{source}/{_readable(inner.relative_to(target).as_posix())}", inner) for inner in _files(target))


def _linked_folders(folder: Path) -> Iterator[Path]:
    for parent, folders, _ in os.walk(folder):
        yield from (path for name in sorted(folders) if (path := Path(parent, name)).is_symlink())


def _files(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):  # does not follow links to folders
        folders[:] = sorted(f for f in folders if not f.startswith(".") and f != "__MACOSX")
        yield from (Path(parent, name) for name in sorted(files) if not name.startswith("."))


def _readable(name: str) -> str:
    """File names are bytes; what is not UTF-8 in them could not be written into a report."""
    return name.encode("utf-8", "replace").decode()


def _wanted(name: str) -> bool:
    return not name.startswith(".") and Path(name).suffix.lower() in (*PHOTO_SUFFIXES, *videos.SUFFIXES)


def _without_duplicates(found: list[tuple[str, Path]], intake: _Intake) -> list[Candidate]:
    first: dict[str, str] = {}
    kept = []
    for source, path in found:
        try:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as problem:
            intake.leave_out(source, f"cannot be read: {problem.strerror}")
            continue
        if digest in first:
            intake.leave_out(source, f"the same bytes as {first[digest]}")
        else:
            first[digest] = source
            kept.append(Candidate(source, path, digest))
    return kept


def _with_frames(
    stills: list[Candidate], max_images: int, video_frames: int, intake: _Intake, step: Step
) -> list[Candidate]:
    """Each video replaced by the frames taken from it."""
    count = min(video_frames, max_images) if max_images else video_frames
    films = [still for still in stills if still.path.suffix.lower() in videos.SUFFIXES]

    def take(film: Candidate, tell: Tell) -> tuple[list[Path], str]:
        return videos.take_frames(film.path, intake.work / "frames" / film.sha256, count, tell)

    def heard(number: int, done: int, total: int) -> None:
        step(done, total, f"reading {films[number].source}")

    frames_of: dict[str, list[Candidate]] = {film.source: [] for film in films}
    for number, outcome in run_apart(take, films, intake.workers, heard):
        film = films[number]
        if isinstance(outcome, UnusableError):
            intake.leave_out(film.source, str(outcome))
            continue
        frames, trouble = outcome
        if trouble:
            intake.leave_out(film.source, f"{len(frames)} frames were taken; {trouble}")
        frames_of[film.source] = [
            Candidate(f"{film.source}/{frame.name}", frame, f"{film.sha256} {frame.name} of {count}", film.source)
            for frame in frames
        ]
    return [one for still in stills for one in frames_of.get(still.source, [still])]


def _thin_out(candidates: list[Candidate], max_images: int, intake: _Intake) -> list[Candidate]:
    if not max_images or len(candidates) <= max_images:
        return candidates
    chosen = set(np.linspace(0, len(candidates) - 1, max_images).round().astype(int).tolist())
    for number, candidate in enumerate(candidates):
        if number not in chosen:
            intake.leave_out(candidate.source, f"beyond max_images ({max_images})")
    return [candidate for number, candidate in enumerate(candidates) if number in chosen]


def _prepare_all(
    candidates: list[Candidate], masks: dict[str, tuple[str, Path]], intake: _Intake, step: Step
) -> list[Photo]:
    names = _colmap_names([candidate.source for candidate in candidates])
    jobs = [(one, masks.get(one.source), name) for one, name in zip(candidates, names, strict=True)]

    def prepare_one(job: tuple[Candidate, tuple[str, Path] | None, str], _: Tell) -> tuple[Photo, list[LeftOut]]:
        return _prepare(*job, intake.work)

    outcomes: dict[int, tuple[Photo, list[LeftOut]] | UnusableError] = {}
    for number, outcome in run_apart(prepare_one, jobs, intake.workers, lambda *_: None):
        outcomes[number] = outcome
        step(len(outcomes), len(jobs), "reading photos")
    photos = []
    for number, candidate in enumerate(candidates):
        outcome = outcomes[number]
        if isinstance(outcome, UnusableError):
            intake.leave_out(candidate.source, str(outcome))
            continue
        photos.append(outcome[0])
        intake.left_out += outcome[1]
    return photos


def _prepare(candidate: Candidate, mask: tuple[str, Path] | None, name: str, work: Path) -> tuple[Photo, list[LeftOut]]:
    ready = prepare(candidate.path, work / "photos" / name, work / "thumbnails" / thumbnail_name(name))
    size, sha256, masked_by, left_out = (ready.width, ready.height), candidate.sha256, "", []
    if mask:
        source, path = mask
        target = work / "masks" / f"{name}.png"  # as COLMAP looks for it
        try:
            prepare_mask(path, target, size, ready.orientation)
            sha256 += " masked " + hashlib.sha256(target.read_bytes()).hexdigest()
            masked_by = source
        except UnusableError as problem:
            left_out.append(LeftOut(source, str(problem)))
    blur = round(ready.blur, 3)
    return Photo(name, candidate.source, *size, ready.exif, sha256, candidate.video, blur, masked_by), left_out


def _mask_the_rest(photos: list[Photo], folder: Path) -> None:
    """COLMAP leaves out photos that have no mask, as soon as there is a folder of masks."""
    for photo in photos:
        target = folder / f"{photo.name}.png"
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (photo.width, photo.height), 255).save(target)


def thumbnail_name(name: str) -> str:
    return Path(name).with_suffix(".jpg").as_posix()


def _colmap_names(sources: list[str]) -> list[str]:
    """COLMAP's text files separate by spaces; trainers replace suffixes. So: plain characters and unique stems."""
    taken: set[str] = set()
    names = []
    for source in sources:
        *folders, file = source.split("/")
        stem = "/".join([*map(_plain_folder, folders), _plain(Path(file).stem)])
        suffix = ".jpg" if Path(file).suffix.lower() in LOSSY else ".png"
        unique, count = stem, 1
        while unique.lower() in taken:
            count += 1
            unique = f"{stem}_{count}"
        taken.add(unique.lower())
        names.append(unique + suffix)
    return names


def _plain(part: str) -> str:
    """A part of a path that no tool takes for an option, a hidden file, the folder above or, being empty, the root."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", part).lstrip("-.") or "_"


def _plain_folder(part: str) -> str:
    """Never the name of a photo, which would have to lie in the same place."""
    return re.sub(r"(\.jpg|\.png)$", r"\1_", _plain(part), flags=re.IGNORECASE)


def _natural(text: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (-1, part.lower()) for part in re.split(r"(\d+)", text)]
