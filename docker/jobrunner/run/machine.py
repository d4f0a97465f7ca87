"""Which machine this is and what it costs, asked of ECS and EC2 while the script runs. Unknown facts stay null."""

import json
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import boto3
import urllib3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from jobrunner.failures import reason
from splatworks.contract.documents.job import Cost, MachineInfo

log = logging.getLogger("runner")

WAIT_SLICE = 0.2  # seconds
SECONDS_PER_HOUR = 3600
CPU_UNITS = 1024  # ECS counts a vCPU as this
# Beside the script, which waits for none of it; all children of a large array ask at the same time.
CLIENT_CONFIG = Config(retries={"mode": "standard", "total_max_attempts": 6}, connect_timeout=5, read_timeout=10)


@dataclass(frozen=True)
class Price:
    usd_per_hour: float
    source: str

    def cost(self, seconds: float) -> Cost:
        usd = round(self.usd_per_hour * seconds / SECONDS_PER_HOUR, 6)
        return Cost(usd=usd, usd_per_hour=self.usd_per_hour, source=self.source)


class MachineFacts:
    """Finds out in a thread; `machine` and `price` hold the facts that are known so far."""

    def __init__(self, metadata_uri: str | None, gpu_names: Callable[[], list[str]]) -> None:
        self.machine = MachineInfo()
        self.price: Price | None = None
        self.image_digest: str | None = None  # of the image that this container runs
        self.problem = "EC2 did not answer in time"  # why there is no price
        self._metadata_uri = metadata_uri
        self._gpu_names = gpu_names
        self._thread = threading.Thread(target=self._find_out, daemon=True)

    @property
    def known(self) -> MachineInfo | None:
        """The machine, or None if nothing is known about it."""
        return None if self.machine == MachineInfo() else self.machine

    def start(self) -> None:
        if self._thread.ident is None:
            self._thread.start()

    def wait(self, seconds: float, unless: threading.Event | None = None) -> None:
        """Until all is found out, or `unless` is set."""
        deadline = time.monotonic() + seconds
        while self._thread.is_alive() and time.monotonic() < deadline and not (unless and unless.is_set()):
            self._thread.join(min(WAIT_SLICE, seconds))

    def _find_out(self) -> None:
        self.machine = replace(self.machine, gpus=tuple(self._gpu_names()))
        if not self._metadata_uri:
            self.problem = "this is no container of ECS"
            return
        try:
            session = boto3.session.Session()  # boto3's default session must not make clients in two threads
            instance_id = self._ask_ecs(session.client("ecs", config=CLIENT_CONFIG), self._metadata_uri)
            self._ask_ec2(session.client("ec2", config=CLIENT_CONFIG), instance_id)
        except (BotoCoreError, ClientError) as error:
            self._not_told(reason(error))
        except (urllib3.exceptions.HTTPError, LookupError, ValueError, TypeError) as error:
            self._not_told(f"an unexpected answer: {error!r}")

    def _not_told(self, problem: str) -> None:
        self.problem = problem
        log.warning("machine or price not known: %s", problem)

    def _ask_ecs(self, ecs: Any, metadata_uri: str) -> str:
        answer = urllib3.PoolManager().request("GET", f"{metadata_uri}/task", timeout=2, retries=2)
        metadata = json.loads(answer.data)
        task = ecs.describe_tasks(cluster=metadata["Cluster"], tasks=[metadata["TaskARN"]])["tasks"][0]
        self._note_share(task)
        found = ecs.describe_container_instances(
            cluster=metadata["Cluster"], containerInstances=[task["containerInstanceArn"]]
        )["containerInstances"][0]
        attributes = {each["name"]: each.get("value") for each in found.get("attributes", [])}
        self.machine = replace(
            self.machine,
            instance_type=attributes.get("ecs.instance-type"),
            availability_zone=attributes.get("ecs.availability-zone"),
        )
        return str(found["ec2InstanceId"])

    def _note_share(self, task: dict[str, Any]) -> None:
        container = (task.get("containers") or [{}])[0]
        self.image_digest = container.get("imageDigest")
        vcpus = int(container.get("cpu") or task.get("cpu") or 0) // CPU_UNITS or None
        memory = int(container.get("memory") or task.get("memory") or 0) or None
        self.machine = replace(self.machine, vcpus=vcpus, memory_mib=memory)

    def _ask_ec2(self, ec2: Any, instance_id: str) -> None:
        instance = ec2.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"][0]
        self.machine = replace(
            self.machine,
            instance_type=instance["InstanceType"],
            lifecycle=instance.get("InstanceLifecycle", "on-demand"),
            availability_zone=instance["Placement"]["AvailabilityZone"],
        )
        if self.machine.lifecycle == "spot":
            self.price = self._spot_price(ec2)
            self.problem = f"EC2 has no spot price of {self.machine.instance_type} here"
        else:
            self.problem = f"this {self.machine.instance_type} is an on-demand machine"

    def _spot_price(self, ec2: Any) -> Price | None:
        now = datetime.now(UTC)
        history = ec2.describe_spot_price_history(
            InstanceTypes=[self.machine.instance_type],
            AvailabilityZone=self.machine.availability_zone,
            ProductDescriptions=["Linux/UNIX"],
            StartTime=now,
            EndTime=now,
        )["SpotPriceHistory"]
        if not history:
            return None
        latest = max(history, key=lambda each: each["Timestamp"])
        source = f"EC2 spot price history, {self.machine.availability_zone}, {now:%Y-%m-%d}"
        return Price(float(latest["SpotPrice"]), source)
