"""Write the platform's own JSON documents to the output bucket."""

import json
from typing import Any

from botocore.exceptions import ClientError

from aws.clients import client


def store(bucket: str, key: str, value: Any) -> None:
    client("s3").put_object(Bucket=bucket, Key=key, Body=_body(value), ContentType="application/json")


def store_first(bucket: str, key: str, value: Any) -> bool:
    """Write the object unless there is one of this key already; return whether it was written."""
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
    # As it was published: with ASCII escapes a message in Cyrillic would be three times as long.
    return json.dumps(value, indent=1, ensure_ascii=False).encode()
