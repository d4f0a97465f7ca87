"""The platform as deployed: message, dispatcher, job, monitor, e-mail; and what can go wrong on the way."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from local.batch.reclaim import Reclaim
from local.embedded_aws import EmbeddedAWS

from .job_folders import code_folder, job_lines, models_folder

pytestmark = pytest.mark.flow

EVENTS = Path(__file__).parents[1] / "events"
Script = Callable[..., dict[str, Any]]

# Exits as a stage does that was told to stop: a checkpoint written, 75.
CHECKPOINTING = """
import os, pathlib, signal, sys, time
checkpoint = pathlib.Path(os.environ["CHECKPOINT_DIR"]) / "step"
if checkpoint.exists():
    print("continuing from", checkpoint.read_text(), flush=True)
    (pathlib.Path(os.environ["OUTPUT_DIR"]) / "result.txt").write_text("the same result")
    sys.exit(0)

def stop(number, frame):
    print("stopping", flush=True)
    checkpoint.write_text("41")
    sys.exit(75)

signal.signal(signal.SIGTERM, stop)
print("working", flush=True)
time.sleep(120)
"""
WRITE_OUTPUT = """
import os, pathlib
print("hello from the job", flush=True)
(pathlib.Path(os.environ["OUTPUT_DIR"]) / "index.txt").write_text(os.environ.get("AWS_BATCH_JOB_ARRAY_INDEX", "none"))
"""


def message(data: dict[str, Any]) -> dict[str, Any]:
    return {"trigger_type": "batch_job", "data": data, "metadata": {"user": "ann", "project": "flow"}}


def running_line(platform: EmbeddedAWS, name: str, line: str) -> dict[str, Any]:
    """The job, once it has printed `line` and while it runs."""
    job = platform.wait_for_job(name, until=("RUNNING",), timeout=60)

    def printed() -> bool:
        return line in job_lines(platform, platform.job(job["jobId"]))

    platform.wait_until(printed, what=f"the line {line!r}")
    return platform.job(job["jobId"])


def keys(platform: EmbeddedAWS, prefix: str) -> set[str]:
    found = platform.client("s3").list_objects_v2(Bucket=platform.outputs["ml_output_bucket"], Prefix=prefix)
    return {item["Key"].removeprefix(prefix) for item in found.get("Contents", [])}


def output_prefix(job: dict[str, Any]) -> str:
    environment = {item["name"]: item["value"] for item in job["container"]["environment"]}
    return str(environment["OUTPUT_PREFIX"])


def test_a_second_plan_finds_nothing_to_change(platform: EmbeddedAWS) -> None:
    done = platform.terraform("plan", "-detailed-exitcode", "-input=false", "-no-color")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_message_becomes_a_job_with_output_and_an_email(platform: EmbeddedAWS, script: Script) -> None:
    data = script(WRITE_OUTPUT)
    platform.publish(message(data))
    job = platform.wait_for_job(data["job_name"])
    assert job["status"] == "SUCCEEDED", job
    assert {"index.txt", "job.json", "_SUCCESS"} <= keys(platform, output_prefix(job))
    assert "hello from the job" in job_lines(platform, job)
    email = platform.wait_for_email(data["job_name"])
    assert job["jobId"] in email.body
    assert email.to == "you@example.com"
    assert email.subject in email.path.read_text()


def test_the_runner_is_told_which_machine_it_runs_on_and_no_price(platform: EmbeddedAWS, script: Script) -> None:
    data = script("import time\ntime.sleep(2)\n")
    platform.publish(message(data))
    job = platform.wait_for_job(data["job_name"])
    body = platform.client("s3").get_object(
        Bucket=platform.outputs["ml_output_bucket"], Key=f"{output_prefix(job)}job.json"
    )["Body"]
    report = json.load(body)
    assert report["machine"]["lifecycle"] == "spot"
    assert report["machine"]["instance_type"] in ("m6i.large", "m7i.large")
    assert report["cost"] is None


def test_the_same_sns_message_delivered_three_times_is_one_job(platform: EmbeddedAWS, script: Script) -> None:
    data = script(WRITE_OUTPUT)
    platform.publish(message(data), copies=3)
    platform.wait_for_job(data["job_name"])
    platform.wait_for_email(data["job_name"])
    assert len([job for job in platform.jobs() if data["job_name"] in job["jobName"]]) == 1
    assert len([email for email in platform.emails() if data["job_name"] in email.subject]) == 1


def test_a_reclaimed_spot_host_costs_an_attempt_and_not_the_result(platform: EmbeddedAWS, script: Script) -> None:
    data = script(CHECKPOINTING)
    platform.publish(message(data))
    job = running_line(platform, data["job_name"], "working")
    platform.reclaim_spot(job["jobId"], how=Reclaim.NOTICE)
    job = platform.wait_for_job(job["jobId"])
    assert job["status"] == "SUCCEEDED", job
    assert [attempt["container"]["exitCode"] for attempt in job["attempts"]] == [75, 0]
    assert job["attempts"][0]["statusReason"] == "Essential container in task exited"
    assert "continuing from 41" in job_lines(platform, job)
    assert "result.txt" in keys(platform, output_prefix(job))


def test_a_job_that_has_used_up_its_attempts_is_resumed_from_its_checkpoint(
    platform: EmbeddedAWS, script: Script
) -> None:
    data = script(CHECKPOINTING, attempts=1, auto_resume=1)
    platform.publish(message(data))
    first = running_line(platform, data["job_name"], "working")
    platform.reclaim_spot(first["jobId"], how=Reclaim.NOTICE)
    announced = platform.wait_for_email(f"{data['job_name']}")
    assert "lost its machine and resumes at" in announced.subject and "(1 of 1)" in announced.subject
    second = platform.wait_for_job(f"{first['jobName']}-r1")  # five minutes later, on a hurried clock
    assert second["status"] == "SUCCEEDED"
    assert "continuing from 41" in job_lines(platform, second)
    assert output_prefix(second) == output_prefix(first)
    assert "result.txt" in keys(platform, output_prefix(second))
    assert "is done" in platform.wait_for_email(second["jobName"]).subject


def test_a_terminated_job_gets_sigterm_and_the_email_says_who_said_so(platform: EmbeddedAWS, script: Script) -> None:
    data = script(CHECKPOINTING)
    platform.publish(message(data))
    job = running_line(platform, data["job_name"], "working")
    platform.client("batch").terminate_job(jobId=job["jobId"], reason="wrong parameters")
    job = platform.wait_for_job(job["jobId"])
    assert (job["status"], job["statusReason"], len(job["attempts"])) == ("FAILED", "wrong parameters", 1)
    assert "stopping" in job_lines(platform, job)
    assert "wrong parameters" in platform.wait_for_email(data["job_name"]).body


def test_a_job_that_takes_too_long_is_stopped_and_the_email_says_so(platform: EmbeddedAWS, script: Script) -> None:
    data = script("import time\ntime.sleep(120)\n", timeout_seconds=60, attempts=3)
    platform.publish(message(data))
    job = platform.wait_for_job(data["job_name"], timeout=90)
    assert (job["status"], job["statusReason"]) == ("FAILED", "Job attempt duration exceeded timeout")
    assert len(job["attempts"]) == 1
    platform.wait_for_email(data["job_name"])


def test_a_script_that_fails_is_not_retried_and_its_last_lines_are_in_the_email(
    platform: EmbeddedAWS, script: Script
) -> None:
    data = script("raise SystemError('a fault of the script')\n")
    platform.publish(message(data))
    job = platform.wait_for_job(data["job_name"])
    assert (job["status"], len(job["attempts"])) == ("FAILED", 1)
    assert "a fault of the script" in platform.wait_for_email(data["job_name"]).body


def test_an_array_runs_once_per_index_and_each_has_its_own_output(platform: EmbeddedAWS, script: Script) -> None:
    data = script(WRITE_OUTPUT, array_size=3)
    platform.publish(message(data))
    job = platform.wait_for_job(data["job_name"], timeout=90)
    assert (job["status"], job["arrayProperties"]["size"]) == ("SUCCEEDED", 3), job
    assert {f"{index}/index.txt" for index in range(3)} <= keys(platform, output_prefix(job))


def test_a_job_whose_dependency_failed_never_starts(platform: EmbeddedAWS, script: Script) -> None:
    first = script("import sys, time\ntime.sleep(2)\nsys.exit(1)\n")
    platform.publish(message(first))
    first_id = platform.wait_for_job(first["job_name"], until=("STARTING", "RUNNING", "FAILED"))["jobId"]
    second = script(WRITE_OUTPUT, depends_on=[first_id])
    platform.publish(message(second))
    job = platform.wait_for_job(second["job_name"])
    assert (job["status"], job["statusReason"], job["attempts"]) == ("FAILED", "Dependent Job failed", [])
    platform.wait_for_email(second["job_name"])


def test_log_lines_can_be_read_while_the_job_runs(platform: EmbeddedAWS, script: Script) -> None:
    data = script(CHECKPOINTING)
    platform.publish(message(data))
    job = running_line(platform, data["job_name"], "working")
    assert job["status"] == "RUNNING"
    found = platform.client("logs").filter_log_events(
        logGroupName=f"/aws/batch/{platform.project_name}-ml-jobs", logStreamNames=[job["container"]["logStreamName"]]
    )["events"]
    assert "working" in [event["message"] for event in found]
    platform.client("batch").terminate_job(jobId=job["jobId"], reason="seen enough")
    platform.wait_for_job(job["jobId"])


def test_a_message_that_the_function_cannot_handle_ends_in_the_dead_letter_queue_after_two_retries(
    platform: EmbeddedAWS, script: Script
) -> None:
    functions, name = platform.client("lambda"), f"{platform.project_name}-ml-trigger-dispatcher"
    variables = functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    broken = {"Variables": {**variables, "COMPUTE": "not JSON"}}
    functions.update_function_configuration(FunctionName=name, Environment=broken)
    try:
        text = json.dumps(message(script(WRITE_OUTPUT)))
        platform.publish(text)
        letter = platform.wait_until(lambda: dead_letter(platform, text), timeout=60, what="the dead letter")
        platform.client("sqs").delete_message(
            QueueUrl=platform.outputs["trigger_dlq_url"], ReceiptHandle=letter["ReceiptHandle"]
        )
    finally:
        functions.update_function_configuration(FunctionName=name, Environment={"Variables": variables})
    attributes = {name: item["StringValue"] for name, item in letter["MessageAttributes"].items()}
    assert set(attributes) == {"RequestID", "ErrorCode", "ErrorMessage"}
    platform.wait_until(lambda: invocations(platform, name, attributes["RequestID"]) == 3, what="three invocations")


def test_a_queue_that_is_blocked_sends_an_email(platform: EmbeddedAWS) -> None:
    """The event is saved, as the embedded AWS's queues are never blocked: how it reaches people is real."""
    event = json.loads((EVENTS / "queue_blocked.json").read_text())
    name = platform.outputs["ml_gpu_job_queue"]
    (queue,) = platform.client("batch").describe_job_queues(jobQueues=[name])["jobQueues"]
    detail = json.dumps({**event["detail"], "jobQueue": queue["jobQueueArn"]})
    entry = {"Source": event["source"], "DetailType": event["detail-type"], "Detail": detail}
    platform.client("events").put_events(Entries=[entry])
    email = platform.wait_for_email("cannot start")
    assert "aws batch terminate-job" in email.body


def test_each_letter_in_the_monitors_queue_sends_an_email_also_where_earlier_ones_lie(platform: EmbeddedAWS) -> None:
    alarm, alarms = f"{platform.project_name}-ml-monitor-dlq-not-empty", platform.client("cloudwatch")

    def told() -> int:
        return sum(alarm in email.subject for email in platform.emails())

    def calm() -> bool:
        return bool(alarms.describe_alarms(AlarmNames=[alarm])["MetricAlarms"][0]["StateValue"] == "OK")

    url = platform.outputs["monitor_dlq_url"]
    platform.client("sqs").send_message(QueueUrl=url, MessageBody="{}")
    platform.wait_until(lambda: told() == 1, what="the alarm's e-mail")
    platform.wait_until(calm, what="the alarm to be over, with the letter still there")
    platform.client("sqs").send_message(QueueUrl=url, MessageBody="{}")
    platform.wait_until(lambda: told() == 2, what="the e-mail about the next letter")
    email = platform.wait_for_email(alarm)
    assert email.subject.startswith("ALARM") and "aws sqs receive-message" in email.body
    platform.client("sqs").purge_queue(QueueUrl=url)


def dead_letter(platform: EmbeddedAWS, text: str) -> dict[str, Any] | None:
    received = platform.client("sqs").receive_message(
        QueueUrl=platform.outputs["trigger_dlq_url"],
        MessageAttributeNames=["All"],
        MaxNumberOfMessages=10,
        VisibilityTimeout=0,
    )
    for letter in received.get("Messages", []):
        body = json.loads(letter["Body"])
        if "Records" in body and body["Records"][0]["Sns"]["Message"] == text:
            found: dict[str, Any] = letter
            return found
    return None


def invocations(platform: EmbeddedAWS, function: str, request_id: str) -> int:
    events = platform.client("logs").filter_log_events(logGroupName=f"/aws/lambda/{function}")["events"]
    return len([event for event in events if event["message"].startswith(f"START RequestId: {request_id}")])


def test_a_function_can_be_invoked_and_its_error_is_told(platform: EmbeddedAWS) -> None:
    name = f"{platform.project_name}-ml-job-monitor"
    answer = platform.client("lambda").invoke(FunctionName=name, Payload=b'{"not": "an event"}', LogType="Tail")
    assert answer["FunctionError"] == "Unhandled"
    assert {"errorMessage", "errorType", "stackTrace"} <= set(json.load(answer["Payload"]))
    assert answer["LogResult"]


FORBIDDEN = """
import os, boto3
from botocore.exceptions import ClientError
s3, outside = boto3.client("s3"), os.environ["ML_INPUT_BUCKET"]
attempts = {
    "write an input": lambda: s3.put_object(Bucket=outside, Key="jobs/mine.py", Body=b""),
    "write a model": lambda: s3.put_object(Bucket=os.environ["ML_MODELS_BUCKET"], Key="model", Body=b""),
    "write elsewhere": lambda: s3.put_object(Bucket=os.environ["ML_OUTPUT_BUCKET"], Key="elsewhere", Body=b""),
    "submit a job": lambda: boto3.client("batch").submit_job(jobName="a", jobQueue="b", jobDefinition="c"),
    "read a queue": lambda: boto3.client("sqs").list_queues(),
    "see the roles": lambda: boto3.client("iam").list_roles(),
}
for name, call in attempts.items():
    try:
        call()
        print(name, "allowed", flush=True)
    except ClientError as error:
        print(name, error.response["Error"]["Code"], flush=True)
"""


def test_a_job_can_do_what_its_role_allows_and_no_more(platform: EmbeddedAWS, script: Script) -> None:
    data = script(FORBIDDEN)
    platform.publish(message(data))
    job = platform.wait_for_job(data["job_name"])
    assert job["status"] == "SUCCEEDED", job
    said = [line for line in job_lines(platform, job) if "AccessDenied" in line or "allowed" in line]
    assert len(said) == 6
    assert all("AccessDenied" in line for line in said), said


LEAVE_FILES = """
import os, pathlib, sys
folders = {"models": pathlib.Path(os.environ["MODELS_DIR"]), "workspace": pathlib.Path.cwd()}
print(f"working in {folders['workspace']}, models in {folders['models']}")
for name, folder in folders.items():
    (folder / f"{sys.argv[1]}.left").touch()
    print(f"{name}:", *sorted(path.stem for path in folder.glob("*.left")), flush=True)
"""


def test_the_models_folder_is_shared_and_the_workspace_is_not(platform: EmbeddedAWS, script: Script) -> None:
    for word in ("first", "second"):
        data = script(LEAVE_FILES, args=[word])
        platform.publish(message(data))
        job = platform.wait_for_job(data["job_name"])
        lines = job_lines(platform, job)
        assert job["status"] == "SUCCEEDED", lines
        assert f"working in {code_folder(platform, job)}, models in {models_folder(platform)}" in lines
    assert "models: first second" in lines and "workspace: second" in lines


def test_roles_allow_all_that_the_platform_itself_did_in_the_other_tests(platform: EmbeddedAWS) -> None:
    """Nearly last. All that was ever denied is what the script FORBIDDEN tried, and a link changed by hand."""
    tried = ("s3:PutObject", "batch:SubmitJob", "sqs:ListQueues", "iam:ListRoles")
    by_script = [f"role/{platform.project_name}-ml-job is not authorized to perform: {action} " for action in tried]
    by_link = f"role/{platform.project_name}-ml-run-links is not authorized to perform: s3:GetObject on resource: "
    by_link += f"arn:aws:s3:::{platform.outputs['ml_output_bucket']}/reuse/"
    others = [denial for denial in platform.denials() if not any(known in denial for known in (*by_script, by_link))]
    assert others == []


def test_destroy_leaves_nothing_behind(platform: EmbeddedAWS) -> None:
    """Last of all: the platform is gone after it."""
    platform.destroy()
    assert platform.terraform("state", "list").stdout == ""
    assert platform.client("s3").list_buckets()["Buckets"] == []
    assert platform.client("lambda").list_functions()["Functions"] == []
    assert platform.client("sqs").list_queues().get("QueueUrls", []) == []
    assert platform.client("logs").describe_log_groups()["logGroups"] == []
    assert platform.client("batch").describe_job_queues()["jobQueues"] == []
    assert platform.client("batch").describe_compute_environments()["computeEnvironments"] == []
    assert platform.client("efs").describe_file_systems()["FileSystems"] == []
    assert platform.client("ecr").describe_repositories()["repositories"] == []
    roles = {role["RoleName"] for role in platform.client("iam").list_roles()["Roles"]}
    assert roles == {"AWSServiceRoleForBatch"}  # AWS keeps a service's own role, too
