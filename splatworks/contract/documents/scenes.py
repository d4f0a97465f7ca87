"""scenes.json: the scenes of a run that has several, in the order of the array's children."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from splatworks.contract.documents.codec import DocumentError, check_version, from_json, to_bytes, to_json

VERSION = 0


@dataclass(frozen=True, kw_only=True)
class SceneEntry:
    name: str = ""  # the name that e-mails and the command line show
    input: tuple[str, ...]  # absolute S3 URIs


def read_scenes(text: bytes | str, where: str, if_newer: str = "") -> list[SceneEntry]:
    """Raises DocumentError. The list has no version; a later format is an object with one."""
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DocumentError(where, f"is not JSON ({error})") from None
    if isinstance(entries, dict):
        check_version(entries, VERSION, where, if_newer)
    if not isinstance(entries, list):
        raise DocumentError(where, "is not a list of scenes")
    scenes = [from_json(SceneEntry, entry, f"{where}, entry {index},") for index, entry in enumerate(entries)]
    for index, scene in enumerate(scenes):
        if not scene.input:
            raise DocumentError(where, f"has no list of S3 URIs as `input` of entry {index}")
    return scenes


def write_scenes(scenes: Sequence[SceneEntry]) -> bytes:
    return to_bytes(scenes_json(scenes))


def scenes_json(scenes: Sequence[SceneEntry]) -> list[dict[str, Any]]:
    return [to_json(scene) for scene in scenes]
