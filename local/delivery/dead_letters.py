"""Send undeliverable events to a dead-letter queue or topic."""

from __future__ import annotations

from moto.sns.models import sns_backends
from moto.sqs.models import sqs_backends

Attributes = dict[str, tuple[str, str]]  # by name: (data type, value)


def send_dead_letter(arn: str, body: str, attributes: Attributes) -> None:
    _, _, service, region, account, name = arn.split(":", 5)
    if service == "sqs":
        typed = {key: {"DataType": kind, "StringValue": value} for key, (kind, value) in attributes.items()}
        sqs_backends[account][region].send_message(name, body, message_attributes=typed)
    elif service == "sns":
        typed = {key: {"Type": kind, "Value": value} for key, (kind, value) in attributes.items()}
        sns_backends[account][region].publish(message=body, arn=arn, message_attributes=typed)
    else:
        raise ValueError(f"{arn} can take no dead letters here: only SQS queues and SNS topics can")
