"""Refuse a message: keep it in the dead-letter queue and send its author an e-mail."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from aws.clients import client
from aws.notification import send_email
from dispatch.deliveries import Delivery
from splatworks.contract.template import read_template, render
from splatworks.planning.bad_input import BadInputError
from splatworks.planning.settings import DispatcherSettings

SQS_LIMIT = 262_144  # bytes, of the body with its attributes
ATTRIBUTE_LIMIT = 1024  # bytes of the reason
SHOWN_LIMIT = 4000  # characters of the message that the e-mail repeats
TEMPLATE = Path(__file__).with_name("refused.txt")
# Compiled at first use: it takes milliseconds, which a cold start need not pay.
NOT_IN_SQS = "[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"


@dataclass(frozen=True, kw_only=True)
class RefusedView:
    """The fields of refused.txt."""

    project: str
    field: str
    given: str
    allowed: str
    fix: str
    how_to_repeat: tuple[str, ...]
    described: str
    message: tuple[str, ...]
    dlq_url: str


def refuse(delivery: Delivery, problem: BadInputError, settings: DispatcherSettings) -> None:
    """Keep the message first: if the e-mail fails, both are tried again."""
    _keep(delivery, problem, settings.dlq_url)
    subject, body = render(read_template(TEMPLATE), _view(delivery, problem, settings))
    send_email(settings.notification_topic_arn, subject, body)


def _view(delivery: Delivery, problem: BadInputError, settings: DispatcherSettings) -> RefusedView:
    text = delivery.text
    shown = text if len(text) <= SHOWN_LIMIT else f"{text[:SHOWN_LIMIT]}… ({len(text)} characters)"
    return RefusedView(
        project=settings.project_name,
        field=problem.field,
        given=problem.given,
        allowed=problem.allowed,
        fix=problem.fix,
        how_to_repeat=tuple(delivery.how_to_repeat(settings).split("\n")),
        described=delivery.described(),
        message=tuple(shown.split("\n")),
        dlq_url=settings.dlq_url,
    )


def _keep(delivery: Delivery, problem: BadInputError, dlq_url: str) -> None:
    attributes = {"reason": str(problem), "field": problem.field, **delivery.attributes()}
    body = delivery.text
    if not body or re.search(NOT_IN_SQS, body):  # SQS refuses such bodies
        body = json.dumps(body)
        attributes["body_encoding"] = "json-string"
    client("sqs").send_message(QueueUrl=dlq_url, MessageBody=body, MessageAttributes=_fitting(attributes, body))


def _fitting(attributes: dict[str, str], body: str) -> dict[str, dict[str, str]]:
    """Keep the attributes that fit next to the body; if it fills the message alone, only the e-mail has the reason."""
    room = SQS_LIMIT - len(body.encode(errors="replace"))
    fitting = {}
    for name, value in attributes.items():
        clean = re.sub(NOT_IN_SQS, "?", value).encode(errors="replace")[:ATTRIBUTE_LIMIT].decode(errors="ignore") or "-"
        room -= len(name) + len("String") + len(clean.encode())
        if room < 0:
            break
        fitting[name] = {"DataType": "String", "StringValue": clean}
    return fitting
