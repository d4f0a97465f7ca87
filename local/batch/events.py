"""Batch Job State Change, in the shape that EventBridge delivers."""

from __future__ import annotations

import datetime
import uuid
from typing import Any

from local.batch.descriptions import detail
from local.batch.jobs import Job


def job_state_change(job: Job, tags: dict[str, str]) -> dict[str, Any]:
    """Build the event. Its detail is the current answer of DescribeJobs without a few fields."""
    _, _, _, region, account, _ = job.arn.split(":", 5)
    shown = {**detail(job, {}), "tags": {"resourceArn": job.arn, **tags}}
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": "Batch Job State Change",
        "source": "aws.batch",
        "account": account,
        "time": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": region,
        "resources": [job.arn],
        "detail": shown,
    }
