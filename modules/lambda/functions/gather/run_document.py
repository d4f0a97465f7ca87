"""Read run.json."""

import json

from aws.clients import client
from splatworks.report.run_record import Run, run_from_json


def read_run(bucket: str, key: str) -> Run:
    """Raise if there is no such document: without it nobody can say what has ended."""
    return run_from_json(key, json.loads(client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()))
