"""A small platform in moto: what Terraform makes for the two functions, and what a test asks about it."""

import copy
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import botocore.loaders
import botocore.session
import pytest
from moto import mock_aws

EVENTS = Path(__file__).parents[2] / "events"
REGION = "us-east-1"
RETRY_RULES = [{"onStatusReason": "Host EC2*", "action": "RETRY"}, {"onReason": "*", "action": "EXIT"}]
SERVICE_MODELS = botocore.loaders.create_loader()
SCRIPTS = (
    "stages/train.py",
    "stages/sfm.py",
    "stages/compress.py",
    "stages/splatkit/stage.py",
    "jobs/gpu_processing.py",
    "jobs/cleanup_processor.py",
    "examples/gpu_training.py",
    "examples/gpu_inference.py",
    "examples/cpu_processing.py",
)

# Powertools reads these once, when the functions are imported.
os.environ.setdefault("POWERTOOLS_METRICS_NAMESPACE", "demo")
os.environ.setdefault("POWERTOOLS_SERVICE_NAME", "dispatcher")


def saved_event(name: str) -> dict[str, Any]:
    event: dict[str, Any] = json.loads((EVENTS / f"{name}.json").read_text())
    return event


class Context:
    """What Lambda passes beside the event."""

    function_name = "demo-ml-trigger-dispatcher"
    memory_limit_in_mb = 512
    invoked_function_arn = f"arn:aws:lambda:{REGION}:123456789012:function:demo-ml-trigger-dispatcher"
    aws_request_id = "c6af9ac6-7b61-11e6-9a41-93e8deadbeef"

    def get_remaining_time_in_millis(self) -> int:
        return 60_000


@dataclass
class Platform:
    queues: dict[str, str]
    topic_arn: str
    inbox_url: str
    dlq_url: str
    submissions: list[dict[str, Any]] = field(default_factory=list)  # as they were sent to Batch

    def dispatch(self, message: Any, message_id: str = "") -> dict[str, Any]:
        """The answer to one message, under a new SNS message id unless told which."""
        answer: dict[str, Any] = self.dispatch_all([(message, message_id or str(uuid4()))])["answers"][0]
        return answer

    def dispatch_all(self, messages: list[tuple[Any, str]]) -> dict[str, Any]:
        import dispatcher

        template = saved_event("sns_message")["Records"][0]
        records = []
        for message, message_id in messages:
            record = copy.deepcopy(template)
            record["Sns"]["Message"] = message if isinstance(message, str) else json.dumps(message)
            record["Sns"]["MessageId"] = message_id
            records.append(record)
        return dispatcher.handler({"Records": records}, Context())

    def monitor(self, event: dict[str, Any]) -> dict[str, Any]:
        import monitor

        return monitor.handler(event, Context())

    def emails(self) -> list[tuple[str, str]]:
        """Subjects and bodies of what was published since the last call."""
        mails = [json.loads(message["Body"]) for message in drain(self.inbox_url)]
        return [(mail["Subject"], mail["Message"]) for mail in mails]

    def email(self) -> tuple[str, str]:
        (mail,) = self.emails()
        return mail

    def dead_letters(self) -> list[dict[str, Any]]:
        return drain(self.dlq_url)

    def put(self, bucket: str, key: str, body: Any = b"x") -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        boto3.client("s3", REGION).put_object(Bucket=bucket, Key=key, Body=data)

    def request_document(self) -> dict[str, Any]:
        """The request.json of the only submission."""
        (submission,) = self.submissions
        document: dict[str, Any] = self.stored(environment_of(submission)["REQUEST_KEY"])
        return document

    def stored(self, key: str) -> Any:
        """A JSON file of the output bucket."""
        return json.loads(boto3.client("s3", REGION).get_object(Bucket="demo-output", Key=key)["Body"].read())


def environment_of(submission: dict[str, Any]) -> dict[str, str]:
    return {pair["name"]: pair["value"] for pair in submission["containerOverrides"]["environment"]}


def forget_records() -> None:
    """As after a crash between SubmitJob and its record."""
    table = boto3.resource("dynamodb").Table("demo-idempotency")
    for item in table.scan()["Items"]:
        table.delete_item(Key={"id": item["id"]})


def drain(queue_url: str) -> list[dict[str, Any]]:
    sqs = boto3.client("sqs", REGION)
    found: list[dict[str, Any]] = []
    while messages := sqs.receive_message(
        QueueUrl=queue_url, MaxNumberOfMessages=10, MessageAttributeNames=["All"]
    ).get("Messages"):
        found += messages
        for message in messages:
            sqs.delete_message(QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"])
    return found


@pytest.fixture
def platform(monkeypatch: pytest.MonkeyPatch) -> Iterator[Platform]:
    with _started_platform(monkeypatch) as started:
        yield started


@pytest.fixture(scope="module")
def shared_platform() -> Iterator[Platform]:
    """For modules of many tests that leave nothing behind; such a module must not use `platform` as well."""
    with pytest.MonkeyPatch.context() as monkeypatch, _started_platform(monkeypatch) as started:
        yield started


@contextmanager
def _started_platform(monkeypatch: pytest.MonkeyPatch) -> Iterator[Platform]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    for name in ("AWS_ENDPOINT_URL", "AWS_CA_BUNDLE", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    with mock_aws(config={"batch": {"use_docker": False}}):
        forget_clients()
        _share_service_models()
        started = _make_platform(monkeypatch)
        _capture_submissions(started)
        yield started
    forget_clients()


def _share_service_models() -> None:
    """boto3 reads megabytes of JSON for each new session."""
    session = botocore.session.Session()
    session.register_component("data_loader", SERVICE_MODELS)
    boto3.setup_default_session(botocore_session=session)


def forget_clients() -> None:
    from aws import clients as aws_clients
    from aws import once

    aws_clients.client.cache_clear()
    once._store.cache_clear()


def _capture_submissions(platform: Platform) -> None:
    """moto forgets half of a submission: keep what the client was asked to send."""
    from aws import clients as aws_clients

    def keep(params: dict[str, Any], **_: Any) -> None:
        platform.submissions.append(copy.deepcopy(params))

    aws_clients.client("batch").meta.events.register("provide-client-params.batch.SubmitJob", keep)


def _make_platform(monkeypatch: pytest.MonkeyPatch) -> Platform:
    s3 = boto3.client("s3", REGION)
    for bucket in ("demo-input", "demo-output", "demo-models", "partner-photos", "somebody-elses"):
        s3.create_bucket(Bucket=bucket)
    for key in (*SCRIPTS, "photos/my-scene/1.jpg"):
        s3.put_object(Bucket="demo-input", Key=key, Body=b"x")
    sns, sqs = boto3.client("sns", REGION), boto3.client("sqs", REGION)
    topic_arn = sns.create_topic(Name="demo-notifications")["TopicArn"]
    inbox_url = sqs.create_queue(QueueName="inbox")["QueueUrl"]
    sns.subscribe(TopicArn=topic_arn, Protocol="sqs", Endpoint=f"arn:aws:sqs:{REGION}:123456789012:inbox")
    dlq_url = sqs.create_queue(QueueName="demo-ml-trigger-dlq")["QueueUrl"]
    boto3.client("dynamodb", REGION).create_table(
        TableName="demo-idempotency",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    queues, definitions = _make_batch()
    compute = _compute(queues, definitions)
    settings = {
        "PROJECT_NAME": "demo",
        "INPUT_BUCKET": "demo-input",
        "OUTPUT_BUCKET": "demo-output",
        "MODELS_BUCKET": "demo-models",
        "EXTRA_INPUT_BUCKETS": '["partner-photos", "no-such-bucket"]',
        "COMPUTE": json.dumps(compute),
        "RETRY_RULES": json.dumps(RETRY_RULES),
        "JOB_ATTEMPTS": "3",
        "JOB_TIMEOUT_SECONDS": "21600",
        "NOTIFICATION_TOPIC_ARN": topic_arn,
        "TRIGGER_TOPIC_ARN": f"arn:aws:sns:{REGION}:123456789012:demo-ml-trigger-events",
        "TRIGGER_DLQ_URL": dlq_url,
        "IDEMPOTENCY_TABLE": "demo-idempotency",
        "JOB_LOG_GROUP": "/aws/batch/demo-ml-jobs",
        "LINK_ROLE_ARN": "arn:aws:iam::123456789012:role/demo-ml-run-links",
        "RESUME_GROUP": "demo-ml-resume",
        "RESUME_ROLE_ARN": "arn:aws:iam::123456789012:role/demo-ml-resume",
        "CANCELLED_REASONS": '["MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT", "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY"]',
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    boto3.client("logs", REGION).create_log_group(logGroupName=settings["JOB_LOG_GROUP"])
    return Platform(queues, topic_arn, inbox_url, dlq_url)


def _compute(queues: dict[str, str], definitions: dict[str, str]) -> dict[str, Any]:
    gpu_types = [("g4dn.xlarge", 4, 15400, 1), ("g5.2xlarge", 8, 31000, 1), ("g4dn.12xlarge", 48, 188000, 4)]
    cpu_types = [("c7i.large", 2, 3800, 0), ("m7i.large", 2, 7600, 0), ("c7i.4xlarge", 16, 30000, 0)]

    def instances(types: list[tuple[str, int, int, int]]) -> list[dict[str, Any]]:
        return [dict(zip(("type", "vcpus", "memory", "gpus"), each, strict=True)) for each in types]

    gpu = {"vcpus": 4, "memory": 15000, "gpus": 1, "max_vcpus": 48, "instances": instances(gpu_types)}
    cpu = {"vcpus": 2, "memory": 4096, "gpus": 0, "max_vcpus": 64, "instances": instances(cpu_types)}
    return {
        kind: {
            **sizes,
            "queue": queues[kind],
            "on_demand_queue": on_demand,
            "job_definition": definitions[kind],
            "image": f"registry.example.org/{kind}:latest",
        }
        for kind, sizes, on_demand in (("gpu", gpu, None), ("cpu", cpu, queues["cpu-on-demand"]))
    }


def _make_batch() -> tuple[dict[str, str], dict[str, str]]:
    batch, iam = boto3.client("batch", REGION), boto3.client("iam", REGION)
    role = iam.create_role(RoleName="batch", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    environment = batch.create_compute_environment(
        computeEnvironmentName="demo", type="UNMANAGED", state="ENABLED", serviceRole=role
    )["computeEnvironmentArn"]
    queues, definitions = {}, {}
    for kind in ("gpu", "cpu", "cpu-on-demand"):
        queues[kind] = batch.create_job_queue(
            jobQueueName=f"demo-ml-{kind}-job-queue",
            state="ENABLED",
            priority=1,
            computeEnvironmentOrder=[{"order": 1, "computeEnvironment": environment}],
        )["jobQueueArn"]
        definitions[kind] = batch.register_job_definition(
            jobDefinitionName=f"demo-ml-{kind}-job",
            type="container",
            containerProperties={
                "image": "busybox",
                "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "512"}],
            },
        )["jobDefinitionArn"]
    return queues, definitions


@pytest.fixture
def failing(platform: Platform) -> Callable[[str, str, str, int], list[str]]:
    """failing("s3", "HeadObject", "SlowDown", 503): each such call from here on is answered so, and listed."""
    from botocore.awsrequest import AWSResponse

    from aws import clients as aws_clients

    def fail(service: str, operation: str, code: str, status: int) -> list[str]:
        sent: list[str] = []

        def answer(**_: Any) -> AWSResponse:
            sent.append(operation)
            body = json.dumps({"__type": code, "message": "made to fail", "Code": code}).encode()
            if service == "s3":
                body = f"<Error><Code>{code}</Code><Message>made to fail</Message></Error>".encode()
            if service == "sns":
                body = f"<ErrorResponse><Error><Code>{code}</Code><Message>x</Message></Error></ErrorResponse>".encode()
            response = AWSResponse("https://aws", status, {"x-amzn-errortype": code}, None)
            response._content = body
            return response

        events = aws_clients.client(service).meta.events
        events.register_first(f"before-send.{service}.{operation}", answer)
        return sent

    return fail
