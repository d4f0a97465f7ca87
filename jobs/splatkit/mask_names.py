"""Which mask belongs to which photo: one rule for all stages."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

FOLDER = "masks"  # a folder or a zip file of this name holds masks
PHOTO_SUFFIX = r"\.(jpe?g|jpe|jfif|png|tiff?|webp|mpo|heic|heif)$"


def is_mask(source: str) -> bool:
    return any(part.lower() in (FOLDER, f"{FOLDER}.zip") for part in source.split("/")[:-1])


def match_masks(
    masks: Iterable[tuple[str, Path]], photos: Iterable[str]
) -> tuple[dict[str, tuple[str, Path]], list[str]]:
    """The mask (source and path) of each photo, and the sources of masks without a photo.

    masks/a/1.png or masks/a/1.jpg.png belongs to a/1.jpg, in whatever folder a/ lies. What fits two photos fits none,
    but beside 1.png the photo 1.jpg can have 1.jpg.png.
    """
    names, left = list(photos), list(masks)
    found: dict[str, tuple[str, Path]] = {}
    for of_mask, of_photo in ((_bare, str.lower), (str.lower, str.lower), (_stem, _stem)):
        by_tail = _by_tail(names, of_photo)
        alone = []
        for source, path in left:
            fitting = by_tail.get(of_mask(_within(source)), set())
            if len(fitting) != 1 or fitting & found.keys():
                alone.append((source, path))
            else:
                found[next(iter(fitting))] = (source, path)
        left = alone
    return found, [source for source, _ in left]


def _by_tail(photos: Iterable[str], key: Callable[[str], str]) -> dict[str, set[str]]:
    by_tail: dict[str, set[str]] = defaultdict(set)
    for photo in photos:
        parts = key(photo).split("/")
        for start in range(len(parts)):
            by_tail["/".join(parts[start:])].add(photo)
    return by_tail


def _within(source: str) -> str:
    """Its path below the folder of masks."""
    parts = source.split("/")
    first = next(i for i, part in enumerate(parts) if part.lower() in (FOLDER, f"{FOLDER}.zip"))
    return "/".join(parts[first + 1 :])


def _bare(source: str) -> str:
    return re.sub(PHOTO_SUFFIX, "", source, flags=re.IGNORECASE).lower()


def _stem(source: str) -> str:
    return _bare(_bare(source))
