"""The platform's own JSON files in the output bucket."""

import json
from typing import Any

from aws_clients import client
from botocore.exceptions import ClientError


def read_stored(bucket: str, key: str) -> Any:
    """None where there is no such object."""
    s3 = client("s3")
    try:
        body = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    except s3.exceptions.NoSuchKey:
        return None
    return json.loads(body)


def store(bucket: str, key: str, value: Any) -> None:
    client("s3").put_object(Bucket=bucket, Key=key, Body=_body(value), ContentType="application/json")


def store_first(bucket: str, key: str, value: Any) -> bool:
    """False, and nothing written, where there is such an object already."""
    try:
        client("s3").put_object(
            Bucket=bucket, Key=key, Body=_body(value), ContentType="application/json", IfNoneMatch="*"
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != "PreconditionFailed":
            raise
        return False
    return True


def _body(value: Any) -> bytes:
    # As it was published: escaped, a message in Cyrillic would be thrice as long.
    return json.dumps(value, indent=1, ensure_ascii=False).encode()
