"""The message that goes on where a run has stopped."""

import json
import shlex
from typing import Any

from aws.clients import client
from splatworks.planning.settings import MonitorSettings
from splatworks.report.email_text import COMMAND_LIMIT, publish_command, without_request_id
from splatworks.report.run_record import Run, RunStage

STAGES = ("sfm", "train", "compress")
NOT_CONTINUED = ("request_id", "input", "inputs")


def from_stage(run: Run, failed: RunStage) -> dict[str, Any]:
    """Start with the stage that failed, on what it read; the first stage starts with the message's own input."""
    if failed.is_array:
        return again_where_it_failed(run)
    if failed == run.stages[0] or not failed.inputs:
        return without_request_id(run.message)
    earlier = STAGES[: STAGES.index(failed.name)]
    kept = {name: value for name, value in run.message["data"].items() if name not in (*NOT_CONTINUED, *earlier)}
    inputs: Any = list(failed.inputs) if failed.input_layout == "by_name" else failed.inputs[0]
    data = {"job_name": run.label, **kept, "steps": failed.name, "input": inputs}
    return {**run.message, "data": data}


def again_where_it_failed(run: Run, inputs: str | None = None) -> dict[str, Any]:
    """The same message, which finds what is done already by its content; `inputs` names the scenes that are left.

    Without `fresh`, which would do again what is done.
    """
    message = without_request_id(run.message)
    data = {name: value for name, value in message["data"].items() if name != "fresh"}
    return {**message, "data": data | ({"inputs": inputs} if inputs else {})}


def command(message: dict[str, Any], run: Run, settings: MonitorSettings) -> str:
    """For a shell. A message too long for one is put beside run.json."""
    if len(json.dumps(message)) <= COMMAND_LIMIT:
        return f"  {publish_command(settings.trigger_topic_arn, message)}"
    key = f"{run.folder}continue.json"
    write(settings.output_bucket, key, json.dumps(message, indent=1, ensure_ascii=False), "application/json")
    topic = shlex.quote(settings.trigger_topic_arn)
    return (
        f"  aws s3 cp s3://{settings.output_bucket}/{key} message.json\n"
        f"  aws sns publish --topic-arn {topic} --message file://message.json"
    )


def write(bucket: str, key: str, text: str, content_type: str) -> None:
    client("s3").put_object(Bucket=bucket, Key=key, Body=text.encode(), ContentType=content_type)
