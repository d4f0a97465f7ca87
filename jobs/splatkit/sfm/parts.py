"""Photos that hold together among themselves, but not with the model that is used."""

from collections.abc import Sequence

from splatkit.sfm.mapping import Model
from splatkit.sfm.matching import MIN_PART, Graph
from splatkit.sfm.photos import Photo

NAMED = 4  # photos of a part named in a sentence; the report names all


def parts_apart(model: Model, photos: Sequence[Photo], graph: Graph) -> list[list[str]]:
    """The sources of each such part's photos, the largest first: smaller models, then parts of the match graph."""
    source = {photo.name: photo.source for photo in photos}
    taken = set(model.registered)
    found = []
    for names in [*model.others, *([photos[i].name for i in part] for part in graph.parts)]:
        own = [name for name in names if name not in taken]
        if len(own) >= MIN_PART and len(own) == len(names):
            found.append([source[name] for name in own])
            taken |= set(own)
    return sorted(found, key=lambda part: -len(part))


def told(parts: Sequence[Sequence[str]]) -> str:
    """Such as: 12 photos (a.jpg, b.jpg, c.jpg, d.jpg and 8 more); 3 photos (x.jpg, y.jpg, z.jpg)."""
    sentences = []
    for part in parts:
        more = f" and {len(part) - NAMED} more" if len(part) > NAMED else ""
        sentences.append(f"{len(part)} photos ({', '.join(part[:NAMED])}{more})")
    return "; ".join(sentences)
