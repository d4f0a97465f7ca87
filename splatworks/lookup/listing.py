"""Listings of S3 in pages."""

from typing import Any

from splatworks.lookup.clients import Clients


def objects_below(clients: Clients, bucket: str, prefix: str, most: int | None = None) -> list[dict[str, Any]]:
    paging = {"MaxItems": most, "PageSize": min(most, 1000)} if most else {}
    pages = (
        clients("s3").get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix, PaginationConfig=paging)
    )
    return [item for page in pages for item in page.get("Contents", [])]
