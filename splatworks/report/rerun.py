"""Messages that run a job or a run again, and the commands that publish them."""

import json
import shlex
from typing import Any

from splatworks.contract.documents.request import BY_NAME
from splatworks.contract.documents.run import RunDocument, RunStage
from splatworks.contract.keys import CONTINUE
from splatworks.contract.stages import STAGES
from splatworks.report.email import StoredFile
from splatworks.report.email_text import COMMAND_LIMIT, publish_command, without_request_id
from splatworks.report.settings import ReportSettings

NOT_CONTINUED = ("request_id", "input", "inputs")
JSON, CSV = "application/json", "text/csv"
# Reads request.json and prints its message without the request_id.
MESSAGE_PROGRAM = (
    'import json,sys; m=json.load(sys.stdin)["message"]; m["data"].pop("request_id",None); '
    "print(json.dumps(m,ensure_ascii=False))"
)


def job_again(message: dict[str, Any], request_key: str, settings: ReportSettings) -> tuple[str, ...]:
    """Commands that publish a job's message again. A message too long for a shell is read from its request.json."""
    again = without_request_id(message)
    if len(json.dumps(again)) <= COMMAND_LIMIT:
        return (publish_command(settings.trigger_topic_arn, again),)
    source = shlex.quote(f"s3://{settings.output_bucket}/{request_key}")
    return (
        f"aws s3 cp {source} - | python3 -c {shlex.quote(MESSAGE_PROGRAM)} > message.json",
        _publish_file(settings.trigger_topic_arn),
    )


def from_stage(run: RunDocument, failed: RunStage) -> dict[str, Any]:
    """The message that starts with the failed stage on its inputs; the first stage starts with the message's own."""
    if failed.is_array:
        return failed_again(run)
    inputs = failed.job.input if failed.job else ()
    if failed == run.stages[0] or not inputs:
        return without_request_id(run.message)
    names = list(STAGES) if failed.stage in STAGES else [stage.stage for stage in run.stages]
    dropped = (*NOT_CONTINUED, *names[: names.index(failed.stage)])
    kept = {name: value for name, value in run.message["data"].items() if name not in dropped}
    by_name = failed.job is not None and failed.job.input_layout == BY_NAME
    given: Any = list(inputs) if by_name else inputs[0]
    return {**run.message, "data": {"job_name": run.label, **kept, "steps": failed.stage, "input": given}}


def failed_again(run: RunDocument, inputs: str | None = None) -> dict[str, Any]:
    """The same message; finished results are found by their content. `inputs` names the scenes that are left.

    Without `fresh`, which would run finished stages again.
    """
    message = without_request_id(run.message)
    data = {name: value for name, value in message["data"].items() if name != "fresh"}
    return {**message, "data": data | ({"inputs": inputs} if inputs else {})}


def run_again(
    message: dict[str, Any], run: RunDocument, settings: ReportSettings
) -> tuple[tuple[str, ...], tuple[StoredFile, ...]]:
    """Commands that publish a message, and the file that they need if it is too long for a shell."""
    if len(json.dumps(message)) <= COMMAND_LIMIT:
        return (publish_command(settings.trigger_topic_arn, message),), ()
    key = f"{run.folder}{CONTINUE}"
    stored = StoredFile(key, json.dumps(message, indent=1, ensure_ascii=False), JSON)
    fetch = f"aws s3 cp s3://{settings.output_bucket}/{key} message.json"
    return (fetch, _publish_file(settings.trigger_topic_arn)), (stored,)


def _publish_file(topic_arn: str) -> str:
    return f"aws sns publish --topic-arn {shlex.quote(topic_arn)} --message file://message.json"
