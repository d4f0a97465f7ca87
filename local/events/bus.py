"""EventBridge: route events by rules to functions, topics and queues, with retries and dead-letter queues."""

from __future__ import annotations

import copy
import datetime
import json
import threading
from collections.abc import Callable
from typing import Any, cast

from moto.awslambda.exceptions import UnknownFunctionException
from moto.events.models import Rule, events_backends
from moto.events.utils import EventMessageType
from moto.sns.models import sns_backends
from moto.sqs.models import sqs_backends

from local.delivery.background import Background
from local.delivery.dead_letters import send_dead_letter
from local.events.target_input import target_input
from local.lambdas.permissions import function_by_arn, may_invoke
from local.lambdas.runtime import LambdaRuntime
from local.moto.hooks import Hooks

DELIVERY_ATTEMPTS = 3  # AWS tries 185 times in a day; what fails here fails at once and for good
BACKOFF_SECONDS = 0.5


class DeliveryError(Exception):
    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class EventBus:
    def __init__(self, functions: LambdaRuntime, log: Callable[[str], None]) -> None:
        self._functions = functions
        self._log = log
        self._background = Background("events", 4, log)
        self._closed = threading.Event()

    def install(self, hooks: Hooks) -> None:
        hooks.wrap(Rule, "send_to_targets", self._send_to_targets)

    def put(self, event: dict[str, Any]) -> None:
        """Put an event of an AWS service on the default bus."""
        for rule in default_rules(event["account"], event["region"]):
            rule.send_to_targets(cast(EventMessageType, event))

    def hears_status(self, account: str, region: str, source: str, status: str) -> bool:
        """Return False if no rule can match, so that a hundred thousand events need not be built in vain."""
        return any(may_match(rule, source, status) for rule in default_rules(account, region))

    def close(self) -> None:
        self._closed.set()
        self._background.close()

    def _send_to_targets(self, original: Any, rule: Rule, event: Any, transform_input: bool = True) -> None:
        """moto sends every event to disabled rules and to schedules, too."""
        if rule.state != "ENABLED" or not rule.event_pattern.get_pattern():
            return
        delivered = normalized(event)
        if not rule.event_pattern.matches_event(cast(EventMessageType, delivered)):
            return
        for target in list(rule.targets):
            if target["Arn"].split(":")[2] in ("lambda", "sns", "sqs"):
                self._background.submit(self._deliver, rule, target, delivered)
            else:
                # The original reads rule.targets, which other threads read too, so it gets a separate rule.
                alone = copy.copy(rule)
                alone.targets = [target]
                original(alone, event, transform_input)

    def _deliver(self, rule: Rule, target: dict[str, Any], event: dict[str, Any]) -> None:
        wanted = 1 + int((target.get("RetryPolicy") or {}).get("MaximumRetryAttempts", DELIVERY_ATTEMPTS))
        attempts = min(wanted, DELIVERY_ATTEMPTS)
        for _ in range(attempts):
            try:
                self._send(rule, target, event)
                return
            except DeliveryError as error:
                self._log(f"rule {rule.name} could not deliver to {target['Arn']}: {error}")
                failure = error
            self._closed.wait(BACKOFF_SECONDS)
        give_up(rule, target, event, failure, attempts)

    def _send(self, rule: Rule, target: dict[str, Any], event: dict[str, Any]) -> None:
        arn = target["Arn"]
        _, _, service, region, account, name = arn.split(":", 5)
        text = target_input(target, event)
        if service == "lambda":
            self._invoke(rule, arn, text)
        elif service == "sns":
            topic = sns_backends[account][region].topics.get(arn)
            if topic is None:
                raise DeliveryError("RESOURCE_NOT_FOUND", f"{arn} does not exist")
            topic.publish(text)
        else:
            queue = sqs_backends[account][region].queues.get(name)
            if queue is None:
                raise DeliveryError("RESOURCE_NOT_FOUND", f"{arn} does not exist")
            group = (target.get("SqsParameters") or {}).get("MessageGroupId")
            sqs_backends[account][region].send_message(name, text, group_id=group)

    def _invoke(self, rule: Rule, arn: str, text: str) -> None:
        try:
            function = function_by_arn(arn)
        except UnknownFunctionException as error:
            raise DeliveryError("RESOURCE_NOT_FOUND", f"{arn} does not exist") from error
        if not may_invoke(function, "events.amazonaws.com", rule.arn):
            raise DeliveryError("NO_PERMISSIONS", f"{arn} does not permit EventBridge to invoke it")
        self._functions.invoke_async(function, json.loads(text))


def default_rules(account: str, region: str) -> list[Rule]:
    return list(events_backends[account][region].event_buses["default"].rules.values())


def may_match(rule: Rule, source: str, status: str) -> bool:
    """Check plain lists of words only; assume that any other pattern matches."""
    pattern = rule.event_pattern.get_pattern()
    asked = ((pattern.get("source"), source), ((pattern.get("detail") or {}).get("status"), status))
    return rule.state == "ENABLED" and all(
        wanted is None or value in wanted or not all(isinstance(word, str) for word in wanted)
        for wanted, value in asked
    )


def give_up(rule: Rule, target: dict[str, Any], event: dict[str, Any], failure: DeliveryError, attempts: int) -> None:
    queue = (target.get("DeadLetterConfig") or {}).get("Arn")
    if not queue:
        return
    attributes = {
        "RULE_ARN": ("String", rule.arn),
        "TARGET_ARN": ("String", target["Arn"]),
        "ERROR_CODE": ("String", failure.code),
        "ERROR_MESSAGE": ("String", str(failure)),
        "EXHAUSTED_RETRY_CONDITION": ("String", "MaximumRetryAttempts"),
        "RETRY_ATTEMPTS": ("String", str(attempts - 1)),
    }
    send_dead_letter(queue, json.dumps(event), attributes)


def normalized(event: Any) -> dict[str, Any]:
    """Undo two differences of moto: time as a number, and a field that AWS does not have."""
    delivered = {name: value for name, value in copy.deepcopy(dict(event)).items() if name != "ingestion-time"}
    if isinstance(delivered.get("time"), int | float):
        moment = datetime.datetime.fromtimestamp(delivered["time"], datetime.UTC)
        delivered["time"] = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    return delivered
