"""scenes.json: the scenes of a run that has several, in the order of the array's children."""

import json
from dataclasses import dataclass
from typing import Any

from splatworks.contract.documents.codec import DocumentError, from_json, to_json


@dataclass(frozen=True, kw_only=True)
class SceneEntry:
    name: str = ""  # the name that e-mails and the command line show
    input: tuple[str, ...]  # absolute S3 URIs


def read_scenes(text: bytes | str, where: str) -> list[SceneEntry]:
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DocumentError(where, f"is not JSON ({error})") from None
    if not isinstance(entries, list):
        raise DocumentError(where, "is not a list of scenes")
    scenes = [from_json(SceneEntry, entry, f"{where}, entry {index},") for index, entry in enumerate(entries)]
    for index, scene in enumerate(scenes):
        if not scene.input:
            raise DocumentError(where, f"has no list of S3 URIs as `input` of entry {index}")
    return scenes


def scenes_json(scenes: list[SceneEntry]) -> list[dict[str, Any]]:
    return [to_json(scene) for scene in scenes]
