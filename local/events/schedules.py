"""Carry out EventBridge Scheduler's one-time schedules; moto only stores them."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import boto3
from moto.iam.models import iam_backends

from local.delivery.poller import Poller

POLL_SECONDS = 0.5  # AWS starts a schedule within a minute of its time
ONCE = re.compile(r"at\((\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\)")
SERVICE = "scheduler.amazonaws.com"


class Schedules:
    """Publishes the input of each due schedule to its topic, as its role, and deletes the schedule if it says so."""

    def __init__(
        self,
        backend: Any,
        credentials: Callable[[str, str], dict[str, str]],
        environment: dict[str, str],
        log: Callable[[str], None],
        *,
        hurry: float = 1.0,
    ) -> None:
        self._backend = backend
        self._credentials = credentials  # of a role, as environment variables
        self._environment = environment  # endpoint and region
        self._log = log
        self._hurry = hurry
        self._done: set[str] = set()
        self._poller = Poller("schedules", POLL_SECONDS, self._schedules, self.carry_out, log)

    def close(self) -> None:
        self._poller.close()

    def _schedules(self) -> list[Any]:
        groups = list(self._backend.schedule_groups.values())
        return [schedule for group in groups for schedule in list(group.schedules.values())]

    def carry_out(self, schedule: Any) -> None:
        if schedule.arn in self._done or schedule.state != "ENABLED" or time.time() < self._due(schedule):
            return
        self._done.add(schedule.arn)
        if schedule.action_after_completion == "DELETE":
            self._backend.delete_schedule(schedule.group_name, schedule.name)
        topic_arn, role = schedule.target["Arn"], schedule.target["RoleArn"]
        if not trusts(role):
            self._log(f"schedule {schedule.name}: {role} does not let {SERVICE} assume it")
            return
        self._sns(role, schedule.name).publish(TopicArn=topic_arn, Message=schedule.target["Input"])

    def _sns(self, role: str, session: str) -> Any:
        """A client of the role: what it may not do is refused."""
        variables = {**self._environment, **self._credentials(role, session)}
        return boto3.client(
            "sns",
            region_name=variables["AWS_DEFAULT_REGION"],
            endpoint_url=variables["AWS_ENDPOINT_URL"],
            aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
            aws_session_token=variables.get("AWS_SESSION_TOKEN"),
        )

    def _due(self, schedule: Any) -> float:
        """The time at which it starts, in seconds since 1970; `hurry` divides what is left when it was made."""
        match = ONCE.fullmatch(schedule.schedule_expression)
        if match is None or schedule.schedule_expression_timezone != "UTC":
            raise ValueError(f"only at(…) in UTC is carried out, not {schedule.schedule_expression}")
        at = datetime.fromisoformat(match[1]).replace(tzinfo=UTC).timestamp()
        return float(schedule.creation_date + (at - schedule.creation_date) / self._hurry)


def trusts(role_arn: str) -> bool:
    """Whether the role lets the scheduler assume it."""
    account, name = role_arn.split(":")[4], role_arn.rpartition("/")[2]
    role = iam_backends[account]["aws"].get_role(name)
    return SERVICE in str(role.assume_role_policy_document)
