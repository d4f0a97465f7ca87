"""From the end of a job to its e-mail."""

import copy
import json
import shlex
import time
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from lambda_platform import Platform, environment_of, saved_event

from gather.job_files import read_files
from splatworks.report.job_facts import read_detail

PREFIX = "runs/model-training/train-0123456789ab/train/"
STREAM = "demo-ml-gpu-job/default/77e101"
MESSAGE = {
    "trigger_type": "batch_job",
    "data": {"script_key": "jobs/gpu_processing.py", "request_id": "nightly-1", "args": ["it's", "--x"]},
    "metadata": {"user": "ml-engineer", "project": "model-training", "experiment": "first"},
}
JOB = {"script_key": "stages/train.py", "checkpoint_prefix": "checkpoints/"}
REPORT = {
    "version": 1,
    "job_id": "4c7599ae-0a82-49aa-ba5a-4727fcce14a8",
    "attempt": 1,
    "ended": "done",
    "error": None,
    "machine": {"instance_type": "g5.xlarge", "lifecycle": "spot", "availability_zone": "us-east-1a"},
    "cost": {"usd": 0.0114, "usd_per_hour": 0.74, "source": "EC2 spot price history"},
    "oom_kill": False,
    "interruptions": [],
}
RESULT = {"stage": "train", "status": "done", "metrics": {"psnr": 27.3, "gaussians": 81000}, "error": None}


@pytest.fixture
def finished(platform: Platform) -> Platform:
    """The files that a run of the platform leaves."""
    platform.put("demo-output", f"{PREFIX}request.json", {"version": 1, "message": MESSAGE, "job": JOB})
    platform.put("demo-output", f"{PREFIX}job.json", REPORT)
    platform.put("demo-output", f"{PREFIX}result.json", RESULT)
    platform.put("demo-output", f"{PREFIX}splat.ply")
    return platform


def write_log(lines: list[str]) -> None:
    logs = boto3.client("logs")
    logs.create_log_stream(logGroupName="/aws/batch/demo-ml-jobs", logStreamName=STREAM)
    now = int(time.time() * 1000)  # CloudWatch drops lines that are older than 14 days
    events = [{"timestamp": now + i, "message": line} for i, line in enumerate(lines)]
    logs.put_log_events(logGroupName="/aws/batch/demo-ml-jobs", logStreamName=STREAM, logEvents=events)


def command_arguments(body: str) -> list[str]:
    command = next(line for line in body.splitlines() if line.strip().startswith("aws sns publish"))
    return shlex.split(command)


def test_a_job_that_succeeded_tells_what_where_how_long_and_how_much(finished: Platform) -> None:
    finished.monitor(saved_event("job_succeeded"))

    subject, body = finished.email()
    assert subject == "[demo] train-0123456789ab is done"
    for line in (
        "Job:        train-0123456789ab (4c7599ae-0a82-49aa-ba5a-4727fcce14a8)",
        "Stage:      train",
        "Queue:      demo-ml-gpu-job-queue",
        "Who:        ml-engineer",
        "Project:    model-training",
        "Experiment: first",
        "Took:       12 min 3 s, after waiting 2 min 0 s",
        "Attempts:   1 of 3",
        "Machine:    g5.xlarge, spot, us-east-1a",
        "Cost:       0.0114 USD (EC2 spot price history)",
        "Results:    psnr 27.3, gaussians 81000",
        f"Output:  s3://demo-output/{PREFIX}",
        f"  aws s3 cp --recursive s3://demo-output/{PREFIX} train-0123456789ab/",
    ):
        assert line in body.splitlines()
    assert f"https://us-east-1.console.aws.amazon.com/s3/buckets/demo-output?region=us-east-1&prefix={PREFIX}" in body
    assert "Why:" not in body


def test_the_log_link_opens_the_stream(finished: Platform) -> None:
    finished.monitor(saved_event("job_succeeded"))

    assert (
        "https://us-east-1.console.aws.amazon.com/cloudwatch/home?region=us-east-1#logsV2:log-groups/log-group/"
        "$252Faws$252Fbatch$252Fdemo-ml-jobs/log-events/demo-ml-gpu-job$252Fdefault$252F77e101"
    ) in finished.email()[1]


def test_the_command_runs_the_same_message_again_without_its_request_id(finished: Platform) -> None:
    finished.monitor(saved_event("job_script_error"))

    arguments = command_arguments(finished.email()[1])
    assert arguments[:5] == [
        "aws", "sns", "publish", "--topic-arn", "arn:aws:sns:us-east-1:123456789012:demo-ml-trigger-events"
    ]  # fmt: skip
    again = json.loads(arguments[arguments.index("--message") + 1])
    assert again == {
        **MESSAGE,
        "data": {"script_key": "jobs/gpu_processing.py", "args": ["it's", "--x"]},
    }
    assert "job_id" in finished.dispatch(again)


def test_a_message_too_long_for_a_shell_is_taken_from_its_file(finished: Platform) -> None:
    long = copy.deepcopy(MESSAGE)
    long["data"]["args"] = ["x" * 4000] * 10  # type: ignore[index]
    finished.put("demo-output", f"{PREFIX}request.json", {"message": long, "job": JOB})

    finished.monitor(saved_event("job_script_error"))

    _, body = finished.email()
    assert "--message file://message.json" in body
    assert f"aws s3 cp s3://demo-output/{PREFIX}request.json - | python3 -c " in body
    assert len(body) < 20_000


def ended_as(event_name: str, submission: dict[str, Any]) -> dict[str, Any]:
    """The event of a job that the dispatcher submitted."""
    event = saved_event(event_name)
    event["detail"]["container"]["environment"] = submission["containerOverrides"]["environment"]
    return event


def test_the_longest_message_that_sns_takes_is_published_again_in_whatever_alphabet(platform: Platform) -> None:
    parameters = {f"p{number}": "ж" * 8192 for number in range(15)} | {"rest": "ж" * 8000}
    message = {"trigger_type": "batch_job", "data": {"script_key": "jobs/gpu_processing.py", "parameters": parameters}}
    published = json.dumps(message, ensure_ascii=False)
    assert 260_000 < len(published.encode()) <= 262_144
    platform.dispatch(published)

    platform.monitor(ended_as("job_script_error", platform.submissions[0]))

    assert "--message file://message.json" in platform.email()[1]
    size = boto3.client("s3").head_object(
        Bucket="demo-output", Key=environment_of(platform.submissions[0])["REQUEST_KEY"]
    )["ContentLength"]
    assert size < 2 * len(published.encode()) + 10_000


def test_a_request_of_fifty_variants_of_long_parameters_is_read_whole(platform: Platform) -> None:
    swept = {"title": ["😀" * 8192], "splat": ["😀" * 8192], "view_size": list(range(64, 114))}
    message = {"trigger_type": "splat_pipeline", "data": {"input": "photos/my-scene/", "sweep": {"compress": swept}}}
    platform.dispatch(message)

    event = ended_as("job_script_error", platform.submissions[-1])

    assert read_files(read_detail(event["detail"], "us-east-1"), "demo-output").message == message


def test_a_failure_shows_the_last_lines_of_its_log_as_a_terminal_would(finished: Platform) -> None:
    progress = "\r10%\r50%\r100%"
    figures = ['{"_aws": {"Timestamp": 1}}'] * 40
    write_log(
        [f"line {i}" for i in range(30)] + figures + ["\x1b[31mred\x1b[0m", progress, "x" * 5000, "ValueError: no"]
    )

    finished.monitor(saved_event("job_script_error"))

    subject, body = finished.email()
    assert subject == "[demo] train-0123456789ab FAILED: script error"
    tail = [line.removeprefix("  | ") for line in body.splitlines() if line.startswith("  | ")]
    assert tail == [*(f"line {i}" for i in range(14, 30)), "red", "100%", "x" * 400, "ValueError: no"]


def test_a_job_without_files_and_without_a_log_still_gets_its_email(platform: Platform) -> None:
    platform.monitor(saved_event("job_script_error"))

    subject, body = platform.email()
    assert subject == "[demo] train-0123456789ab FAILED: script error"
    assert "Who:        ml-engineer" in body
    assert "Cost:       unknown" in body
    assert "exit code 1" in body


def test_a_job_submitted_past_the_dispatcher_gets_a_sensible_email(platform: Platform) -> None:
    platform.monitor(saved_event("job_submitted_by_hand"))

    subject, body = platform.email()
    assert subject == "[demo] by-hand is done"
    assert "so it cannot be rerun by message" in body
    assert "Output:" not in body


@pytest.mark.parametrize("names", [[], ["job.json", "progress.json", "_SUCCESS"]])
def test_success_without_output_is_flagged(platform: Platform, names: list[str]) -> None:
    for name in ["request.json", *names]:
        platform.put("demo-output", f"{PREFIX}{name}", {})

    platform.monitor(saved_event("job_succeeded"))

    subject, body = platform.email()
    assert subject == "[demo] train-0123456789ab is done, but left no output"
    assert "OUTPUT_DIR" in body


def test_a_result_json_alone_is_output(platform: Platform) -> None:
    platform.put("demo-output", f"{PREFIX}result.json", RESULT)

    platform.monitor(saved_event("job_succeeded"))

    assert platform.email()[0] == "[demo] train-0123456789ab is done"


def test_the_report_of_an_earlier_attempt_is_not_taken_for_the_last_ones(finished: Platform) -> None:
    finished.monitor(saved_event("job_spot_reclaimed"))

    _, body = finished.email()
    assert "Machine:    unknown" in body
    assert (
        "Attempts:   3 of 3: 1 min 0 s, exit code 75, Essential container in task exited; 1 min 0 s, Host EC2" in body
    )


def test_an_event_that_comes_twice_sends_one_email(finished: Platform) -> None:
    finished.monitor(saved_event("job_succeeded"))
    finished.monitor(saved_event("job_succeeded"))

    assert len(finished.emails()) == 1


def test_the_email_of_an_array_counts_its_parts_and_the_parts_send_none(platform: Platform) -> None:
    platform.monitor(saved_event("array_child_failed"))
    assert platform.emails() == []

    platform.monitor(saved_event("array_failed"))

    subject, body = platform.email()
    assert subject == "[demo] train-0123456789ab FAILED: parts of the array failed"
    assert "Array:      4 parts: 1 FAILED, 3 SUCCEEDED" in body
    assert "1 of 4 parts failed." in body


def test_an_array_whose_event_is_older_than_its_last_part_is_counted_again(platform: Platform) -> None:
    job = platform.dispatch({"trigger_type": "batch_job", "data": {"script_key": "stages/train.py", "array_size": 3}})
    event = saved_event("array_failed")
    event["detail"] |= {"jobId": job["job_id"], "arrayProperties": {"size": 3, "statusSummary": {"RUNNING": 3}}}

    platform.monitor(event)

    assert "Array:      3 parts: 3 SUCCEEDED" in platform.email()[1]


@pytest.mark.parametrize("status", ["SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING"])
def test_a_job_that_has_not_ended_sends_nothing(platform: Platform, status: str) -> None:
    event = saved_event("job_succeeded")
    event["detail"]["status"] = status

    assert "skipped" in platform.monitor(event)
    assert platform.emails() == []


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"[]",
        b"{",
        b"\xff",
        b'{"message": 7}',
        b"[" * 100_000,
        b'{"job_id": "4c7599ae-0a82-49aa-ba5a-4727fcce14a8"}',
    ],
)
def test_broken_files_do_not_keep_the_email_back(platform: Platform, broken: bytes) -> None:
    for name in ("request.json", "job.json", "result.json"):
        platform.put("demo-output", f"{PREFIX}{name}", broken)

    platform.monitor(saved_event("job_script_error"))

    assert platform.email()[0] == "[demo] train-0123456789ab FAILED: script error"


@pytest.mark.parametrize("odd", ["text", 7, [1], {"cause": {"a": [1]}, "fix": None}, {"cause": "x" * 100_000}])
def test_a_report_of_odd_shape_does_not_keep_the_email_back(platform: Platform, odd: Any) -> None:
    report = {**REPORT, "ended": "failed", "error": odd, "machine": odd, "cost": odd, "interruptions": odd}
    platform.put("demo-output", f"{PREFIX}job.json", report)
    platform.put("demo-output", f"{PREFIX}result.json", {"metrics": odd, "error": odd})

    platform.monitor(saved_event("job_script_error"))

    subject, body = platform.email()
    assert subject.startswith("[demo] train-0123456789ab FAILED: ")
    assert len(body) < 20_000


def test_a_newer_report_is_unknown_and_the_email_says_why(finished: Platform) -> None:
    finished.put("demo-output", f"{PREFIX}job.json", {**REPORT, "version": 2})

    finished.monitor(saved_event("job_succeeded"))

    _, body = finished.email()
    note = "Note:       job.json has version 2; this program reads up to version 1. Run terraform apply"
    assert [line for line in body.splitlines() if line.startswith(note)]
    assert "Cost:       unknown" in body.splitlines()


def test_a_denied_file_is_a_fault_and_not_a_missing_file(
    finished: Platform, failing: Callable[[str, str, str, int], list[str]]
) -> None:
    failing("s3", "GetObject", "AccessDenied", 403)

    with pytest.raises(ClientError, match="AccessDenied"):
        finished.monitor(saved_event("job_succeeded"))
    assert finished.emails() == []


def test_the_longest_job_name_still_makes_a_subject_that_sns_takes(platform: Platform) -> None:
    event = saved_event("job_image_pull")
    event["detail"]["jobName"] = "j" * 128

    platform.monitor(event)

    subject, _ = platform.email()
    assert len(subject) < 100


def test_a_job_that_keeps_its_queue_waiting_is_told_of_once_with_how_to_stop_it(platform: Platform) -> None:
    platform.monitor(saved_event("queue_blocked"))
    platform.monitor({**saved_event("queue_blocked"), "id": "another"})

    subject, body = platform.email()
    assert subject == "[demo] train-0123456789ab cannot start"
    assert "the jobs behind it in demo-ml-gpu-job-queue wait for it" in body
    assert "AWS Batch says: ACTION_REQUIRED - The compute environment" in body and "is INVALID" in body
    assert "Waits:      since 2026-01-31 12:00 UTC" in body.splitlines()
    command = next(line for line in body.splitlines() if "terminate-job" in line)
    job_id = "4c7599ae-0a82-49aa-ba5a-4727fcce14a8"
    assert shlex.split(command)[5:] == ["--job-id", job_id, "--reason", "it cannot start"]


def test_the_parts_of_an_array_that_block_one_after_the_other_are_one_email(platform: Platform) -> None:
    for index in (3, 4):
        event = saved_event("queue_blocked")
        event["detail"]["jobId"] += f":{index}"
        event["detail"]["statusReason"] = "UNDETERMINED"
        platform.monitor(event)

    _, body = platform.email()
    assert "AWS Batch says: UNDETERMINED" in body and "quotas" in body
    assert "--job-id 4c7599ae-0a82-49aa-ba5a-4727fcce14a8 --reason" in body, "of the whole array"


def test_a_job_that_its_queue_will_cancel_is_not_told_of_before(platform: Platform) -> None:
    event = saved_event("queue_blocked")
    event["detail"]["statusReason"] = "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY - Service cannot fulfill the capacity"

    assert "skipped" in platform.monitor(event)
    assert platform.emails() == []
