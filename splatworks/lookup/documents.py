"""Read objects of a bucket; splatworks.contract.documents knows what is in them."""

from splatworks.lookup.clients import Clients


def read_object(clients: Clients, bucket: str, key: str) -> bytes | None:
    """The object's content; None if the bucket has no object of this key."""
    s3 = clients("s3")
    try:
        content: bytes = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    except s3.exceptions.NoSuchKey:
        return None
    return content
