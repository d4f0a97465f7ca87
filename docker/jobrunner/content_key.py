"""What tells two results apart: the content key of docs/contracts.md, "Reuse".

The dispatcher makes the same keys with code of its own; tests/events/content_key.json pins both.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def content_key(base: str, parameters: Mapping[str, Any], inputs: Sequence[str]) -> str:
    """`inputs`: per location the key of the stage that made it, else its objects_digest."""
    return _digest({"base": base, "parameters": dict(parameters), "inputs": list(inputs)})


def objects_digest(objects: Iterable[tuple[str, int, str]]) -> str:
    """Of (key relative to the location, size, ETag) in any order; ETags with or without their quotes."""
    return _digest(sorted([key, size, etag.strip('"')] for key, size, etag in objects))


def script_digest(script: Iterable[tuple[str, str]]) -> str:
    """Of key and ETag of every file that the script brings; keys that only show a folder are none."""
    return _digest(sorted([key, etag.strip('"')] for key, etag in script if not key.endswith("/")))


def _digest(value: Any) -> str:
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"))  # ASCII, as json makes it by default
    return hashlib.sha256(canonical.encode()).hexdigest()
