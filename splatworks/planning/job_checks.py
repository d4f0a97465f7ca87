"""What the schema cannot say about a batch_job: sizes against machines, keys against folders and buckets."""

import re
from pathlib import PurePosixPath
from typing import Any

from splatworks.planning.bad_input import BadInputError, format_value
from splatworks.planning.settings import Compute, Instance

SCRIPT_FOLDERS = ("stages", "jobs", "examples")
CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f]")
MAX_KEY_BYTES = 1024  # S3's own limit
ZIP = ".zip"


def check_script_key(key: str) -> None:
    problem = key_problem(key)
    if not problem and (key.split("/")[0] not in SCRIPT_FOLDERS or "/" not in key):
        problem = "it lies in none of the folders that scripts run from"
    if not problem and (not key.endswith(".py") or PurePosixPath(key).name == ".py"):
        problem = "it does not end in .py"
    if problem:
        raise BadInputError(
            field="data.script_key",
            given=format_value(key),
            allowed="stages/….py, jobs/….py or examples/….py in the input bucket",
            fix=f"Correct the key: {problem}.",
        )


def key_problem(key: str) -> str | None:
    """Why this key cannot become a path below a folder, or None."""
    parts = key.removesuffix("/").split("/")
    if key.startswith("/"):
        return "it begins with a slash"
    if CONTROL_CHARACTERS.search(key):
        return "it contains control characters"
    if ".." in parts or "." in parts:
        return "it contains a . or .. part"
    if "" in parts:
        return "it contains an empty part (two slashes in a row)"
    if len(key.encode()) > MAX_KEY_BYTES:
        return f"it is longer than {MAX_KEY_BYTES} bytes"
    return None


def zip_stem(location: str) -> str:
    """The last part of a zip's location without .zip, which cameras and people write in capitals too; else empty."""
    name = location.rpartition("/")[2]
    return name[: -len(ZIP)] if name.lower().endswith(ZIP) else ""


def resolve_inputs(
    given: str | list[str], input_bucket: str, readable: tuple[str, ...], field: str = "data.input"
) -> tuple[str, ...]:
    """Absolute S3 URIs, in the order given; in a list no two may land in the same folder."""
    if isinstance(given, str):
        return (_resolve_input(field, given, input_bucket, readable),)
    uris = tuple(_resolve_input(f"{field}[{i}]", uri, input_bucket, readable) for i, uri in enumerate(given))
    folders: dict[str, str] = {}
    for uri in uris:
        name = uri.rstrip("/").rsplit("/", 1)[1]
        if name in folders:
            raise BadInputError(
                field=field,
                given=f"{format_value(folders[name])} and {format_value(uri)}",
                allowed="locations whose last names differ, because each lands in a folder of that name",
                fix=f"Give only one location named {format_value(name)}, or a folder above both.",
            )
        folders[name] = uri
    return uris


def split_uri(uri: str) -> tuple[str, str]:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key


def _resolve_input(field: str, given: str, input_bucket: str, readable: tuple[str, ...]) -> str:
    uri = given if "://" in given else f"s3://{input_bucket}/{given}"
    bucket, key = split_uri(uri)
    if not uri.startswith("s3://"):
        problem: str | None = "only s3:// can be read"
    elif bucket not in readable:
        raise BadInputError(
            field=field,
            given=format_value(given),
            allowed=f"the buckets {', '.join(readable)}",
            fix="Copy the data to the input bucket, or add the bucket to extra_input_buckets in Terraform.",
        )
    else:
        problem = key_problem(key) if key.strip("/") else "it names a whole bucket; name a folder or an object in it"
    if problem:
        raise BadInputError(
            field=field,
            given=format_value(given),
            allowed="an S3 URI (s3://bucket/folder/) or a key of the input bucket (photos/my-scene/)",
            fix=f"Correct the location: {problem}.",
        )
    return uri


def check_parameters(parameters: dict[str, Any], path: str = "data") -> None:
    variables: dict[str, str] = {}
    for name in parameters:
        other = variables.setdefault(name.upper(), name)
        if other != name:
            raise BadInputError(
                field=f"{path}.parameters",
                given=f"{format_value(other)} and {format_value(name)}",
                allowed="names that differ in more than upper and lower case",
                fix=f"Rename one: both would be PARAM_{name.upper()}.",
            )


def check_cost_limit(limit: float | None, kind: str, compute: Compute, spot: bool, path: str = "data") -> None:
    """The runner stops a job at a cost; what its machine costs it knows of spot machines only."""
    if limit is None or (spot and compute.queue != compute.on_demand_queue):
        return
    problem = f"{path}.spot is false" if not spot else f"the {kind} machines of this platform are no spot machines"
    raise BadInputError(
        field="data.max_cost_usd",
        given=format_value(limit),
        allowed="a limit for jobs on spot machines: the price of on-demand machines is not known to the runner",
        fix=f"Leave it out, or use spot machines: {problem}. Without it, timeout_seconds and attempts bound a job.",
    )


def check_size(kind: str, compute: Compute, vcpus: int, memory: int, gpus: int, path: str = "data") -> None:
    """Batch accepts a job that no machine can hold, and leaves it waiting for ever."""
    if kind == "cpu" and gpus > 0:
        raise BadInputError(
            field=f"{path}.gpus",
            given=format_value(gpus),
            allowed="0 on compute_type cpu",
            fix='Leave gpus out, or set "compute_type": "gpu".',
        )
    if kind == "gpu" and gpus < 1:
        raise BadInputError(
            field=f"{path}.gpus",
            given=format_value(gpus),
            allowed="at least 1 on compute_type gpu",
            fix='Leave gpus out, or set "compute_type": "cpu".',
        )
    if vcpus <= compute.max_vcpus and any(_holds(instance, vcpus, memory, gpus) for instance in compute.instances):
        return
    oversized = [f"{path}.{name}" for name in _oversized(compute, vcpus, memory, gpus)]
    raise BadInputError(
        field=", ".join(oversized) or f"{path}.vcpus, {path}.memory, {path}.gpus together",
        given=f"{vcpus} vCPUs, {memory} MiB and {gpus} GPUs (defaults for what was left out)",
        allowed=f"what one {kind} machine has, at most {compute.max_vcpus} vCPUs. The largest: "
        + "; ".join(f"{i.type} ({i.vcpus} vCPUs, {i.memory} MiB, {i.gpus} GPUs)" for i in _largest(compute.instances)),
        fix="Ask for less, or add a larger instance type in Terraform.",
    )


def _holds(instance: Instance, vcpus: int, memory: int, gpus: int) -> bool:
    return instance.vcpus >= vcpus and instance.memory >= memory and instance.gpus >= gpus


def _oversized(compute: Compute, vcpus: int, memory: int, gpus: int) -> list[str]:
    """The fields that are too large for every machine on their own account."""
    most_vcpus = min(compute.max_vcpus, max(instance.vcpus for instance in compute.instances))
    sizes = {
        "vcpus": vcpus > most_vcpus,
        "memory": memory > max(instance.memory for instance in compute.instances),
        "gpus": gpus > max(instance.gpus for instance in compute.instances),
    }
    return [name for name, too_large in sizes.items() if too_large]


def _largest(instances: tuple[Instance, ...]) -> list[Instance]:
    """The machines that no other machine exceeds in every respect."""

    def exceeded(small: Instance) -> bool:
        shape = (small.vcpus, small.memory, small.gpus)
        return any(_holds(other, *shape) and (other.vcpus, other.memory, other.gpus) != shape for other in instances)

    return [instance for instance in instances if not exceeded(instance)]
