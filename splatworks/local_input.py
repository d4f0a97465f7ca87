"""The scenes that a local folder or list will be once it is uploaded, by the dispatcher's own rules."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from aws_clients import client
from bad_input import BadInputError, shown
from bucket_checks import require_input
from job_checks import key_problem, resolve_inputs, split_uri, zip_stem
from message import Request, strict_json
from pipeline_order import check_dataset_name, order_stages

# Those with a _ are the rules for a scene wherever it was read; find_scenes itself reads nothing but S3.
from pipeline_scenes import (
    AT_ONCE,
    FIELD,
    LOOKED_INTO,
    MOST_BYTES,
    MOST_SCENES,
    Scene,
    _entry,
    _refused,
    _require_unique_names,
)
from settings import DispatcherSettings

from splatworks.local_files import files_in
from splatworks.messages import Location


def scenes_to_upload(request: Request, locations: list[Location], settings: DispatcherSettings) -> list[Scene]:
    """Empty where one scene is asked for, or where several are in S3. Refuses what the dispatcher would refuse."""
    local = next((location.local for location in locations if location.local), None)
    if local is None or "inputs" not in request.data:
        return []
    (uri,) = resolve_inputs(request.data["inputs"], settings.input_bucket, settings.readable_buckets, FIELD)
    scenes = _listed(local, settings) if uri.endswith(".json") else list(_below(local, uri))
    if not scenes:
        raise _refused(
            str(local), "at least one scene: a folder or a zip directly below the folder, or an entry of the list"
        )
    if len(scenes) > MOST_SCENES:
        raise _refused(f"{local}: {len(scenes)} scenes", f"at most {MOST_SCENES} scenes", "Send several messages.")
    _require_unique_names(scenes)
    if uri.endswith(".json"):
        _require_inputs(scenes)
    if len(scenes) == 1:  # which runs as a message that names it as its input
        check_dataset_name((scenes[0].uri,), order_stages(request.data)[0].stage, FIELD)
    return scenes


def _below(local: Path, uri: str) -> Iterator[Scene]:
    """What lies directly below the folder: other folders with at least one file, and zips."""
    parts = [file.name.partition("/") for file in files_in(local)]
    for name in sorted({f"{first}{slash}" for first, slash, _ in parts if slash or zip_stem(first)}):
        if problem := key_problem(split_uri(f"{uri}{name}")[1]):
            raise _refused(name, "scenes whose names can be folders", f"Rename this one: {problem}.")
        yield Scene(zip_stem(name) or name.removesuffix("/"), f"{uri}{name}")


def _listed(local: Path, settings: DispatcherSettings) -> list[Scene]:
    return [_entry(f"{FIELD}[{index}]", entry, settings) for index, entry in enumerate(_read_list(local))]


def _read_list(local: Path) -> list[Any]:
    if (size := local.stat().st_size) > MOST_BYTES:
        raise _refused(f"{local}: {size} bytes", f"a list of at most {MOST_BYTES} bytes", "Split it into several.")
    try:
        entries = strict_json(local.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise _refused(str(local), "a JSON list in UTF-8", "Save it as UTF-8.") from None
    except BadInputError as problem:
        raise _refused(f"{local}: {problem.given}", "a JSON list", problem.fix) from None
    if not isinstance(entries, list):
        example = 'Write ["photos/a/", {"name": "b", "input": "photos/b.zip"}].'
        raise _refused(f"{local}: {shown(entries)}", "a JSON list of locations", example)
    return entries


def _require_inputs(scenes: list[Scene]) -> None:
    """What a list names has to be there already: only the list itself is uploaded."""
    if len(scenes) > LOOKED_INTO:
        return
    client("s3")  # made before the threads start: boto3's session is for one thread
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda scene: require_input(scene.uri, FIELD), scenes))
