"""An embedded AWS with one small queue, whose image's entrypoint is a stand-in that does as its command says."""

import base64
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local.embedded_aws import EmbeddedAWS

# Stands for the runner: the tests here are about Batch, and one job of the real one takes seconds.
ENTRYPOINT = """
    import json, os, pathlib, signal, sys, time
    models = pathlib.Path(os.environ.get("MODELS_DIR", "/opt/models"))
    workspace = pathlib.Path(os.environ.get("WORKSPACE_DIR", "/workspace"))
    action, *rest = sys.argv[1:]
    print("action", action, flush=True)
    if action == "exit":
        sys.exit(int(rest[0]))
    if action == "environment":
        print(json.dumps(dict(os.environ)), flush=True)
    if action == "exit-on-first-attempt" and os.environ["AWS_BATCH_JOB_ATTEMPT"] == "1":
        (workspace / "left-behind").touch()
        sys.exit(int(rest[0]))
    if action == "exit-on-first-attempt":
        sys.exit(3 if (workspace / "left-behind").exists() else 0)
    if action == "sleep":
        time.sleep(float(rest[0]))
    if action == "exit-75-on-sigterm":
        signal.signal(signal.SIGTERM, lambda *_: (print("stopping", flush=True), sys.exit(75)))
        time.sleep(60)
    if action == "ignore-sigterm":
        signal.signal(signal.SIGTERM, lambda *_: print("never", flush=True))
        os.system("sleep 600 &")
        while True:
            time.sleep(1)
    if action == "note-index":
        with (models / rest[0]).open("a") as notes:
            notes.write(os.environ["AWS_BATCH_JOB_ARRAY_INDEX"] + " ")
    if action == "fail-index" and os.environ["AWS_BATCH_JOB_ARRAY_INDEX"] == rest[0]:
        sys.exit(1)
    if action == "use-memory":
        block = bytearray(int(rest[0]) << 20)
        time.sleep(20)
"""
USER_DATA = "#!/bin/sh\necho ECS_CONTAINER_STOP_TIMEOUT=1s >> /etc/ecs/ecs.config\n"


@pytest.fixture(scope="module")  # moto's state is global: it must be gone before the flow tests begin
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedAWS]:
    folder = tmp_path_factory.mktemp("embedded")
    runner = folder / "runner.py"
    runner.write_text(textwrap.dedent(ENTRYPOINT))
    with EmbeddedAWS(folder / "aws", runner=runner, hurry=60) as embedded:
        make_queue(embedded)
        yield embedded


def make_queue(aws: EmbeddedAWS) -> None:
    iam, ec2, batch = aws.client("iam"), aws.client("ec2"), aws.client("batch")
    iam.create_instance_profile(InstanceProfileName="host")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/24")["Subnet"]["SubnetId"]
    group = ec2.create_security_group(VpcId=vpc, GroupName="jobs", Description="jobs")["GroupId"]
    data = {"UserData": base64.b64encode(USER_DATA.encode()).decode()}
    template = ec2.create_launch_template(LaunchTemplateName="host", LaunchTemplateData=data)["LaunchTemplate"]
    batch.create_compute_environment(
        computeEnvironmentName="spot",
        type="MANAGED",
        state="ENABLED",
        computeResources={
            "type": "SPOT",
            "minvCpus": 0,
            "maxvCpus": 8,
            "instanceTypes": ["c5.large", "c5.xlarge"],
            "subnets": [subnet],
            "securityGroupIds": [group],
            "instanceRole": "host",
            "launchTemplate": {"launchTemplateId": template["LaunchTemplateId"]},
        },
    )
    limit = {"reason": "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT", "state": "RUNNABLE", "action": "CANCEL"}
    order = [{"order": 0, "computeEnvironment": "spot"}]
    for name, seconds in (("queue", 36_000), ("impatient", 60)):
        batch.create_job_queue(
            jobQueueName=name,
            state="ENABLED",
            priority=1,
            computeEnvironmentOrder=order,
            jobStateTimeLimitActions=[{**limit, "maxTimeSeconds": seconds}],
        )
    batch.register_job_definition(
        jobDefinitionName="script",
        type="container",
        containerProperties={
            "image": "image",
            "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "512"}],
            "environment": [{"name": "GREETING", "value": "from the definition"}, {"name": "KEPT", "value": "yes"}],
        },
    )


class Queue:
    """Short for what the tests say most: submit, wait, look."""

    def __init__(self, aws: EmbeddedAWS) -> None:
        self.aws = aws
        self.batch = aws.client("batch")

    def submit(self, *command: str, name: str = "job", queue: str = "queue", **request: Any) -> str:
        overrides = {"command": list(command), **request.pop("containerOverrides", {})}
        job_id: str = self.batch.submit_job(
            jobName=name, jobQueue=queue, jobDefinition="script", containerOverrides=overrides, **request
        )["jobId"]
        return job_id

    def ended(self, job_id: str) -> dict[str, Any]:
        return self.aws.wait_for_job(job_id)

    def running(self, job_id: str) -> dict[str, Any]:
        """Once it has printed its first line: a signal must not arrive before the handler is set."""
        job = self.aws.wait_for_job(job_id, until=("RUNNING",))
        self.aws.wait_until(lambda: self.log(job), what="the job's first line")
        return job

    def log(self, job: dict[str, Any]) -> list[str]:
        stream = self.aws.job(job["jobId"])["container"]["logStreamName"]
        events = self.aws.client("logs").get_log_events(logGroupName="/aws/batch/job", logStreamName=stream)["events"]
        return [event["message"] for event in events]


@pytest.fixture
def queue(aws: EmbeddedAWS) -> Queue:
    return Queue(aws)


@pytest.fixture
def models(aws: EmbeddedAWS) -> Path:
    return aws.folder / "models"
