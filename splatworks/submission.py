"""What submit does at the platform: files to the input bucket, one message to the topic."""

import json
import sys
from typing import Any

from splatworks.bars import transfer_bar
from splatworks.messages import Location
from splatworks.platform import Platform
from splatworks.problems import Problem
from splatworks.uploads import UploadPlan, plan_upload, refuse_others, upload

SNS_LIMIT = 262_144  # bytes of a message


def upload_locations(platform: Platform, locations: list[Location], *, keep_others: bool) -> None:
    for location in locations:
        if location.local is None:
            continue
        plan = plan_upload(platform.client("s3"), platform.settings.input_bucket, location.given, location.local)
        if not keep_others:
            refuse_others(plan)
        _upload_with_bar(platform, plan)


def publish(platform: Platform, message: dict[str, Any]) -> None:
    text = json.dumps(message)
    if len(text.encode()) > SNS_LIMIT:
        raise Problem(
            f"The message has {len(text.encode())} bytes, SNS takes {SNS_LIMIT}.",
            "Say less in --set and --args; put many scenes into a folder or a manifest, with --several.",
        )
    platform.client("sns").publish(TopicArn=platform.settings.trigger_topic_arn, Message=text)


def _upload_with_bar(platform: Platform, plan: UploadPlan) -> None:
    with transfer_bar(f"{len(plan.files)} files", plan.size) as advance:
        sent, there = upload(platform.client("s3"), plan, advance)
    what = f"{sent} files uploaded" + (f", {there} were there already" if there else "")
    print(f"{what}: s3://{plan.bucket}/{plan.prefix}", file=sys.stderr)
