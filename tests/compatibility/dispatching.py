"""Dispatch messages by the functions (of any version) that are on the path, on a small platform in moto.

    PYTHONPATH=FUNCTIONS:tests/unit/lambda python dispatching.py INPUT MESSAGES OUTPUT

INPUT is a folder with the objects of the input bucket, MESSAGES a JSON list. OUTPUT gets the objects of the output
bucket and submissions.json, the arguments of each SubmitJob.
"""

import copy
import json
import sys
from pathlib import Path
from typing import Any

import boto3
import pytest
from lambda_platform import Context, _make_platform, saved_event
from moto import mock_aws

INPUT_BUCKET, OUTPUT_BUCKET = "demo-input", "demo-output"


def main(given: Path, messages: list[Any], output: Path) -> None:
    submissions: list[dict[str, Any]] = []
    with pytest.MonkeyPatch.context() as monkeypatch, mock_aws(config={"batch": {"use_docker": False}}):
        boto3.setup_default_session()
        boto3.DEFAULT_SESSION.events.register(
            "provide-client-params.batch.SubmitJob", lambda params, **_: submissions.append(copy.deepcopy(params))
        )
        _make_platform(monkeypatch)
        s3 = boto3.client("s3")
        for path in (path for path in sorted(given.rglob("*")) if path.is_file()):
            s3.put_object(Bucket=INPUT_BUCKET, Key=path.relative_to(given).as_posix(), Body=path.read_bytes())
        _dispatch(messages)
        for found in s3.list_objects_v2(Bucket=OUTPUT_BUCKET).get("Contents", []):
            target = output / found["Key"]
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(s3.get_object(Bucket=OUTPUT_BUCKET, Key=found["Key"])["Body"].read())
    (output / "submissions.json").write_text(json.dumps(submissions, indent=1))


def _dispatch(messages: list[Any]) -> None:
    import dispatcher  # its settings must be there before

    record = saved_event("sns_message")["Records"][0]
    records = []
    for number, message in enumerate(messages):
        records.append(copy.deepcopy(record))
        records[-1]["Sns"].update(Message=json.dumps(message), MessageId=f"message-{number}")
    answers = dispatcher.handler({"Records": records}, Context())["answers"]
    refused = [answer for answer in answers if "refused" in answer]
    if refused:
        raise SystemExit(f"refused: {refused}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text()), Path(sys.argv[3]))
