"""Read the sources of a run before anything is submitted: scripts, images, input."""

import re
from concurrent.futures import ThreadPoolExecutor

from splatworks.contract.content_keys import objects_digest
from splatworks.contract.keys import NOT_INPUT, STAGES_FOLDER
from splatworks.lookup.buckets import nothing_there, readable
from splatworks.lookup.clients import Clients
from splatworks.lookup.listing import objects_below
from splatworks.lookup.results import stage_result
from splatworks.planning.bad_input import BadInputError, format_value
from splatworks.planning.job_checks import split_uri
from splatworks.planning.pipeline_order import PipelineOrder
from splatworks.planning.pipeline_plan import Sources
from splatworks.planning.settings import Compute, DispatcherSettings

MOST_OBJECTS = 100_000  # of one scene: listing more takes longer than the function may run
ECR_IMAGE = r"(\d{12})\.dkr\.ecr\.([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?/([^:@]+):([^:@]+)"


def read_sources(clients: Clients, order: PipelineOrder, settings: DispatcherSettings) -> Sources:
    """Raises BadInputError where an input is not there or empty."""
    compute = {kind: settings.compute[kind] for kind in {each.compute_type for each in order.placements.values()}}
    clients("s3")  # made before the threads start: boto3's session is for one thread
    tags = {kind: _repository_and_tag(each) for kind, each in compute.items()}
    if any(tags.values()):
        clients("ecr")
    with ThreadPoolExecutor(8) as pool:
        scripts = pool.submit(_scripts, clients, order, settings.input_bucket)
        most = MOST_OBJECTS // max(1, len(order.inputs))
        inputs = [pool.submit(_input, clients, uri, settings.output_bucket, most) for uri in order.inputs]
        digests = {kind: pool.submit(_digest, clients, *tag) for kind, tag in tags.items() if tag}
        found = [each.result() for each in inputs]
        return Sources(
            scripts=scripts.result(),
            images={kind: each.image for kind, each in compute.items()}
            | {kind: digest for kind, future in digests.items() if (digest := future.result())},
            inputs=tuple(key for key, _ in found),
            origins=tuple(origin for _, origin in found if origin),
        )


def _scripts(clients: Clients, order: PipelineOrder, bucket: str) -> tuple[tuple[str, str], ...]:
    found = tuple((item["Key"], item["ETag"]) for item in objects_below(clients, bucket, STAGES_FOLDER))
    keys = {key for key, _ in found}
    for stage in order.stages:
        if stage.entry.script_key not in keys:
            raise BadInputError(
                field="data.steps",
                given=format_value(stage.entry.script_key),
                allowed=f"stages whose scripts are in the bucket {bucket}",
                fix="terraform apply puts the platform's scripts there.",
            )
    return found


def _digest(clients: Clients, repository: str, tag: str) -> str | None:
    """The digest that a tag of ECR points to now; None if it does not exist."""
    ecr = clients("ecr")
    try:
        images = ecr.describe_images(repositoryName=repository, imageIds=[{"imageTag": tag}])["imageDetails"]
    except (ecr.exceptions.ImageNotFoundException, ecr.exceptions.RepositoryNotFoundException):
        return None
    digest: str = images[0]["imageDigest"]
    return digest


def _repository_and_tag(compute: Compute) -> tuple[str, str] | None:
    """Repository and tag of an image in ECR, if it is in the queue's account and region: digests are readable there."""
    _, _, _, region, account, _ = compute.queue.split(":", 5)
    parts = re.fullmatch(ECR_IMAGE, compute.image)
    return (parts[3], parts[4]) if parts and (parts[1], parts[2]) == (account, region) else None


def _input(clients: Clients, uri: str, output_bucket: str, most: int) -> tuple[str, str | None]:
    """Content of this place, for the content key; and its origin, if a stage wrote it."""
    bucket, key = split_uri(uri)
    with readable(uri, "data.input"):
        if not key.endswith("/"):
            found = objects_below(clients, bucket, key, most=1)
            if found and found[0]["Key"] == key:
                return objects_digest([(key.rpartition("/")[2], found[0]["Size"], found[0]["ETag"])]), None
        folder = f"{key.rstrip('/')}/"
        everything = objects_below(clients, bucket, folder, most=most + 1)
    # Not a folder's empty object, not a file that starts a run or sets its options.
    files = [item for item in everything if item["Size"] > 0 or not item["Key"].endswith("/")]
    objects = [item for item in files if item["Key"].removeprefix(folder) not in NOT_INPUT]
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
    return objects_digest((item["Key"].removeprefix(folder), item["Size"], item["ETag"]) for item in objects), None
