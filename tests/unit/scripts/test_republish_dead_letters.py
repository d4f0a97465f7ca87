import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import boto3
import pytest
from moto import mock_aws

REFUSED = {"reason": {"DataType": "String", "StringValue": "data.script_key is missing"}}


def load() -> ModuleType:
    path = Path(__file__).parents[3] / "scripts" / "republish_dead_letters.py"
    spec = importlib.util.spec_from_file_location("republish_dead_letters", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Platform:
    def __init__(self) -> None:
        self.sqs, self.sns = boto3.client("sqs"), boto3.client("sns")
        self.dlq = self.sqs.create_queue(QueueName="dlq")["QueueUrl"]
        self.inbox = self.sqs.create_queue(QueueName="inbox")["QueueUrl"]
        self.topic = self.sns.create_topic(Name="trigger")["TopicArn"]
        arn = self.sqs.get_queue_attributes(QueueUrl=self.inbox, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        self.sns.subscribe(TopicArn=self.topic, Protocol="sqs", Endpoint=arn, Attributes={"RawMessageDelivery": "true"})

    def dead(self, body: str, attributes: dict[str, Any] | None = None) -> None:
        self.sqs.send_message(QueueUrl=self.dlq, MessageBody=body, MessageAttributes=attributes or {})

    def arrived(self) -> list[str]:
        found = self.sqs.receive_message(QueueUrl=self.inbox, MaxNumberOfMessages=10).get("Messages", [])
        return [message["Body"] for message in found]

    def waiting(self) -> int:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        return sum(
            int(self.sqs.get_queue_attributes(QueueUrl=self.dlq, AttributeNames=[name])["Attributes"][name])
            for name in names
        )


@pytest.fixture
def platform(monkeypatch: pytest.MonkeyPatch) -> Iterator[Platform]:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    with mock_aws():
        yield Platform()


def test_an_envelope_of_lambda_is_published_as_it_was_first_published(platform: Platform) -> None:
    platform.dead(json.dumps({"Records": [{"Sns": {"Message": '{"trigger_type": "batch_job"}'}}]}))
    assert load().republish(platform.dlq, platform.topic, refused_too=False) == (1, 0)
    assert platform.arrived() == ['{"trigger_type": "batch_job"}']
    assert platform.waiting() == 0


def test_the_event_of_an_upload_stays_with_the_command_that_starts_it_again(
    platform: Platform, capsys: pytest.CaptureFixture[str]
) -> None:
    platform.dead((Path(__file__).parents[2] / "events" / "object_created.json").read_text())
    assert load().republish(platform.dlq, platform.topic, refused_too=True) == (0, 1)
    assert platform.arrived() == []
    uri = "s3://demo-input/photos/my-scene/_READY"
    assert f"aws s3 cp {uri} {uri} --metadata-directive REPLACE" in capsys.readouterr().out


def test_a_refused_message_stays_unless_asked_for(platform: Platform) -> None:
    platform.dead("not even JSON", REFUSED)
    assert load().republish(platform.dlq, platform.topic, refused_too=False) == (0, 1)
    assert platform.arrived() == []
    assert platform.waiting() == 1


def test_a_refused_message_is_published_unchanged_when_asked_for(platform: Platform) -> None:
    platform.dead("not even JSON", REFUSED)
    assert load().republish(platform.dlq, platform.topic, refused_too=True) == (1, 0)
    assert platform.arrived() == ["not even JSON"]


def test_a_text_that_the_queue_could_not_hold_is_published_as_it_was(platform: Platform) -> None:
    platform.dead(
        json.dumps("a bell \a"), {**REFUSED, "body_encoding": {"DataType": "String", "StringValue": "json-string"}}
    )
    assert load().republish(platform.dlq, platform.topic, refused_too=True) == (1, 0)
    assert platform.arrived() == ["a bell \a"]


def test_a_dead_letter_survives_when_publishing_fails(platform: Platform) -> None:
    platform.dead("kept")
    with pytest.raises(platform.sns.exceptions.NotFoundException):
        load().republish(platform.dlq, platform.topic + "-gone", refused_too=True)
    assert platform.waiting() == 1


def test_an_empty_queue_is_no_error(platform: Platform) -> None:
    assert load().republish(platform.dlq, platform.topic, refused_too=True) == (0, 0)
