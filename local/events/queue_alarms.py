"""Evaluate CloudWatch alarms on messages sent to queues; moto only stores alarms."""

from __future__ import annotations

import datetime
import json
import operator
import time
from collections.abc import Callable
from typing import Any

from moto.sns.models import sns_backends

from local.delivery.poller import Poller

METRIC = ("AWS/SQS", "NumberOfMessagesSent")
POLL_SECONDS = 1.0  # AWS looks once in the alarm's period
COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "GreaterThanThreshold": operator.gt,
    "GreaterThanOrEqualToThreshold": operator.ge,
    "LessThanThreshold": operator.lt,
    "LessThanOrEqualToThreshold": operator.le,
}


class QueueAlarms:
    def __init__(
        self, cloudwatch_backend: Any, sqs_backend: Any, log: Callable[[str], None], *, hurry: float = 1.0
    ) -> None:
        self._cloudwatch = cloudwatch_backend
        self._sqs = sqs_backend
        self._hurry = hurry
        self._poller = Poller("queue-alarms", POLL_SECONDS, self._cloudwatch.alarms.values, self.evaluate, log)

    def close(self) -> None:
        self._poller.close()

    def evaluate(self, alarm: Any) -> None:
        dimensions = {dimension.name: dimension.value for dimension in alarm.dimensions}
        queue = self._sqs.queues.get(dimensions.get("QueueName", ""))
        if (alarm.namespace, alarm.metric_name) != METRIC or queue is None:
            return
        since = (time.time() - alarm.period / self._hurry) * 1000
        value = float(sum(int(message.sent_timestamp) > since for message in list(queue._messages)))
        state = "ALARM" if COMPARISONS[alarm.comparison_operator](value, alarm.threshold) else "OK"
        if state == alarm.state_value:
            return
        old = alarm.state_value
        reason = f"Threshold Crossed: 1 datapoint [{value}] against the threshold ({alarm.threshold}), now {state}."
        alarm.update_state(reason, "{}", state)
        if alarm.actions_enabled:
            for arn in alarm.alarm_actions if state == "ALARM" else alarm.ok_actions:
                notify(alarm, arn, old, reason)


def notify(alarm: Any, topic_arn: str, old: str, reason: str) -> None:
    """Publish JSON for programs and text for e-mail, like CloudWatch."""
    region, account = topic_arn.split(":")[3:5]
    now = datetime.datetime.now(datetime.UTC)
    state: str = alarm.state_value
    document = {
        "AlarmName": alarm.name,
        "AlarmDescription": alarm.description,
        "AWSAccountId": account,
        "NewStateValue": state,
        "NewStateReason": reason,
        "OldStateValue": old,
        "StateChangeTime": now.strftime("%Y-%m-%dT%H:%M:%S.000+0000"),
        "Region": region,
        "AlarmArn": alarm.alarm_arn,
        "Trigger": {"Namespace": alarm.namespace, "MetricName": alarm.metric_name, "Threshold": alarm.threshold},
    }
    text = (
        f'The CloudWatch alarm "{alarm.name}" in {region} has entered the {state} state at {now:%Y-%m-%d %H:%M:%S} UTC.'
        f"\n\n{alarm.description}\n\nReason: {reason}"
    )
    sns_backends[account][region].topics[topic_arn].publish(
        json.dumps({"default": json.dumps(document), "email": text}),
        subject=f'{state}: "{alarm.name}" in {region}'[:99],
        message_structure="json",
    )
