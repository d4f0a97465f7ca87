"""Links that open a run's files in a browser, for as long as the credentials live that sign them."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import boto3
from botocore.config import Config

from aws.clients import client
from splatworks.planning.settings import MonitorSettings

LIFE_SECONDS = 3600  # the longest that AWS gives to a role assumed by a role
RENEWED_SECONDS = 604_800  # the longest that S3 takes
CONTENT_TYPES = {".html": "text/html; charset=utf-8", ".png": "image/png"}


@dataclass(frozen=True)
class Links:
    urls: tuple[str, ...]
    expire: datetime


def sign(keys: list[str], run_id: str, settings: MonitorSettings, region: str) -> Links:
    """One link for each key of the output bucket.

    The function's own credentials would sign as well, but nobody knows when they end, and they may do more than read.
    """
    credentials = client("sts").assume_role(
        RoleArn=settings.link_role_arn, RoleSessionName=run_id[:64], DurationSeconds=LIFE_SECONDS
    )["Credentials"]
    s3 = _client_of(credentials, region)
    expire: datetime = credentials["Expiration"]
    seconds = max(1, int((expire - datetime.now(UTC)).total_seconds()))
    urls = [s3.generate_presigned_url("get_object", _wanted(settings.output_bucket, key), seconds) for key in keys]
    return Links(tuple(urls), expire)


def renewing_command(bucket: str, key: str, region: str) -> str:
    return f"aws s3 presign s3://{bucket}/{key} --expires-in {RENEWED_SECONDS} --region {region}"


def _wanted(bucket: str, key: str) -> dict[str, str]:
    """S3 is told what to call the file: a page that is downloaded instead of shown is no page."""
    kind = CONTENT_TYPES.get(key[key.rfind(".") :])
    return {"Bucket": bucket, "Key": key} | ({"ResponseContentType": kind} if kind else {})


def _client_of(credentials: dict[str, Any], region: str) -> Any:
    return boto3.client(
        "s3",
        region_name=region,
        aws_access_key_id=credentials["AccessKeyId"],
        aws_secret_access_key=credentials["SecretAccessKey"],
        aws_session_token=credentials["SessionToken"],
        # Left to itself boto3 signs links for the world-wide endpoint, which redirects to the region of a young bucket:
        # there the signature is wrong. In us-east-1 it signs in the old way, which S3 takes from no new bucket.
        config=Config(
            signature_version="s3v4", s3={"addressing_style": "virtual", "us_east_1_regional_endpoint": "regional"}
        ),
    )
