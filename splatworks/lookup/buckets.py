"""Check that scripts and inputs of a message are in the buckets, before a machine is paid for."""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath

from botocore.exceptions import ClientError

from splatworks.lookup.clients import Clients
from splatworks.planning.bad_input import BadInputError, format_value, nearest
from splatworks.planning.job_checks import split_uri

SCRIPTS_LISTED = 200  # how many neighbours of a missing script are compared with its name


def require_script(clients: Clients, bucket: str, key: str) -> None:
    try:
        clients("s3").head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
            raise
        raise _missing_script(clients, bucket, key) from None


def require_input(clients: Clients, uri: str, field: str = "data.input") -> None:
    """An object of this key, or at least one object in the folder of this name."""
    bucket, key = split_uri(uri)
    folder = key if key.endswith("/") else f"{key}/"
    with readable(uri, field):
        if _first_keys(clients, bucket, key)[:1] == [key] and key != folder:
            return
        if any(found != folder for found in _first_keys(clients, bucket, folder)):
            return
    raise nothing_there(uri, field)


def nothing_there(uri: str, field: str) -> BadInputError:
    bucket, key = split_uri(uri)
    target = shlex.quote(f"s3://{bucket}/{key.rstrip('/')}/")
    return BadInputError(
        field=field,
        given=format_value(uri),
        allowed="an object, or a folder with at least one object in it",
        fix=f"Nothing is there. Upload it first: aws s3 cp --recursive my-photos/ {target}",
    )


@contextmanager
def readable(uri: str, field: str) -> Iterator[None]:
    """Turn S3's answer about a bucket that is missing or not readable into a BadInputError about the message."""
    try:
        yield
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code not in ("NoSuchBucket", "AccessDenied"):
            raise
        raise BadInputError(
            field=field,
            given=format_value(uri),
            allowed="a bucket that exists and that the platform may read",
            fix=f"S3 answered {code}. Check the name, and that the bucket's policy lets the platform's roles read it.",
        ) from None


def _missing_script(clients: Clients, bucket: str, key: str) -> BadInputError:
    folder = f"{PurePosixPath(key).parent}/"
    listing = clients("s3").list_objects_v2(Bucket=bucket, Prefix=folder, MaxKeys=SCRIPTS_LISTED)
    scripts = [found["Key"] for found in listing.get("Contents", []) if found["Key"].endswith(".py")]
    return BadInputError(
        field="data.script_key",
        given=format_value(key),
        allowed=f"the key of a script in the bucket {bucket}",
        fix=f"Upload it first: aws s3 cp {shlex.quote(PurePosixPath(key).name)} {shlex.quote(f's3://{bucket}/{key}')}"
        + (f". {nearest(key, scripts[:20])}" if scripts else ""),
    )


def _first_keys(clients: Clients, bucket: str, prefix: str) -> list[str]:
    # Two, because the first may be the empty object that the console makes for a folder.
    listing = clients("s3").list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=2)
    return [found["Key"] for found in listing.get("Contents", [])]
