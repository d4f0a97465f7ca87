"""Suggest the known name that someone probably meant."""

from collections.abc import Sequence
from difflib import get_close_matches

LONGEST = 200  # characters of a name that are compared


def nearest(name: str, known: Sequence[str]) -> str:
    """A sentence that suggests the nearest known name, or lists all of them."""
    matches = get_close_matches(name[:LONGEST], known, n=1, cutoff=0.6)
    return f"Did you mean {matches[0]}?" if matches else f"Known are: {', '.join(known)}."
