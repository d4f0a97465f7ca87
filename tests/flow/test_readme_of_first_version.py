"""Every command of the first README runs word for word, in its order: users have these commands in their scripts.

Two things are shorter than on AWS. A second complete apply would take a minute, so the README's first `terraform apply`
and its `terraform destroy` are limited to one topic (by TF_CLI_ARGS_apply, not in the command), in a project next to
the platform under test; its second apply is planned for the platform under test and answered with "no". The other flow
tests apply and destroy everything. And docker is a stand-in that notes how it was called.
"""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from local.embedded_aws import EmbeddedAWS
from splatworks.sandbox.container import available_isolation

from .first_readme_shell import PAGE, ROOT, Checkout, Ended, commands_in, find_aws_cli, read_blocks

pytestmark = pytest.mark.flow

ORIGINAL = ROOT.parent / "shared" / "cases" / "first-readme.md"
STATE_BUCKET, LOCK_TABLE, STATE_KEY = (
    "ml-pipeline-terraform-state",
    "ml-pipeline-terraform-lock",
    "splatworks/terraform.tfstate",
)
CHEAP_RESOURCE = "module.sns.aws_sns_topic.trigger"  # of the apply; one of those with an output
SCRIPT = """
import json, os
from pathlib import Path
(Path(os.environ["OUTPUT_DIR"]) / "environment.json").write_text(json.dumps(dict(os.environ)))
"""
SLEEPER = "import time\nprint('asleep', flush=True)\ntime.sleep(300)\n"
JOB_QUEUES = ("{}-ml-gpu-job-queue", "{}-ml-cpu-job-queue")
ON_DEMAND_QUEUES = ("{}-ml-gpu-on-demand-job-queue", "{}-ml-cpu-on-demand-job-queue")
LOG_GROUPS = ("/aws/batch/{}-ml-jobs", "/aws/lambda/{}-ml-trigger-dispatcher", "/aws/lambda/{}-ml-job-monitor")
MESSAGE_QUEUES = ("{}-ml-trigger-dlq", "{}-ml-monitor-dlq")
PROMISED = {
    "TRIGGER_USER": "ml-engineer",
    "TRIGGER_PROJECT": "model-training",
    "TRIGGER_EXPERIMENT": "first",
    "COMPUTE_TYPE": "cpu",
    "AWS_DEFAULT_REGION": "us-east-1",
}


class User:
    """Runs the blocks, and does what the README leaves to its reader: edit, upload, answer, press Ctrl-C."""

    def __init__(self, checkout: Checkout) -> None:
        self.checkout = checkout
        self.platform = checkout.platform
        self.ended: dict[str, Ended] = {}
        self.jobs: dict[str, str] = {}  # by the name of the block
        self.folder = checkout.folder

    def run_block(self, name: str, text: str) -> None:
        self.ended[name] = HOW[name](self, name, text)

    def run(self, _name: str, text: str) -> Ended:
        return self.checkout.run(text)

    def run_own(self, _name: str, text: str) -> Ended:
        return self.checkout.run_own(text)

    def init_and_apply(self, _name: str, text: str) -> Ended:
        edit = "sed -i 's/^project_name .*/project_name = \"ml-pipeline\"/' terraform.tfvars"
        assert text.count("# Edit terraform.tfvars") == 1
        text = text.replace("# Edit terraform.tfvars", f"{edit}  # Edit terraform.tfvars")
        return self.checkout.run_own(text, answer="yes\n", apply_arguments=f"-target={CHEAP_RESOURCE}")

    def set_own_image(self, _name: str, text: str) -> Ended:
        """The plan is for the platform under test, whose terraform.tfvars is in another file."""
        setting, command = commands_in(text)
        edited = self.platform.folder / "terraform" / "terraform.tfvars"
        own_image = setting.replace("<ECR_URI_from_build_output>", pushed_uri(self.ended["image-gpu"]))
        # The on-demand queues are only for the test of names.
        edited.write_text(f"{own_image}\nml_on_demand_queues = true\n")
        try:
            return self.checkout.run(f"export TF_CLI_ARGS=-no-color\n{command}", answer="no\n")
        finally:
            edited.unlink()

    def destroy(self, _name: str, text: str) -> Ended:
        return self.checkout.run_own(text, answer="yes\n")

    def upload(self, _name: str, text: str) -> Ended:
        (self.folder / "my_training_script.py").write_text(SCRIPT)
        return self.checkout.run(text)

    def publish(self, name: str, text: str) -> Ended:
        before = {job["jobId"] for job in self.platform.jobs()}
        ended = self.checkout.run(text)
        script = Path(json.loads(text.partition("--message '")[2].partition("'")[0])["data"]["script_key"]).stem

        def new_job() -> dict[str, Any] | None:
            new = [job for job in self.platform.jobs() if job["jobId"] not in before]
            return next((job for job in new if job["jobName"].startswith(f"{script}-")), None)

        if ended.returncode == 0:
            self.jobs[name] = self.platform.wait_until(new_job, 60, f"a job of {script}")["jobId"]
        return ended

    def publish_first(self, name: str, text: str) -> Ended:
        for script in ("gpu_processing", "cpu_processing"):
            self.put_script(script, SCRIPT)
        return self.publish(name, text)

    def follow_functions(self, _name: str, text: str) -> Ended:
        dispatcher, monitor = commands_in(text)
        self.platform.wait_for_job(self.jobs["gpu"], timeout=120)
        return joined(
            self.checkout.follow(dispatcher, until=self.platform.job(self.jobs["gpu"])["jobName"]),
            self.checkout.follow(monitor, until="gpu_processing"),
        )

    def list_and_follow_jobs(self, name: str, text: str) -> Ended:
        """One job is running meanwhile; the block `terminate` ends it."""
        self.put_script("first_readme_waits", SLEEPER)
        data = {"script_key": "jobs/first_readme_waits.py", "compute_type": "cpu"}
        self.platform.publish({"trigger_type": "batch_job", "data": data})
        running = self.platform.wait_for_job("first_readme_waits-", until=("RUNNING",), timeout=120)
        self.jobs[name] = running["jobId"]
        *lists, logs = commands_in(text)
        return joined(self.checkout.run("\n".join(lists)), self.checkout.follow(logs, until="asleep"))

    def look_at_dead_letters(self, _name: str, text: str) -> Ended:
        """One message that the dispatcher refuses, and one event as if the monitor had failed."""
        sqs, queues = self.platform.client("sqs"), self.platform.outputs
        urls = (queues["trigger_dlq_url"], queues["monitor_dlq_url"])
        for url in urls:
            drain(sqs, url)  # of other tests' messages: the command shows ten
        self.platform.publish('{"trigger_type": "batch_job", "data": {"script_kee": "jobs/first.py"}}')
        sqs.send_message(
            QueueUrl=urls[1], MessageBody='{"detail-type": "Batch Job State Change", "id": "first-readme"}'
        )
        self.platform.wait_until(lambda: waiting_messages(sqs, urls[0]), 60, "a dead letter")
        ended = self.checkout.run(text)
        for url, handle in zip(urls, re.findall(r'"ReceiptHandle": "([^"]+)"', ended.stdout), strict=False):
            sqs.delete_message(QueueUrl=url, ReceiptHandle=handle)
        return ended

    def terminate(self, _name: str, text: str) -> Ended:
        return self.checkout.run(text.replace("<JOB_ID>", self.jobs["list-and-follow-jobs"]))

    def put_script(self, name: str, text: str) -> None:
        bucket = self.platform.outputs["ml_input_bucket"]
        self.platform.client("s3").put_object(Bucket=bucket, Key=f"jobs/{name}.py", Body=text.encode())


# How each block is run. A block that is not here, or one that is here and not on the page, fails the first test.
HOW: dict[str, Callable[[User, str, str], Ended]] = {
    "state": User.run_own,
    "init-and-apply": User.init_and_apply,
    "image-cpu": User.run,
    "image-gpu": User.run,
    "image-both": User.run,
    "own-image": User.set_own_image,
    "quotas": User.run,
    "upload": User.upload,
    "topic": User.run,
    "gpu": User.publish_first,
    "gpu-with-resources": User.publish,
    "cpu": User.publish,
    "cpu-with-resources": User.publish,
    "follow-functions": User.follow_functions,
    "list-and-follow-jobs": User.list_and_follow_jobs,
    "dead-letters": User.look_at_dead_letters,
    "terminate": User.terminate,
    "cleanup": User.publish,
    "destroy": User.destroy,
}
CANCELLED = ("own-image",)  # answered with "no"


def joined(*parts: Ended) -> Ended:
    code = max(part.returncode for part in parts)
    return Ended(code, "\n".join(part.stdout for part in parts), "\n".join(part.stderr for part in parts))


def pushed_uri(ended: Ended) -> str:
    """Return the image's URI that build-and-push.sh prints last."""
    found: list[str] = re.findall(r"\S+\.dkr\.ecr\.\S+:[\w.-]+", ended.stdout)
    assert found, f"no ECR URI in the output\n{ended}"
    return found[-1]


def waiting_messages(sqs: Any, url: str) -> int:
    name = "ApproximateNumberOfMessages"
    return int(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=[name])["Attributes"][name])


def drain(sqs: Any, url: str) -> None:
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        for message in messages:
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])


@pytest.fixture(scope="module")
def user(platform: EmbeddedAWS, tmp_path_factory: pytest.TempPathFactory) -> Iterator[User]:
    """All blocks have been run, one after the other."""
    aws = find_aws_cli()
    if aws is None:
        pytest.skip("the first README's commands need the AWS CLI, version 2: https://aws.amazon.com/cli")
    started = User(Checkout(platform, tmp_path_factory.mktemp("first-readme"), aws))
    for name, text in read_blocks():
        started.run_block(name, text)
    yield started
    remove_state(platform)


def remove_state(platform: EmbeddedAWS) -> None:
    """The last flow test wants an empty account."""
    s3 = platform.client("s3")
    listed = s3.list_object_versions(Bucket=STATE_BUCKET)
    for version in (*listed.get("Versions", []), *listed.get("DeleteMarkers", [])):
        s3.delete_object(Bucket=STATE_BUCKET, Key=version["Key"], VersionId=version["VersionId"])
    s3.delete_bucket(Bucket=STATE_BUCKET)
    platform.client("dynamodb").delete_table(TableName=LOCK_TABLE)


def test_every_block_is_run_and_each_once() -> None:
    assert [name for name, _ in read_blocks()] == list(HOW)
    assert PAGE.read_text().count("```") == 2 * len(HOW)


def test_the_blocks_are_those_of_the_first_readme() -> None:
    if not ORIGINAL.is_file():
        pytest.skip("the original is not next to the checkout (../shared/cases/first-readme.md)")
    assert [text for _, text in read_blocks()] == [text for _, text in read_blocks(ORIGINAL)]


@pytest.mark.parametrize("name", HOW)
def test_block_ends_without_an_error(user: User, name: str) -> None:
    assert user.ended[name].returncode == (1 if name in CANCELLED else 0), str(user.ended[name])


def test_state_bucket_is_versioned_and_holds_the_state(user: User) -> None:
    s3 = user.platform.client("s3")
    assert s3.get_bucket_versioning(Bucket=STATE_BUCKET)["Status"] == "Enabled"
    versions = s3.list_object_versions(Bucket=STATE_BUCKET, Prefix=STATE_KEY)["Versions"]
    bodies = [
        json.loads(s3.get_object(Bucket=STATE_BUCKET, Key=STATE_KEY, VersionId=version["VersionId"])["Body"].read())
        for version in versions
    ]
    assert any("trigger_events_topic_arn" in body["outputs"] for body in bodies), "written by apply"
    (latest,) = (body for body, version in zip(bodies, versions, strict=True) if version["IsLatest"])
    assert latest["resources"] == [], "emptied by destroy"


def test_the_lock_table_of_init_is_used(user: User) -> None:
    items = user.platform.client("dynamodb").scan(TableName=LOCK_TABLE)["Items"]
    assert [item["LockID"]["S"] for item in items] == [f"{STATE_BUCKET}/{STATE_KEY}-md5"]


def test_apply_creates_and_destroy_deletes(user: User) -> None:
    assert "Apply complete! Resources: " in user.ended["init-and-apply"].stdout
    assert "Destroy complete! Resources: " in user.ended["destroy"].stdout
    topics = [topic["TopicArn"] for topic in user.platform.client("sns").list_topics()["Topics"]]
    assert [arn for arn in topics if "ml-pipeline" in arn] == []


def test_apply_would_use_the_image_of_the_build_output(user: User) -> None:
    plan = user.ended["own-image"].stdout
    assert "Apply cancelled." in plan
    assert re.search(rf'image +=.* -> "{re.escape(pushed_uri(user.ended["image-gpu"]))}"', plan), plan


def test_the_plan_names_the_on_demand_queues_as_ever(user: User) -> None:
    names = [name.format(user.platform.project_name) for name in ON_DEMAND_QUEUES]
    assert [name for name in names if f'"{name}"' not in user.ended["own-image"].stdout] == []


def test_the_platform_names_queues_and_log_groups_as_ever(platform: EmbeddedAWS) -> None:
    batch, logs, sqs = (platform.client(service) for service in ("batch", "logs", "sqs"))
    found = {each["jobQueueName"] for each in batch.describe_job_queues()["jobQueues"]}
    found |= {each["logGroupName"] for each in logs.describe_log_groups()["logGroups"]}
    found |= {url.rpartition("/")[2] for url in sqs.list_queues()["QueueUrls"]}
    names = [name.format(platform.project_name) for name in (*JOB_QUEUES, *LOG_GROUPS, *MESSAGE_QUEUES)]
    assert [name for name in names if name not in found] == []


def test_images_are_built_and_pushed_to_the_repositories_of_terraform(user: User) -> None:
    calls = user.checkout.docker_calls.read_text().splitlines()
    account = user.platform.client("sts").get_caller_identity()["Account"]
    registry = f"{account}.dkr.ecr.us-east-1.amazonaws.com"
    gpu, cpu = (f"{registry}/{user.platform.project_name}-{name}:latest" for name in ("ml-python", "ml-python-slim"))
    assert [call.split()[-1] for call in calls if "push" in call and call.endswith(":latest")] == [cpu, gpu, gpu, cpu]
    built = [re.findall(r"(\w+)\.Dockerfile", call)[0] for call in calls if call.startswith("docker build")]
    assert built == ["cpu", "gpu", "gpu", "cpu"]
    assert calls.count(f"docker login --username AWS --password-stdin {registry}") == 3
    repositories = {
        each["repositoryUri"] for each in user.platform.client("ecr").describe_repositories()["repositories"]
    }
    assert {uri.removesuffix(":latest") for uri in (gpu, cpu)} <= repositories
    assert pushed_uri(user.ended["image-cpu"]).startswith(cpu.removesuffix("latest"))


def test_both_gpu_quotas_are_requested(user: User) -> None:
    output = user.ended["quotas"].stdout
    assert '"Code": "L-DB2E81BA"' in output and '"Code": "L-3819A6DF"' in output
    requested = user.platform.client("service-quotas").list_requested_service_quota_change_history()["RequestedQuotas"]
    found = {each["QuotaCode"]: (each["DesiredValue"], each["Status"]) for each in requested}
    assert found == {"L-DB2E81BA": (256, "PENDING"), "L-3819A6DF": (256, "PENDING")}


def test_the_script_is_uploaded(user: User) -> None:
    bucket = user.platform.outputs["ml_input_bucket"]
    body = user.platform.client("s3").get_object(Bucket=bucket, Key="jobs/train.py")["Body"].read()
    assert body.decode() == SCRIPT


@pytest.mark.parametrize(
    ("block", "queue", "resources"),
    [
        ("gpu", "gpu", {"VCPU": "4", "MEMORY": "15000", "GPU": "1"}),
        ("gpu-with-resources", "gpu", {"VCPU": "16", "MEMORY": "65536", "GPU": "4"}),
        ("cpu", "cpu", {"VCPU": "2", "MEMORY": "4096"}),
        ("cpu-with-resources", "cpu", {"VCPU": "8", "MEMORY": "16384"}),
        ("cleanup", "cpu", {"VCPU": "2", "MEMORY": "4096"}),
    ],
)
def test_a_message_becomes_a_job_on_its_queue(user: User, block: str, queue: str, resources: dict[str, str]) -> None:
    job = user.platform.wait_for_job(user.jobs[block], timeout=180)
    assert job["status"] == "SUCCEEDED", job.get("statusReason")
    assert job["jobQueue"].endswith(f"/{user.platform.project_name}-ml-{queue}-job-queue")
    asked = {each["type"]: each["value"] for each in job["container"]["resourceRequirements"]}
    assert asked == resources


def test_the_gpu_script_is_told_its_compute_type_and_who_published(user: User) -> None:
    job = user.platform.wait_for_job(user.jobs["gpu-with-resources"], timeout=180)
    environment, _ = read_output(user.platform, job["jobName"], "environment.json")
    assert environment["COMPUTE_TYPE"] == "gpu"
    assert (environment["TRIGGER_USER"], environment["TRIGGER_PROJECT"]) == ("ml-engineer", "model-training")


def test_the_function_logs_can_be_followed(user: User) -> None:
    output = user.ended["follow-functions"].stdout
    assert user.platform.job(user.jobs["gpu"])["jobName"] in output


def test_the_running_job_is_listed_and_its_log_followed(user: User) -> None:
    output = user.ended["list-and-follow-jobs"].stdout
    assert output.count('"jobSummaryList"') == 2
    assert user.jobs["list-and-follow-jobs"] in output and "asleep" in output


def test_dead_letters_of_both_functions_are_shown(user: User) -> None:
    output = user.ended["dead-letters"].stdout
    assert output.count('"Messages"') == 2
    assert "script_kee" in output and "first-readme" in output


def test_a_job_is_terminated_with_the_reason(user: User) -> None:
    job = user.platform.wait_for_job(user.jobs["list-and-follow-jobs"], timeout=60)
    assert (job["status"], job["statusReason"]) == ("FAILED", "Manual termination")


def test_promised_variables_reach_a_script_and_its_output_folder_is_uploaded(
    platform: EmbeddedAWS, script: Callable[..., dict[str, Any]]
) -> None:
    """Without bubblewrap /workspace is not a path of the job on this machine: then the script takes OUTPUT_DIR."""
    text = SCRIPT.replace('os.environ["OUTPUT_DIR"]', '"/workspace/output"') if available_isolation().mounts else SCRIPT
    data = script(text)
    metadata = {"user": "ml-engineer", "project": "model-training", "experiment": "first"}
    platform.publish({"trigger_type": "batch_job", "data": data, "metadata": metadata})
    job = platform.wait_for_job(data["job_name"], timeout=120)
    assert job["status"] == "SUCCEEDED", job.get("statusReason")

    environment, key = read_output(platform, job["jobName"], "environment.json")
    assert {name: environment.get(name) for name in PROMISED} == PROMISED
    assert environment["ML_INPUT_BUCKET"] == platform.outputs["ml_input_bucket"]
    assert environment["ML_OUTPUT_BUCKET"] == platform.outputs["ml_output_bucket"]
    assert key == f"{environment['OUTPUT_PREFIX']}environment.json"


def read_output(platform: EmbeddedAWS, job_name: str, name: str) -> tuple[dict[str, Any], str]:
    """Return the content and key of a JSON file that a job wrote."""
    s3, bucket = platform.client("s3"), platform.outputs["ml_output_bucket"]
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="runs/")
    keys = [item["Key"] for page in pages for item in page.get("Contents", [])]
    (key,) = [key for key in keys if f"/{job_name}/" in key and key.endswith(f"/{name}")]
    return json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read()), key
