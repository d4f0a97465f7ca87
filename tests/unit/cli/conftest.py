"""A deployed platform in moto, as far as the command line sees one, and the command line in this process."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import botocore.loaders
import botocore.session
import pytest
from moto import mock_aws

REGION = "us-east-1"
ACCOUNT = "123456789012"
SERVICE_MODELS = botocore.loaders.create_loader()  # boto3 reads megabytes of JSON for each new session
BATCH = f"arn:aws:batch:{REGION}:{ACCOUNT}"


@dataclass
class Ended:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def splatworks(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ended]:
    """splatworks("status", "--json"): its exit code, stdout and stderr; a traceback fails the test by itself."""
    from splatworks.cli.app import run

    for name in ("SPLATWORKS_PROJECT", "SPLATWORKS_USER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PROJECT_NAME", "demo")
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments: Any) -> Ended:
        capsys.readouterr()
        code = run([str(each) for each in arguments])
        told = capsys.readouterr()
        return Ended(code, told.out, told.err)

    return call


@dataclass
class FakeBatch:
    """ListJobs, DescribeJobs and TerminateJob over jobs that a test makes; moto's own end at once."""

    jobs: list[dict[str, Any]] = field(default_factory=list)
    terminated: list[tuple[str, str]] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)

    def add(self, name: str, status: str, *, queue: str = "cpu", prefix: str = "", stage: str = "", **more: Any) -> str:
        number = len(self.jobs) + 1
        job_id = f"00000000-0000-0000-0000-{number:012d}"
        environment = {"OUTPUT_PREFIX": prefix, "STAGE": stage, "RUN_ID": prefix.split("/")[2] if prefix else ""}
        job = {
            "jobId": job_id,
            "jobName": name,
            "jobQueue": f"{BATCH}:job-queue/{queue}",
            "status": status,
            "createdAt": int(time.time() * 1000) - 1_000_000 + number,
            "container": {
                "environment": [{"name": key, "value": value} for key, value in environment.items() if value]
            },
            **more,
        }
        self.jobs.append(job)
        return job_id

    def get_paginator(self, name: str) -> "FakeBatch":
        assert name == "list_jobs"
        return self

    def paginate(self, *, jobQueue: str, filters: Any = (), jobStatus: str = "RUNNING", **_: Any) -> Any:  # noqa: N803
        self.calls.append("ListJobs")
        found = [job for job in self.jobs if job["jobQueue"] == jobQueue and matches(job, filters, jobStatus)]
        shown = ("jobId", "jobName", "status", "createdAt", "startedAt", "stoppedAt", "statusReason", "arrayProperties")
        summaries = [{key: job[key] for key in shown if key in job} for job in found]
        for each in summaries:
            if "arrayProperties" in each:
                each["arrayProperties"] = {"size": each["arrayProperties"]["size"]}  # the rest tells DescribeJobs
        yield {"jobSummaryList": summaries}

    def describe_jobs(self, *, jobs: list[str]) -> dict[str, Any]:
        assert len(jobs) <= 100, "DescribeJobs takes 100"
        self.calls.append("DescribeJobs")
        return {"jobs": [job for job in self.jobs if job["jobId"] in jobs]}

    def terminate_job(self, *, jobId: str, reason: str) -> None:  # noqa: N803
        self.terminated.append((jobId, reason))


def matches(job: dict[str, Any], filters: Any, status: str) -> bool:
    if not filters:
        return bool(job["status"] == status)
    (only,) = filters  # Batch takes one
    (value,) = only["values"]
    if only["name"] == "JOB_NAME":
        return bool(job["jobName"].lower().startswith(value[:-1].lower()))
    assert only["name"] == "AFTER_CREATED_AT"
    return bool(job["createdAt"] > int(value))


NEW_SESSION = boto3.session.Session


def quick_session() -> boto3.session.Session:
    return NEW_SESSION(botocore_session=quick_botocore_session())


def quick_botocore_session() -> botocore.session.Session:
    session = botocore.session.Session()
    session.register_component("data_loader", SERVICE_MODELS)
    return session


@dataclass
class Deployed:
    batch: FakeBatch
    messages: Callable[[], list[dict[str, Any]]]

    def put(self, key: str, body: Any, bucket: str = "demo-output") -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        boto3.client("s3", REGION).put_object(Bucket=bucket, Key=key, Body=data)

    def keys(self, bucket: str) -> list[str]:
        listing = boto3.client("s3", REGION).list_objects_v2(Bucket=bucket)
        return [item["Key"] for item in listing.get("Contents", [])]


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    for name in ("AWS_ENDPOINT_URL", "AWS_CA_BUNDLE", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    from aws import clients as aws_clients

    monkeypatch.setattr("splatworks.cli.platform.boto3.session.Session", quick_session)
    with mock_aws():
        aws_clients.client.cache_clear()
        boto3.setup_default_session(botocore_session=quick_botocore_session())
        yield
    aws_clients.client.cache_clear()


@pytest.fixture
def deployed(aws: None, monkeypatch: pytest.MonkeyPatch) -> Deployed:
    """The platform `demo`: buckets, topic, dispatcher with its settings; Batch is a FakeBatch."""
    from splatworks.cli import platform

    s3, sns, sqs = (boto3.client(name, REGION) for name in ("s3", "sns", "sqs"))
    for bucket in ("demo-input", "demo-output", "demo-models"):
        s3.create_bucket(Bucket=bucket)
    for stage in ("sfm", "train", "compress"):
        s3.put_object(Bucket="demo-input", Key=f"stages/{stage}.py", Body=b"x")
    topic = sns.create_topic(Name="demo-trigger-events")["TopicArn"]
    inbox = sqs.create_queue(QueueName="inbox")["QueueUrl"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=f"arn:aws:sqs:{REGION}:{ACCOUNT}:inbox")
    deploy_dispatcher("demo", topic)
    batch = FakeBatch()
    original = platform.Platform.client
    monkeypatch.setattr(
        platform.Platform, "client", lambda self, name: batch if name == "batch" else original(self, name)
    )

    def messages() -> list[dict[str, Any]]:
        found = sqs.receive_message(QueueUrl=inbox, MaxNumberOfMessages=10).get("Messages", [])
        return [json.loads(json.loads(each["Body"])["Message"]) for each in found]

    return Deployed(batch, messages)


def deploy_dispatcher(project: str, topic: str) -> None:
    iam, functions = boto3.client("iam", REGION), boto3.client("lambda", REGION)
    role = iam.create_role(RoleName="dispatcher", AssumeRolePolicyDocument=json.dumps({"Statement": []}))["Role"]
    functions.create_function(
        FunctionName=f"{project}-ml-trigger-dispatcher",
        Runtime="python3.12",
        Role=role["Arn"],
        Handler="dispatcher.handler",
        Code={"ZipFile": b"x"},
        Environment={"Variables": dispatcher_environment(project, topic)},
    )


def dispatcher_environment(project: str, topic: str) -> dict[str, str]:
    def compute(kind: str, gpus: int) -> dict[str, Any]:
        large = {"type": f"{kind}.large", "vcpus": 4, "memory": 16000, "gpus": gpus}
        huge = {"type": f"{kind}.huge", "vcpus": 16, "memory": 64000, "gpus": gpus}
        return {
            "queue": f"{BATCH}:job-queue/{kind}",
            "on_demand_queue": None,
            "job_definition": f"{BATCH}:job-definition/{kind}:1",
            "vcpus": 2,
            "memory": 4096,
            "gpus": gpus,
            "max_vcpus": 64,
            "instances": [large, huge],
            "image": f"registry.example.org/{kind}:latest",
        }

    return {
        "PROJECT_NAME": project,
        "INPUT_BUCKET": "demo-input",
        "OUTPUT_BUCKET": "demo-output",
        "MODELS_BUCKET": "demo-models",
        "EXTRA_INPUT_BUCKETS": "[]",
        "COMPUTE": json.dumps({"gpu": compute("gpu", 1), "cpu": compute("cpu", 0)}),
        "RETRY_RULES": "[]",
        "JOB_ATTEMPTS": "3",
        "JOB_TIMEOUT_SECONDS": "21600",
        "NOTIFICATION_TOPIC_ARN": "arn:aws:sns:us-east-1:123456789012:demo-notifications",
        "TRIGGER_TOPIC_ARN": topic,
        "TRIGGER_DLQ_URL": "https://sqs.example.org/dlq",
        "IDEMPOTENCY_TABLE": "demo",
    }


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "My Harbour"
    (folder / "sub").mkdir(parents=True)
    for name in ("1.jpg", "2.jpg", "sub/3.jpg"):
        (folder / name).write_bytes(name.encode() * 100)
    (folder / ".DS_Store").write_bytes(b"x")
    (folder / "_READY").write_bytes(b"")
    return folder
