"""Batch Job State Change events, as a rule sees them."""

import json
from typing import Any

import pytest


@pytest.fixture(scope="module")
def heard(aws: Any) -> Any:
    """A queue that hears every event of Batch; a function that returns those of one job, in the order of sending."""
    url = aws.client("sqs").create_queue(QueueName="heard")["QueueUrl"]
    arn = aws.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    aws.client("events").put_rule(Name="batch", EventPattern=json.dumps({"source": ["aws.batch"]}))
    aws.client("events").put_targets(Rule="batch", Targets=[{"Id": "queue", "Arn": arn}])
    kept: list[dict[str, Any]] = []

    def of_job(job_id: str, count: int) -> list[dict[str, Any]]:
        def arrived() -> bool:
            received = aws.client("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
            kept.extend(json.loads(message["Body"]) for message in received)
            return len([event for event in kept if event["detail"]["jobId"] == job_id]) >= count

        aws.wait_until(arrived, what=f"{count} events of the job")
        return [event for event in kept if event["detail"]["jobId"] == job_id]

    return of_job


def test_every_state_of_a_job_is_an_event(queue: Any, heard: Any) -> None:
    job_id = queue.submit("exit", "0")
    queue.ended(job_id)
    states = {event["detail"]["status"] for event in heard(job_id, 6)}
    assert states == {"SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED"}


def test_a_retried_job_is_runnable_again_with_its_first_attempt_told(queue: Any, heard: Any) -> None:
    job_id = queue.submit("exit-on-first-attempt", "1", retryStrategy={"attempts": 2})
    queue.ended(job_id)
    again = [event for event in heard(job_id, 9) if event["detail"]["status"] == "RUNNABLE"]
    assert sorted(len(event["detail"]["attempts"]) for event in again) == [0, 1]


def test_an_event_has_awss_fields(queue: Any, heard: Any) -> None:
    job_id = queue.submit("exit", "2", tags={"user": "ann"})
    job = queue.ended(job_id)
    (event,) = [event for event in heard(job_id, 6) if event["detail"]["status"] == "FAILED"]
    assert event["source"] == "aws.batch"
    assert event["detail-type"] == "Batch Job State Change"
    assert event["resources"] == [job["jobArn"]]
    assert event["version"] == "0"
    assert event["time"].endswith("Z")
    detail = event["detail"]
    assert detail["tags"] == {"resourceArn": job["jobArn"], "user": "ann"}
    assert detail["statusReason"] == "Essential container in task exited"
    assert detail["container"]["exitCode"] == 2
    attempt = detail["attempts"][0]
    assert attempt["container"]["exitCode"] == 2
    assert attempt["container"]["logStreamName"] == detail["container"]["logStreamName"]
    assert attempt["startedAt"] <= attempt["stoppedAt"] <= detail["stoppedAt"]
    assert {"jobName", "jobQueue", "createdAt", "retryStrategy", "dependsOn", "jobDefinition", "parameters"} < set(
        detail
    )
