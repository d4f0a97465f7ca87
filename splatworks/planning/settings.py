"""Terraform's settings for the dispatcher, read from its environment when it is called."""

import json
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Instance:
    """What a container can have on one machine of this type."""

    type: str
    vcpus: int
    memory: int  # MiB
    gpus: int


@dataclass(frozen=True)
class Compute:
    """One compute type: where its jobs go, what they get unless the message says otherwise, what they run on."""

    queue: str
    on_demand_queue: str | None
    job_definition: str
    vcpus: int
    memory: int  # MiB
    gpus: int
    max_vcpus: int
    instances: tuple[Instance, ...]
    image: str  # as the job definition has it


@dataclass(frozen=True, kw_only=True)
class DispatcherSettings:
    project_name: str
    input_bucket: str
    output_bucket: str
    models_bucket: str
    extra_input_buckets: tuple[str, ...]
    compute: dict[str, Compute]
    retry_rules: list[dict[str, str]]  # evaluateOnExit, in order
    notification_topic_arn: str
    trigger_topic_arn: str
    dlq_url: str
    idempotency_table: str

    @property
    def readable_buckets(self) -> tuple[str, ...]:
        return (self.input_bucket, self.output_bucket, self.models_bucket, *self.extra_input_buckets)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "DispatcherSettings":
        compute = {}
        for name, value in json.loads(environment["COMPUTE"]).items():
            instances = tuple(Instance(**instance) for instance in value.pop("instances"))
            compute[name] = Compute(**value, instances=instances)
        return cls(
            project_name=environment["PROJECT_NAME"],
            input_bucket=environment["INPUT_BUCKET"],
            output_bucket=environment["OUTPUT_BUCKET"],
            models_bucket=environment["MODELS_BUCKET"],
            extra_input_buckets=tuple(json.loads(environment["EXTRA_INPUT_BUCKETS"])),
            compute=compute,
            retry_rules=json.loads(environment["RETRY_RULES"]),
            notification_topic_arn=environment["NOTIFICATION_TOPIC_ARN"],
            trigger_topic_arn=environment["TRIGGER_TOPIC_ARN"],
            dlq_url=environment["TRIGGER_DLQ_URL"],
            idempotency_table=environment["IDEMPOTENCY_TABLE"],
        )
