"""JSON documents in a bucket, as they lie there; splatworks.contract knows their fields."""

import json
from typing import Any

from splatworks.lookup.clients import Clients


def read_stored(clients: Clients, bucket: str, key: str) -> Any:
    """Read one JSON object; None if the bucket has no object of this key. Raise ValueError if it is not JSON."""
    s3 = clients("s3")
    try:
        body = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    except s3.exceptions.NoSuchKey:
        return None
    return json.loads(body)


def read_if_json(clients: Clients, bucket: str, key: str) -> Any:
    """Like read_stored, but None if it is not JSON: jobs write these files, and a broken one is no result."""
    try:
        return read_stored(clients, bucket, key)
    except (ValueError, RecursionError):
        return None
