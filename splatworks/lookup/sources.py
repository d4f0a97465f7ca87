"""What a run is made from, read before anything is submitted: the scripts, the images, the input."""

import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from splatworks.contract.content_keys import objects_digest
from splatworks.contract.keys import NOT_INPUT, STAGES_FOLDER
from splatworks.lookup.buckets import nothing_there, readable
from splatworks.lookup.clients import Clients
from splatworks.lookup.listing import objects_below
from splatworks.lookup.results import stage_result
from splatworks.planning.bad_input import BadInputError, format_value
from splatworks.planning.job_checks import split_uri
from splatworks.planning.job_plan import kind_of
from splatworks.planning.pipeline_order import PipelineOrder
from splatworks.planning.pipeline_plan import Sources
from splatworks.planning.settings import Compute, DispatcherSettings

MOST_OBJECTS = 100_000  # of one scene: listing more takes longer than the function may run
ECR_IMAGE = r"(\d{12})\.dkr\.ecr\.([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?/([^:@]+):([^:@]+)"


def read_sources(clients: Clients, order: PipelineOrder, settings: DispatcherSettings) -> Sources:
    """Raises BadInputError where an input is not there or empty."""
    compute = {kind: settings.compute[kind] for kind in {kind_of(stage.options) for stage in order.stages}}
    clients("s3")  # made before the threads start: boto3's session is for one thread
    if any(_repository_and_tag(each) for each in compute.values()):
        clients("ecr")
    with ThreadPoolExecutor(8) as pool:
        scripts = pool.submit(_scripts, clients, order, settings.input_bucket)
        most = MOST_OBJECTS // max(1, len(order.inputs))
        inputs = [pool.submit(_input, clients, uri, settings.output_bucket, most) for uri in order.inputs]
        images = {kind: pool.submit(_image, clients, each) for kind, each in compute.items()}
        found = [each.result() for each in inputs]
        return Sources(
            scripts=scripts.result(),
            images={kind: image.result() for kind, image in images.items()},
            inputs=tuple(key for key, _ in found),
            origins=tuple(origin for _, origin in found if origin),
        )


def _scripts(clients: Clients, order: PipelineOrder, bucket: str) -> tuple[tuple[str, str], ...]:
    found = tuple((item["Key"], item["ETag"]) for item in objects_below(clients, bucket, STAGES_FOLDER))
    keys = {key for key, _ in found}
    for stage in order.stages:
        if stage.script_key not in keys:
            raise BadInputError(
                field="data.steps",
                given=format_value(stage.script_key),
                allowed=f"stages whose scripts are in the bucket {bucket}",
                fix="terraform apply puts the platform's scripts there.",
            )
    return found


def _image(clients: Clients, compute: Compute) -> str:
    """What a tag points to now; a name that tells no more, as of other registries, stands for itself."""
    found = _repository_and_tag(compute)
    if found is None:
        return compute.image
    ecr = clients("ecr")
    try:
        images = ecr.describe_images(repositoryName=found[0], imageIds=[{"imageTag": found[1]}])["imageDetails"]
    except (ecr.exceptions.ImageNotFoundException, ecr.exceptions.RepositoryNotFoundException):
        return compute.image
    digest: str = images[0]["imageDigest"]
    return digest


def _repository_and_tag(compute: Compute) -> tuple[str, str] | None:
    """Of an image in ECR, in the account and region of the queue: only there may digests be asked for."""
    _, _, _, region, account, _ = compute.queue.split(":", 5)
    parts = re.fullmatch(ECR_IMAGE, compute.image)
    return (parts[3], parts[4]) if parts and (parts[1], parts[2]) == (account, region) else None


def _input(clients: Clients, uri: str, output_bucket: str, most: int) -> tuple[str, str | None]:
    """What lies at this place, for the content key; and the origin of what a stage has left there."""
    bucket, key = split_uri(uri)
    with readable(uri, "data.input"):
        if not key.endswith("/"):
            found = objects_below(clients, bucket, key, most=1)
            if found and found[0]["Key"] == key:
                return objects_digest([(key.rpartition("/")[2], found[0]["Size"], found[0]["ETag"])]), None
        folder = f"{key.rstrip('/')}/"
        everything = objects_below(clients, bucket, folder, most=most + 1)
    objects = [item for item in everything if _is_input(item, folder)]
    if not objects:
        raise nothing_there(uri, "data.input")
    if len(everything) > most:
        raise BadInputError(
            field="data.input",
            given=f"{format_value(uri)} with more than {most} objects",
            allowed=f"at most {MOST_OBJECTS} objects in a scene, the same number in each of its places",
            fix="Split the scene, or put the photos into zip files.",
        )
    result = stage_result(clients, bucket, folder, everything) if bucket == output_bucket else None
    if result:
        return result.content_key, result.origin
    files = ((item["Key"].removeprefix(folder), item["Size"], item["ETag"]) for item in objects)
    return objects_digest(files), None


def _is_input(item: dict[str, Any], folder: str) -> bool:
    """Not the empty objects that show a folder in the console, nor what only starts a run and sets its options."""
    key = item["Key"]
    return (item["Size"] > 0 or not key.endswith("/")) and key.removeprefix(folder) not in NOT_INPUT
