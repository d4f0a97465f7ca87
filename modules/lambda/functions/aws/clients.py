"""Clients of the AWS services, made at first use and kept while the function stays warm."""

import functools
from typing import Any

import boto3
from botocore.config import Config

# SubmitJob is not idempotent: sent again after a lost answer, it starts a second job. Lambda's own retry is the safe
# one, because the trigger looks for the job before it submits.
ATTEMPTS = {"batch": 1}


@functools.cache
def client(service: str, attempts: int | None = None) -> Any:
    """`attempts` of each call, where the usual number will not do."""
    made = boto3.client(service, config=_config(attempts or ATTEMPTS.get(service, 3)))
    # Threads that load these classes at once get different ones, and `except made.exceptions.NoSuchKey` misses.
    _ = made.exceptions
    return made


def _config(attempts: int) -> Config:
    # A call that hangs must end before the function's own timeout does, so that the error is seen and logged.
    return Config(connect_timeout=3, read_timeout=10, retries={"mode": "standard", "total_max_attempts": attempts})
