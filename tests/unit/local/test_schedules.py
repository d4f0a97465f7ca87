"""The embedded AWS carries out one-time schedules of EventBridge Scheduler, as their role and no more than that."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from local.embedded_aws import EmbeddedAWS

TRUSTED = {"Service": "scheduler.amazonaws.com"}


class Topic:
    """A topic, a queue that gets what is published there, and schedules that publish (an hour is a minute here)."""

    def __init__(self, aws: EmbeddedAWS, name: str) -> None:
        self.aws, self.name = aws, name
        self.arn = aws.client("sns").create_topic(Name=name)["TopicArn"]
        self.queue = aws.client("sqs").create_queue(QueueName=name)["QueueUrl"]
        queue_arn = f"arn:aws:sqs:us-east-1:123456789012:{name}"
        aws.client("sns").subscribe(TopicArn=self.arn, Protocol="sqs", Endpoint=queue_arn)
        aws.client("scheduler").create_schedule_group(Name=name)

    def role(self, name: str, *, principal: dict[str, str] = TRUSTED, topic: str = "") -> str:
        trust = {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}],
        }
        policy = {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Action": "sns:Publish", "Resource": topic or self.arn}],
        }
        iam = self.aws.client("iam")
        role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))["Role"]
        iam.put_role_policy(RoleName=name, PolicyName="publish", PolicyDocument=json.dumps(policy))
        return str(role["Arn"])

    def schedule(self, name: str, role: str, seconds: float, **more: Any) -> None:
        at = datetime.now(UTC) + timedelta(seconds=seconds)
        self.aws.client("scheduler").create_schedule(
            Name=name,
            GroupName=self.name,
            ScheduleExpression=f"at({at:%Y-%m-%dT%H:%M:%S})",
            FlexibleTimeWindow={"Mode": "OFF"},
            Target={"Arn": self.arn, "RoleArn": role, "Input": name},
            **{"ActionAfterCompletion": "DELETE", **more},
        )

    def received(self) -> list[str]:
        answer = self.aws.client("sqs").receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10)
        return [json.loads(message["Body"])["Message"] for message in answer.get("Messages", [])]

    def waiting(self) -> list[str]:
        found = self.aws.client("scheduler").list_schedules(GroupName=self.name)["Schedules"]
        return [each["Name"] for each in found]


def test_a_due_schedule_publishes_its_input_once_and_is_deleted(aws: EmbeddedAWS) -> None:
    topic = Topic(aws, "due")
    role = topic.role("due")
    topic.schedule("in-a-minute", role, 60)
    topic.schedule("kept", role, 60, ActionAfterCompletion="NONE")
    topic.schedule("in-a-day", role, 86400)
    topic.schedule("disabled", role, 60, State="DISABLED")
    received: list[str] = []
    aws.wait_until(lambda: received.extend(topic.received()) or len(received) == 2)
    assert sorted(received) == ["in-a-minute", "kept"]
    assert sorted(topic.waiting()) == ["disabled", "in-a-day", "kept"]
    topic.schedule("last", role, 0)
    aws.wait_until(lambda: "last" not in topic.waiting())
    aws.wait_until(lambda: received.extend(topic.received()) or len(received) == 3)
    assert received[2] == "last"


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("other-topic", {"topic": "arn:aws:sns:us-east-1:123456789012:other"}),
        ("other-service", {"principal": {"Service": "lambda.amazonaws.com"}}),
    ],
)
def test_a_schedule_does_no_more_than_its_role_may(aws: EmbeddedAWS, name: str, more: dict[str, Any]) -> None:
    topic = Topic(aws, name)
    topic.schedule("refused", topic.role(name, **more), 0)
    aws.wait_until(lambda: topic.waiting() == [])
    topic.schedule("allowed", topic.role(f"{name}-allowed"), 0)
    received: list[str] = []
    aws.wait_until(lambda: received.extend(topic.received()) or bool(received))
    assert received == ["allowed"]
