"""Which mask belongs to which photo: one rule for all stages."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

FOLDER = "masks"  # a folder or a zip file of this name holds masks
PHOTO_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".heic", ".heif", ".png", ".tif", ".tiff", ".webp")


def is_mask(source: str) -> bool:
    return any(part.lower() in (FOLDER, f"{FOLDER}.zip") for part in source.split("/")[:-1])


def match_masks(
    masks: Iterable[tuple[str, Path]], photos: Iterable[str]
) -> tuple[dict[str, tuple[str, Path]], list[str]]:
    """The mask (source and path) of each photo, and the sources of masks without a photo.

    masks/a/1.png or masks/a/1.jpg.png belongs to a/1.jpg; where there is none, to one in whatever folder a/ lies. What
    fits two photos fits none, but beside 1.png the photo 1.jpg can have 1.jpg.png.
    """
    names, left = list(photos), list(masks)
    found: dict[str, tuple[str, Path]] = {}
    for whole, of_mask, of_photo, case in _rules():
        by_key: dict[str, set[str]] = defaultdict(set)
        for name in names:
            key = case(of_photo(name))
            for end in [key] if whole else _ends(key):
                by_key[end].add(name)
        alone = []
        for source, path in left:
            fitting = by_key.get(case(of_mask(_beside(source) if whole else _within(source))), set())
            if len(fitting) != 1 or fitting & found.keys():
                alone.append((source, path))
            else:
                found[next(iter(fitting))] = (source, path)
        left = alone
    return found, [source for source, _ in left]


def _ends(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[start:]) for start in range(len(parts))]


def _within(source: str) -> str:
    """Its path below the folder of masks."""
    return source.split("/", _depth(source) + 1)[-1]


def _beside(source: str) -> str:
    """As if it lay among the photos that the folder of masks lies beside."""
    parts = source.split("/")
    del parts[_depth(source)]
    return "/".join(parts)


def _depth(source: str) -> int:
    """Of the folder of masks."""
    return next(i for i, part in enumerate(source.split("/")) if part.lower() in (FOLDER, f"{FOLDER}.zip"))


def _bare(source: str) -> str:
    return source[: -len(suffix)] if (suffix := Path(source).suffix).lower() in PHOTO_SUFFIXES else source


def _stem(source: str) -> str:
    return _bare(_bare(source))


Of = Callable[[str], str]


def _rules() -> list[tuple[bool, Of, Of, Of]]:
    """What of the names must agree, the surest first: whole paths or their ends, of mask and photo, and the case."""
    shapes: tuple[tuple[Of, Of], ...] = ((_bare, str), (str, str), (_stem, _stem))
    cases: tuple[Of, ...] = (str, str.lower)
    whole = [(True, *shape, case) for shape in shapes for case in cases]
    return [*whole, *((False, *shape, str.lower) for shape in shapes)]
