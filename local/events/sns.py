"""Deliver SNS messages to functions, asynchronously and with the message's id, and to the outbox."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from typing import Any

from moto.awslambda.exceptions import UnknownFunctionException
from moto.sns.exceptions import SNSInvalidParameter
from moto.sns.models import SNSBackend, Subscription, Topic, sns_backends

from local.delivery.dead_letters import send_dead_letter
from local.delivery.outbox import Outbox
from local.lambdas.permissions import function_by_arn, may_invoke
from local.lambdas.runtime import LambdaRuntime
from local.moto.hooks import Hooks

EMAIL = ("email", "email-json")


class SNSDelivery:
    def __init__(self, functions: LambdaRuntime, outbox: Outbox, log: Callable[[str], None]) -> None:
        self._functions = functions
        self._outbox = outbox
        self._log = log

    def install(self, hooks: Hooks) -> None:
        hooks.wrap(Subscription, "publish", self._to_subscription)
        hooks.wrap(Topic, "publish", self._to_topic)
        hooks.wrap(SNSBackend, "publish", check_subject)

    def redeliver(self, topic_arn: str, message_id: str) -> None:
        """Deliver the same message again: SNS promises at-least-once delivery."""
        region, account = topic_arn.split(":")[3:5]
        topic = sns_backends[account][region].topics[topic_arn]
        _, message, subject, attributes, _ = next(sent for sent in topic.sent_notifications if sent[0] == message_id)
        for subscription in subscriptions_of(topic):
            if subscription.protocol == "lambda":
                self._to_function(subscription, message, message_id, subject, attributes)

    def _to_topic(self, original: Any, topic: Topic, message: str, *args: Any, **kwargs: Any) -> str:
        subject = kwargs.get("subject")
        attributes = kwargs.get("message_attributes")
        emails = [
            subscription
            for subscription in subscriptions_of(topic)
            if subscription.protocol in EMAIL and accepts(subscription, attributes, message)
        ]
        if kwargs.get("message_structure") == "json" and emails:
            text = emails[0]._parse_message_structure(message, emails[0].protocol)
        else:
            text = message
        self._outbox.deliver(emails, text, subject)
        message_id: str = original(topic, message, *args, **kwargs)
        return message_id

    def _to_subscription(
        self, original: Any, subscription: Subscription, message: str, message_id: str, **kwargs: Any
    ) -> None:
        if subscription.protocol != "lambda":
            original(subscription, message, message_id, **kwargs)
            return
        attributes = kwargs.get("message_attributes")
        if not accepts(subscription, attributes, message):
            return
        if kwargs.get("message_structure") == "json":
            message = subscription._parse_message_structure(message, "lambda")
        self._to_function(subscription, message, message_id, kwargs.get("subject"), attributes)

    def _to_function(
        self,
        subscription: Subscription,
        message: str,
        message_id: str,
        subject: str | None,
        attributes: dict[str, Any] | None,
    ) -> None:
        try:
            function = function_by_arn(subscription.endpoint)
        except UnknownFunctionException:
            self._undelivered(subscription, message, f"{subscription.endpoint} does not exist")
            return
        if not may_invoke(function, "sns.amazonaws.com", subscription.topic_arn):
            self._undelivered(subscription, message, f"{function.function_name} does not permit SNS to invoke it")
            return
        event = notification(subscription, message, message_id, subject, attributes or {})
        self._functions.invoke_async(function, event)

    def _undelivered(self, subscription: Subscription, message: str, reason: str) -> None:
        self._log(f"SNS could not deliver a message of {subscription.topic_arn}: {reason}")
        policy = subscription.attributes.get("RedrivePolicy")
        if policy:
            target = (json.loads(policy) if isinstance(policy, str) else policy)["deadLetterTargetArn"]
            send_dead_letter(target, message, {})


def subscriptions_of(topic: Topic) -> list[Subscription]:
    found, _ = topic.sns_backend.list_subscriptions_by_topic(topic_arn=topic.arn)
    return list(found)


def accepts(subscription: Subscription, attributes: dict[str, Any] | None, message: str) -> bool:
    matcher = subscription._filter_policy_matcher
    return matcher is None or bool(matcher.matches(attributes, message))


def check_subject(original: Any, backend: SNSBackend, *args: Any, **kwargs: Any) -> Any:
    """AWS refuses a subject that is not valid in a mail header; moto only checks its length."""
    subject = kwargs.get("subject")
    if subject is not None and not (subject and len(subject) < 100 and subject.isascii() and subject.isprintable()):
        raise SNSInvalidParameter("Invalid parameter: Subject")
    return original(backend, *args, **kwargs)


def notification(
    subscription: Subscription, message: str, message_id: str, subject: str | None, attributes: dict[str, Any]
) -> dict[str, Any]:
    """Build the event of a function that a topic invokes."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    host = f"https://sns.{subscription.topic_arn.split(':')[3]}.amazonaws.com"
    sns = {
        "Type": "Notification",
        "MessageId": message_id,
        "TopicArn": subscription.topic_arn,
        "Subject": subject,
        "Message": message,
        "Timestamp": now,
        "SignatureVersion": "1",
        "Signature": "none: the embedded AWS does not sign",
        "SigningCertUrl": f"{host}/SimpleNotificationService.pem",
        "UnsubscribeUrl": f"{host}/?Action=Unsubscribe&SubscriptionArn={subscription.arn}",
        "MessageAttributes": attributes,
    }
    record = {"EventSource": "aws:sns", "EventVersion": "1.0", "EventSubscriptionArn": subscription.arn, "Sns": sns}
    return {"Records": [record]}
