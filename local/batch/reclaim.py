"""How AWS takes a spot host away, in the four ways that jobs see.

Draining leaves the tasks of Batch's jobs alone (ECS developer guide, container instance draining; amazon-ecs-agent's
README): none of these ways sends a SIGTERM two minutes before the end.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from local.batch.fleet import Fleet, Host
from local.batch.retry_rules import EXITED

NOTICE_SECONDS = 120.0  # between the notice in instance metadata and the end of the host (EC2 user guide)
SHUTDOWN_SECONDS = 10.0  # between SIGTERM and SIGKILL when the operating system goes down (docker's own default)


class Reclaim(Enum):
    KILL = "no notice and SIGKILL"
    SIGTERM = "SIGTERM ten seconds before the end"
    NOTICE = "a notice in instance metadata, and SIGKILL two minutes later"
    HOST = "the host is terminated"


@dataclass(frozen=True)
class Interruption:
    """Why an attempt is stopped. The first one is reported."""

    status_reason: str
    final: bool = False  # a person or a time limit stopped it: AWS does not retry those
    exit_code: int | None = None  # that is reported instead of the container's own, unless that is 0


def interruption(how: Reclaim, instance_id: str) -> Interruption:
    """Return what Batch reports of a job whose host went in this way.

    137 and 143 with "Essential container in task exited": Seqera's support pages on reclaimed AWS Batch jobs.
    """
    if how is Reclaim.KILL:
        return Interruption(EXITED, exit_code=137)
    if how is Reclaim.SIGTERM:
        return Interruption(EXITED, exit_code=143)
    return Interruption(f"Host EC2 (instance {instance_id}) terminated.")


class StopsAttempts(Protocol):
    def interrupt_on(self, host: Host, interruption: Interruption, *, grace: float) -> None: ...


def reclaim(host: Host, how: Reclaim, fleet: Fleet, scheduler: StopsAttempts, hurry: float) -> None:
    """Take the host away; its attempts end in the words of `how`. Times are divided by `hurry`."""
    told = interruption(how, host.instance_id)

    def end(grace: float) -> None:
        fleet.terminate(host)
        scheduler.interrupt_on(host, told, grace=grace)

    if how is Reclaim.NOTICE:
        host.instance_action = {"action": "terminate", "time": _from_now(NOTICE_SECONDS / hurry)}
        if host.settings.drains_on_notice:
            host.container_instance.status = "DRAINING"
        fleet.later(NOTICE_SECONDS, lambda: end(0.0))
    else:
        end(SHUTDOWN_SECONDS / hurry if how is Reclaim.SIGTERM else 0.0)


def recommend_rebalance(host: Host) -> None:
    """Tell the host that it is likelier than others to be reclaimed, as EC2 does before some reclaims."""
    host.rebalance = {"noticeTime": _from_now(0.0)}


def _from_now(seconds: float) -> str:
    moment = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
