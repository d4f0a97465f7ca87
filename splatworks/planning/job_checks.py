"""Checks that the schema cannot express: keys against folders and buckets, names of parameters against each other."""

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

from splatworks.contract.environment import parameter_variable
from splatworks.contract.keys import SCRIPT_FOLDERS
from splatworks.planning.bad_input import BadInputError, format_value

CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f]")
MAX_KEY_BYTES = 1024  # S3's own limit
ZIP = ".zip"


def check_script_key(key: str) -> None:
    problem = key_problem(key)
    if not problem and (key.split("/")[0] not in SCRIPT_FOLDERS or "/" not in key):
        problem = "it is in none of the folders that scripts run from"
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
    """The last part of a zip's location without .zip (in any case); empty if it is not a zip."""
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


def check_distinct_names(parameters: Iterable[str], path: str = "data") -> None:
    """Refuse names that would be one PARAM_<NAME>. `path` is the object that has them as `parameters`."""
    variables: dict[str, str] = {}
    for name in parameters:
        other = variables.setdefault(parameter_variable(name), name)
        if other != name:
            raise BadInputError(
                field=f"{path}.parameters",
                given=f"{format_value(other)} and {format_value(name)}",
                allowed="names that differ in more than upper and lower case",
                fix=f"Rename one: both would be {parameter_variable(name)}.",
            )
