"""Events of S3 buckets that have EventBridge switched on, in the shape that EventBridge delivers.

moto's own are of another shape (`eTag`, one sequencer for all), go to every bus, and hide what goes wrong.
"""

from __future__ import annotations

import datetime
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

from moto.s3 import notifications
from moto.s3.models import S3Backend

from local.moto.hooks import Hooks

REASONS = {
    "ObjectCreated:Put": "PutObject",
    "ObjectCreated:Post": "POST Object",
    "ObjectCreated:Copy": "CopyObject",
    "ObjectCreated:CompleteMultipartUpload": "CompleteMultipartUpload",
    "ObjectRemoved:Delete": "DeleteObject",
    "ObjectRemoved:DeleteMarkerCreated": "DeleteObject",
}


class BucketEvents:
    """Send creations and removals only: nothing here restores or archives objects."""

    def __init__(self, put: Callable[[dict[str, Any]], None]) -> None:
        self._put = put
        self._sequencers = Sequencers()

    def install(self, hooks: Hooks) -> None:
        hooks.replace(notifications, "_send_event_bridge_message", self._send)
        hooks.wrap(S3Backend, "put_object", without_event_of_parts)

    def _send(self, account: str, bucket: Any, event_name: Any, key: Any) -> None:
        name = str(getattr(event_name, "value", event_name)).removeprefix("s3:")
        if name in REASONS:
            self._put(bucket_event(account, bucket, name, key, self._sequencers.next()))


def without_event_of_parts(original: Any, backend: S3Backend, *args: Any, **kwargs: Any) -> Any:
    """Drop one of two events: moto reports both the end of a multipart upload and the object put by it."""
    if kwargs.get("multipart"):
        kwargs["disable_notification"] = True
    return original(backend, *args, **kwargs)


class Sequencers:
    """Fixed-length hexadecimal numbers; a later event of the same key has a larger one."""

    def __init__(self) -> None:
        self._last = 0
        self._lock = threading.Lock()

    def next(self) -> str:
        with self._lock:
            self._last = max(self._last + 1, time.time_ns())
            return f"{self._last:016X}"


def bucket_event(account: str, bucket: Any, name: str, key: Any, sequencer: str) -> dict[str, Any]:
    created = name.startswith("ObjectCreated")
    item: dict[str, Any] = {"key": key.name, "sequencer": sequencer}
    if created:
        item |= {"size": key.size, "etag": key.etag.strip('"')}
    if bucket.is_versioned:
        item["version-id"] = key.version_id
    detail: dict[str, Any] = {
        "version": "0",
        "bucket": {"name": bucket.name},
        "object": item,
        "request-id": uuid.uuid4().hex[:16].upper(),
        "requester": account,
        "source-ip-address": "127.0.0.1",
        "reason": REASONS[name],
    }
    if not created:
        kept = name.endswith("DeleteMarkerCreated")
        detail["deletion-type"] = "Delete Marker Created" if kept else "Permanently Deleted"
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": "Object Created" if created else "Object Deleted",
        "source": "aws.s3",
        "account": account,
        "time": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": bucket.region_name,
        "resources": [bucket.arn],
        "detail": detail,
    }
