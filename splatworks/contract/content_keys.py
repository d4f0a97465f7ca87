"""The content key of a stage's result: SHA-256 of everything that decides about it. docs/contracts.md, "Reuse"."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def content_base(
    *, script_key: str, script: Iterable[tuple[str, str]], image: str, compute_type: str, gpus: int
) -> str:
    """What all children of an array share; `script` holds key and ETag of every file of the script's folder."""
    return _digest(
        {
            "script_key": script_key,
            "script": sorted([key, etag.strip('"')] for key, etag in script),
            "image": image,
            "compute_type": compute_type,
            "gpus": gpus,
            "args": [],
            "operation": None,
        }
    )


def content_key(base: str, parameters: Mapping[str, Any], inputs: Sequence[str]) -> str:
    """`inputs`: per location the key of the stage that made it, else its objects_digest."""
    return _digest({"base": base, "parameters": dict(parameters), "inputs": list(inputs)})


def objects_digest(objects: Iterable[tuple[str, int, str]]) -> str:
    """Of (key relative to the location, size, ETag) in any order."""
    return _digest(sorted([key, size, etag.strip('"')] for key, size, etag in objects))


def script_digest(script: Iterable[tuple[str, str]]) -> str:
    """Of key and ETag of every file of the script's folder; keys that only show a folder are none."""
    return _digest(sorted([key, etag.strip('"')] for key, etag in script if not key.endswith("/")))


def _digest(value: Any) -> str:
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
