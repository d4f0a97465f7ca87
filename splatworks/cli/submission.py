"""What submit does at the platform: files to the input bucket, one message to the topic."""

import json
import sys
from typing import Any

from botocore.exceptions import ClientError

from splatworks.cli.bars import transfer_bar
from splatworks.cli.messages import InputLocation, as_request
from splatworks.cli.plans import plan_run
from splatworks.cli.platform import Platform
from splatworks.cli.problems import DENIED, Problem, error_code
from splatworks.cli.uploads import UploadPlan, plan_upload, refuse_changed, refuse_others, upload

SNS_LIMIT = 262_144  # bytes of a message


def check(platform: Platform, message: dict[str, Any], *, uploaded: bool) -> None:
    """What the dispatcher would refuse is told here and now, and not by e-mail after gigabytes of upload."""
    try:
        plan_run(platform, as_request(message), uploaded=uploaded)
    except ClientError as error:
        if error_code(error) not in DENIED:
            raise  # one who may publish need not be allowed to look at all that the dispatcher looks at


def upload_locations(platform: Platform, locations: list[InputLocation], *, keep_others: bool, replace: bool) -> None:
    """Nothing is sent before all folders were found free of other photos."""
    s3, bucket = platform.client("s3"), platform.settings.input_bucket
    plans = [plan_upload(s3, bucket, each.given, each.local) for each in locations if each.local]
    for plan in plans:
        if not keep_others:
            refuse_others(plan)
        if not replace:
            refuse_changed(plan)
    for plan in plans:
        _upload_with_bar(platform, plan)


def bytes_to_upload(platform: Platform, locations: list[InputLocation]) -> int:
    """What submit would have to send; what is there already is not."""
    s3, bucket = platform.client("s3"), platform.settings.input_bucket
    return sum(plan_upload(s3, bucket, each.given, each.local).missing_bytes for each in locations if each.local)


def publish(platform: Platform, message: dict[str, Any]) -> None:
    text = json.dumps(message, ensure_ascii=False)
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
