"""Find the scenes of a run that has several: directly below a folder, or in a list."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from splatworks.contract.documents.scenes import SceneEntry
from splatworks.lookup.buckets import nothing_there, readable, require_input
from splatworks.lookup.clients import Clients
from splatworks.planning.bad_input import BadInputError, format_value, nearest
from splatworks.planning.job_checks import CONTROL_CHARACTERS, key_problem, resolve_inputs, split_uri, zip_stem
from splatworks.planning.message import strict_json
from splatworks.planning.settings import DispatcherSettings

MOST_SCENES = 10_000  # children of an array
MOST_BYTES = 16 * 1024 * 1024  # of a list of scenes
MOST_NAME = 200  # characters of a scene's name
# At most this many scenes are checked before they start. With more, each child checks its own: 10,000 listings take
# longer than the function may run, and a missing scene costs its child a few seconds.
LOOKED_INTO = 200
AT_ONCE = 16
FIELD = "data.inputs"
FIELDS = ["name", "input"]


def find_scenes(clients: Clients, uri: str, settings: DispatcherSettings) -> list[SceneEntry]:
    """In the order of the list, or of the names below the folder."""
    with readable(uri, FIELD):
        scenes = (
            _listed(clients, uri, settings)
            if uri.endswith(".json")
            else sorted(_below(clients, uri), key=lambda scene: scene.name)
        )
    require_scenes(uri, scenes)
    require_inputs(clients, scenes)
    return scenes


def require_scenes(given: str, scenes: list[SceneEntry]) -> None:
    """`given`: the folder or the list that they come from."""
    if not scenes:
        allowed = "at least one scene: a folder or a zip directly below the folder, or an entry of the list"
        raise _refused(given, allowed)
    if len(scenes) > MOST_SCENES:
        raise _refused(f"{given}: {len(scenes)} scenes", f"at most {MOST_SCENES} scenes", "Send several messages.")
    _require_unique_names(scenes)


def require_inputs(clients: Clients, scenes: list[SceneEntry]) -> None:
    if len(scenes) > LOOKED_INTO:
        return
    clients("s3")  # made before the threads start: boto3's session is for one thread
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda scene: require_input(clients, scene.input[0], FIELD), scenes))


def scenes_of_list(given: str, size: int, read: Callable[[], bytes], settings: DispatcherSettings) -> list[SceneEntry]:
    """`given`: the list's location, for the text of a refusal."""
    if size > MOST_BYTES:
        raise _refused(f"{given}: {size} bytes", f"a list of at most {MOST_BYTES} bytes", "Split it into several.")
    try:
        entries = strict_json(read().decode())
    except UnicodeDecodeError:
        raise _refused(given, "a JSON list in UTF-8", "Save it as UTF-8.") from None
    except BadInputError as problem:
        raise _refused(f"{given}: {problem.given}", "a JSON list", problem.fix) from None
    if not isinstance(entries, list):
        example = 'Write ["photos/a/", {"name": "b", "input": "photos/b.zip"}].'
        raise _refused(f"{given}: {format_value(entries)}", "a JSON list of locations", example)
    return [_entry(f"{FIELD}[{index}]", entry, settings) for index, entry in enumerate(entries)]


def scene_below(folder: str, name: str) -> SceneEntry:
    """`folder`: a URI that ends in "/". `name`: of a zip directly below it, or of a folder, which ends in "/"."""
    location = split_uri(f"{folder}{name}")[1]
    if problem := key_problem(location):
        raise _refused(location, "scenes whose names can be folders", f"Rename this one: {problem}.")
    return SceneEntry(name=zip_stem(name) or name[:-1], input=(f"{folder}{name}",))


def _below(clients: Clients, uri: str) -> Iterator[SceneEntry]:
    bucket, key = split_uri(uri)
    prefix = f"{key.rstrip('/')}/"
    pages = clients("s3").get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix, Delimiter="/")
    found = 0
    for page in pages:
        folders = [folder["Prefix"] for folder in page.get("CommonPrefixes", [])]
        zips = [item["Key"] for item in page.get("Contents", []) if zip_stem(item["Key"])]
        for location in (*folders, *zips):
            yield scene_below(f"s3://{bucket}/{prefix}", location.removeprefix(prefix))
        found += len(folders) + len(zips)
        if found > MOST_SCENES:
            return  # enough to refuse it


def _listed(clients: Clients, uri: str, settings: DispatcherSettings) -> list[SceneEntry]:
    bucket, key = split_uri(uri)
    s3 = clients("s3")
    try:
        answer = s3.get_object(Bucket=bucket, Key=key)
    except s3.exceptions.NoSuchKey:
        raise nothing_there(uri, FIELD) from None
    return scenes_of_list(uri, answer["ContentLength"], answer["Body"].read, settings)


def _entry(field: str, entry: Any, settings: DispatcherSettings) -> SceneEntry:
    """An entry of the list; one of scenes.json of an earlier run is one too."""
    if isinstance(entry, dict):
        for name in entry:
            if name not in FIELDS:
                fix = f"There is no field {format_value(name)}. {nearest(name, FIELDS)}"
                raise BadInputError(
                    field=f"{field}.{name}"[:120], given=format_value(entry[name]), allowed="name and input", fix=fix
                )
        location, name = entry.get("input"), entry.get("name")
    else:
        location, name = entry, None
    if isinstance(location, list) and len(location) == 1:
        location = location[0]
    if not isinstance(location, str) or not location:
        allowed = 'a location, or {"name": …, "input": a location}'
        raise BadInputError(
            field=field, given=format_value(entry), allowed=allowed, fix="Name a folder or an object in S3."
        )
    inputs = resolve_inputs(location, settings.input_bucket, settings.readable_buckets, field)
    return SceneEntry(name=_name(field, name, inputs[0]), input=inputs)


def _name(field: str, given: Any, uri: str) -> str:
    if given is None:
        return zip_stem(uri) or uri.rstrip("/").rpartition("/")[2]
    if not isinstance(given, str) or not 0 < len(given) <= MOST_NAME or CONTROL_CHARACTERS.search(given):
        raise BadInputError(
            field=f"{field}.name",
            given=format_value(given),
            allowed=f"text of 1 to {MOST_NAME} characters on one line",
            fix="Correct the name, or leave it out: the location's last part is the name then.",
        )
    return given


def _require_unique_names(scenes: list[SceneEntry]) -> None:
    places: dict[str, str] = {}
    for scene in scenes:
        if scene.name in places:
            raise _refused(
                f"{places[scene.name]} and {scene.input[0]}, both of the name {format_value(scene.name)}",
                "scenes of different names",
                'Rename one, or list them in a .json file with a "name" for each.',
            )
        places[scene.name] = scene.input[0]


def _refused(given: str, allowed: str, fix: str = "Check the location and its contents.") -> BadInputError:
    return BadInputError(field=FIELD, given=given, allowed=allowed, fix=fix)
