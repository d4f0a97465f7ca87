"""Links that open a run's files in a browser until the credentials expire that sign them."""

from datetime import UTC, datetime
from typing import Any

import boto3
from botocore.config import Config

from aws.clients import client
from gather.settings import MonitorSettings
from splatworks.report.page_links import Links, PageKeys

LIFE_SECONDS = 3600  # the longest that AWS gives to a role assumed by a role
CONTENT_TYPES = {".html": "text/html; charset=utf-8", ".png": "image/png"}


def sign(keys: PageKeys, run_id: str, settings: MonitorSettings, region: str) -> Links:
    """Links to a page and its thumbnail in the output bucket.

    The function's own credentials would sign as well, but nobody knows when they end, and they may do more than read.
    """
    credentials = client("sts").assume_role(
        RoleArn=settings.link_role_arn, RoleSessionName=run_id[:64], DurationSeconds=LIFE_SECONDS
    )["Credentials"]
    s3 = _client_of(credentials, region)
    expire: datetime = credentials["Expiration"]
    seconds = max(1, int((expire - datetime.now(UTC)).total_seconds()))
    urls = {"": ""}
    for key in filter(None, (keys.page, keys.thumbnail)):
        wanted = {"Bucket": settings.output_bucket, "Key": key}
        if kind := CONTENT_TYPES.get(key[key.rfind(".") :]):
            wanted["ResponseContentType"] = kind  # so that browsers show the page instead of downloading it
        urls[key] = s3.generate_presigned_url("get_object", wanted, seconds)
    return Links(keys=keys, page_url=urls[keys.page], thumbnail_url=urls[keys.thumbnail], expire=expire)


def _client_of(credentials: dict[str, Any], region: str) -> Any:
    return boto3.client(
        "s3",
        region_name=region,
        aws_access_key_id=credentials["AccessKeyId"],
        aws_secret_access_key=credentials["SecretAccessKey"],
        aws_session_token=credentials["SessionToken"],
        # By default boto3 signs links for the global endpoint, which redirects to the region of a new bucket: there
        # the signature is wrong. In us-east-1 it signs in the old way, which S3 refuses for new buckets.
        config=Config(
            signature_version="s3v4", s3={"addressing_style": "virtual", "us_east_1_regional_endpoint": "regional"}
        ),
    )
