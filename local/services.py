"""Wire together the services that the embedded AWS adds to moto."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from moto.batch.models import batch_backends
from moto.cloudwatch.models import cloudwatch_backends
from moto.core import DEFAULT_ACCOUNT_ID
from moto.ec2.models import ec2_backends
from moto.ecs.models import ecs_backends
from moto.logs.models import logs_backends
from moto.scheduler.models import scheduler_backends
from moto.sqs.models import sqs_backends

from local.batch.api import BatchAPI
from local.batch.attempt import AttemptStarter
from local.batch.descriptions import detail
from local.batch.events import job_state_change
from local.batch.faults import Faults
from local.batch.fleet import Fleet, Host
from local.batch.host_metadata import AGENT_PATH, INSTANCE_PATH
from local.batch.host_watcher import SCRIPT, HostWatcher
from local.batch.instance_metadata import InstanceMetadata
from local.batch.jobs import Job
from local.batch.reclaim import Interruption, Reclaim, reclaim, recommend_rebalance
from local.batch.scheduler import JobScheduler
from local.batch.tasks import TaskRegistry
from local.delivery.log_streams import LogStreams
from local.delivery.outbox import Outbox
from local.events.buckets import BucketEvents
from local.events.bus import EventBus
from local.events.queue_alarms import QueueAlarms
from local.events.schedules import Schedules
from local.events.sns import SNSDelivery
from local.iam.access_control import AccessControl
from local.iam.credentials import administrator
from local.lambdas.runtime import LambdaRuntime
from local.moto.hooks import Hooks
from local.moto.service_quotas import ServiceQuotas

WATCH_SECONDS = 2.0  # between two looks of a host's watcher, as on AWS


class Services:
    def __init__(
        self,
        *,
        folder: Path,
        runner: Path,
        region: str,
        environment: dict[str, str],
        outbox: Outbox,
        concurrency: int,
        hurry: float,
        enforce_iam: bool,
        log: Callable[[str], None],
    ) -> None:
        self._region = region
        aws = {name: value for name, value in environment.items() if name != "PROJECT_NAME"}
        logs = LogStreams(logs_backends[DEFAULT_ACCOUNT_ID][region])
        self._access = AccessControl(log)
        credentials = self._access.credentials if enforce_iam else administrator
        self.functions = LambdaRuntime(folder, aws, logs, log, credentials)
        self._events = EventBus(self.functions, log)
        self.sns = SNSDelivery(self.functions, outbox, log)
        metrics, queues = cloudwatch_backends[DEFAULT_ACCOUNT_ID][region], sqs_backends[DEFAULT_ACCOUNT_ID][region]
        self._alarms = QueueAlarms(metrics, queues, log, hurry=hurry)
        schedules = scheduler_backends[DEFAULT_ACCOUNT_ID][region]
        self._schedules = Schedules(schedules, credentials, aws, log, hurry=hurry)
        instances, tasks = ec2_backends[DEFAULT_ACCOUNT_ID][region], ecs_backends[DEFAULT_ACCOUNT_ID][region]
        self._hurry, self._endpoint = hurry, aws["AWS_ENDPOINT_URL"]
        self.faults = Faults()
        self.fleet = Fleet(instances, tasks, folder / "hosts", self._watcher, hurry=hurry)
        metadata = InstanceMetadata(self.fleet.by_id.get, region, credentials)
        self._tasks = TaskRegistry(self.fleet, metadata)
        starter = AttemptStarter(
            runner=runner,
            folder=folder,
            environment=aws,
            tasks=self._tasks,
            faults=self.faults,
            logs=logs,
            credentials=credentials,
        )
        self._batch = batch_backends[DEFAULT_ACCOUNT_ID][region]
        self.scheduler = JobScheduler(starter, self._job_changed, concurrency=concurrency, hurry=hurry, log=log)

    def install(self, hooks: Hooks) -> None:
        parts = (
            self._access,
            self._tasks,
            self.functions,
            self._events,
            BucketEvents(self._events.put),
            self.sns,
            BatchAPI(self.scheduler),
            ServiceQuotas(),
        )
        for part in parts:
            part.install(hooks)

    def _job_changed(self, job: Job) -> None:
        if self._events.hears_status(DEFAULT_ACCOUNT_ID, self._region, "aws.batch", job.status):
            self._events.put(job_state_change(job, self._tags(job)))

    def _tags(self, job: Job) -> dict[str, str]:
        return self._batch.list_tags_for_resource(job.arn)

    def describe_jobs(self) -> list[dict[str, Any]]:
        jobs = [job for job in reversed(list(self.scheduler.registry.by_id.values())) if job.parent is None]
        return [detail(job, self._tags(job)) for job in jobs]

    def reclaim_spot(self, job_id: str, how: Reclaim) -> str:
        host = self._host_of(job_id)
        reclaim(host, how, self.fleet, self.scheduler, self._hurry)
        return host.instance_id

    def recommend_rebalance(self, job_id: str) -> None:
        recommend_rebalance(self._host_of(job_id))

    def _host_of(self, job_id: str) -> Host:
        return self.scheduler.host_of(self.scheduler.registry.by_id[job_id])

    def _watcher(self, host: Host) -> HostWatcher | None:
        """Start the script that looks after a host that can be reclaimed or have a broken GPU."""
        if not SCRIPT.exists():
            return None
        endpoint = self._endpoint
        environment = {
            "HOST_DIR": str(host.folder),
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": f"{endpoint}{INSTANCE_PATH}{host.instance_id}",
            "ECS_AGENT_URI": f"{endpoint}{AGENT_PATH}{host.instance_id}",
            "AWS_ENDPOINT_URL_ECS": endpoint,
            "WATCH_SECONDS": f"{max(0.2, WATCH_SECONDS / self._hurry):.1f}",
        }

        def shut_down() -> None:
            self.fleet.terminate(host)
            self.scheduler.interrupt_on(
                host, Interruption(f"Host EC2 (instance {host.instance_id}) terminated."), grace=0.0
            )

        return HostWatcher(host.folder.parent, environment, shut_down)

    @property
    def denials(self) -> list[str]:
        return list(self._access.denials)

    def close(self) -> None:
        """Close the jobs first: they may still call the other services."""
        self.scheduler.close()
        self.fleet.close()
        self._alarms.close()
        self._schedules.close()
        self._events.close()
        self.functions.close()
