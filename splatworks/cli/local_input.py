"""The scenes that a local folder or list will be once it is uploaded, by the dispatcher's own rules."""

from collections.abc import Iterator
from pathlib import Path

from splatworks.cli.local_files import files_in
from splatworks.cli.messages import InputLocation
from splatworks.contract.documents.scenes import SceneEntry
from splatworks.lookup.clients import Clients
from splatworks.lookup.scenes import FIELD, require_inputs, require_scenes, scene_below, scenes_of_list
from splatworks.planning.job_checks import resolve_inputs, zip_stem
from splatworks.planning.message import Request
from splatworks.planning.pipeline_order import check_dataset_name, order_stages
from splatworks.planning.settings import DispatcherSettings


def scenes_to_upload(
    clients: Clients, request: Request, locations: list[InputLocation], settings: DispatcherSettings
) -> list[SceneEntry]:
    """Empty for one scene, or if the scenes are in S3 already. Refuses what the dispatcher would refuse."""
    local = next((location.local for location in locations if location.local), None)
    if local is None or "inputs" not in request.data:
        return []
    (uri,) = resolve_inputs(request.data["inputs"], settings.input_bucket, settings.readable_buckets, FIELD)
    is_list = uri.endswith(".json")
    if is_list:
        scenes = scenes_of_list(str(local), local.stat().st_size, local.read_bytes, settings)
    else:
        scenes = list(_below(local, uri))
    require_scenes(str(local), scenes)
    if is_list:
        require_inputs(clients, scenes)  # only the list itself is uploaded: what it names has to be there already
    if len(scenes) == 1:  # which runs as a message that names it as its input
        check_dataset_name(scenes[0].input, order_stages(request.data)[0].name, FIELD)
    return scenes


def _below(local: Path, uri: str) -> Iterator[SceneEntry]:
    """What lies directly below the folder: other folders with at least one file, and zips."""
    parts = [file.name.partition("/") for file in files_in(local)]
    for name in sorted({f"{first}{slash}" for first, slash, _ in parts if slash or zip_stem(first)}):
        yield scene_below(uri, name)
