"""What happens to a message that was refused: it is kept in the dead-letter queue, and its author gets an e-mail."""

import json
import re

from aws.clients import client
from aws.notification import send_email
from dispatch.deliveries import Delivery
from splatworks.planning.bad_input import BadInputError
from splatworks.planning.settings import DispatcherSettings

SQS_LIMIT = 262_144  # bytes, of the body with its attributes
ATTRIBUTE_LIMIT = 1024  # bytes of the reason
SHOWN_LIMIT = 4000  # characters of the message that the e-mail repeats
# Compiled at first use: it takes milliseconds, which a cold start need not pay.
NOT_IN_SQS = "[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"


def refuse(delivery: Delivery, problem: BadInputError, settings: DispatcherSettings) -> None:
    """Keep first, tell second: when the second fails, both are tried again."""
    _keep(delivery, problem, settings.dlq_url)
    send_email(
        settings.notification_topic_arn,
        f"[{settings.project_name}] Message refused: {problem.field}",
        email_text(delivery, problem, settings),
    )


def email_text(delivery: Delivery, problem: BadInputError, settings: DispatcherSettings) -> str:
    text = delivery.text
    shown = text if len(text) <= SHOWN_LIMIT else f"{text[:SHOWN_LIMIT]}… ({len(text)} characters)"
    return f"""A message to {settings.project_name} was refused. Nothing was started, and nothing will be retried.

Field:    {problem.field}
Given:    {problem.given}
Allowed:  {problem.allowed}
To do:    {problem.fix}

{delivery.how_to_repeat(settings)}

{delivery.described()}:

{shown}

It is also kept, unchanged, in the dead-letter queue {settings.dlq_url}
"""


def _keep(delivery: Delivery, problem: BadInputError, dlq_url: str) -> None:
    attributes = {"reason": str(problem), "field": problem.field, **delivery.attributes()}
    body = delivery.text
    if not body or re.search(NOT_IN_SQS, body):  # SQS refuses such bodies
        body = json.dumps(body)
        attributes["body_encoding"] = "json-string"
    client("sqs").send_message(QueueUrl=dlq_url, MessageBody=body, MessageAttributes=_fitting(attributes, body))


def _fitting(attributes: dict[str, str], body: str) -> dict[str, dict[str, str]]:
    """As many attributes as fit beside the body, which may fill a message alone; then the e-mail has the reason."""
    room = SQS_LIMIT - len(body.encode(errors="replace"))
    fitting = {}
    for name, value in attributes.items():
        clean = re.sub(NOT_IN_SQS, "?", value).encode(errors="replace")[:ATTRIBUTE_LIMIT].decode(errors="ignore") or "-"
        room -= len(name) + len("String") + len(clean.encode())
        if room < 0:
            break
        fitting[name] = {"DataType": "String", "StringValue": clean}
    return fitting
