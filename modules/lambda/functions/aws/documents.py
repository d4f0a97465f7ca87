"""Write the platform's own JSON documents to the output bucket."""

from botocore.exceptions import ClientError

from aws.clients import client

JSON = "application/json"


def store(bucket: str, key: str, content: bytes) -> None:
    client("s3").put_object(Bucket=bucket, Key=key, Body=content, ContentType=JSON)


def store_first(bucket: str, key: str, content: bytes) -> bool:
    """Write the object unless there is one of this key already; return whether it was written."""
    try:
        client("s3").put_object(Bucket=bucket, Key=key, Body=content, ContentType=JSON, IfNoneMatch="*")
    except ClientError as error:
        if error.response["Error"]["Code"] != "PreconditionFailed":
            raise
        return False
    return True
