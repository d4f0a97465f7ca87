"""Deliveries repeat and functions crash; a request is submitted once, and refused once."""

from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from lambda_platform import Platform, environment_of, forget_records

from splatworks.contract.documents.codec import DocumentError


def message(**data: Any) -> dict[str, Any]:
    return {"trigger_type": "batch_job", "data": {"script_key": "stages/train.py", **data}}


def jobs(platform: Platform) -> list[str]:
    found = boto3.client("batch").list_jobs(
        jobQueue=platform.queues["gpu"], filters=[{"name": "JOB_NAME", "values": ["*"]}]
    )
    return [job["jobId"] for job in found["jobSummaryList"]]


def test_the_same_sns_message_delivered_twice_starts_one_job(platform: Platform) -> None:
    first, second = platform.dispatch(message(), "same"), platform.dispatch(message(), "same")

    assert first == second
    assert jobs(platform) == [first["job_id"]]


def test_two_sns_messages_of_the_same_text_are_two_jobs(platform: Platform) -> None:
    first, second = platform.dispatch(message(), "one"), platform.dispatch(message(), "two")

    assert sorted(jobs(platform)) == sorted([first["job_id"], second["job_id"]])


def test_the_same_request_id_published_twice_starts_one_job(platform: Platform) -> None:
    first = platform.dispatch(message(request_id="nightly-1"), "one")
    second = platform.dispatch(message(request_id="nightly-1"), "two")

    assert first == second
    assert len(jobs(platform)) == 1


def test_the_same_request_id_with_another_body_is_refused(platform: Platform) -> None:
    platform.dispatch(message(request_id="nightly-1"), "one")

    answer = platform.dispatch(message(request_id="nightly-1", vcpus=8), "two")

    assert "data.request_id" in answer["refused"]
    assert len(jobs(platform)) == 1
    assert "Give a new request_id" in platform.email()[1]


def test_a_refused_request_id_can_be_used_again_with_a_correct_body(platform: Platform) -> None:
    platform.dispatch(message(request_id="nightly-1", input="photos/none/"), "one")

    answer = platform.dispatch(message(request_id="nightly-1", input="photos/my-scene/"), "two")

    assert "job_id" in answer


def test_a_refused_message_delivered_twice_sends_one_email(platform: Platform) -> None:
    platform.dispatch("{", "same")
    platform.dispatch("{", "same")

    assert len(platform.emails()) == 1
    assert len(platform.dead_letters()) == 1


def test_a_job_whose_record_was_lost_is_found_and_not_submitted_again(platform: Platform) -> None:
    first = platform.dispatch(message(), "same")
    forget_records()

    second = platform.dispatch(message(), "same")

    assert first == second
    assert len(platform.submissions) == 1


def test_a_job_whose_record_was_lost_does_not_answer_for_another_body(platform: Platform) -> None:
    platform.dispatch(message(request_id="nightly-1"), "one")
    forget_records()

    other_size = platform.dispatch(message(request_id="nightly-1", vcpus=8), "two")
    other_project = platform.dispatch({**message(request_id="nightly-1"), "metadata": {"project": "x"}}, "three")

    assert "data.request_id" in other_size["refused"]
    assert "data.request_id" in other_project["refused"]
    assert len(platform.submissions) == 1


def test_after_a_fault_the_next_delivery_submits(
    platform: Platform, failing: Callable[[str, str, str, int], list[str]]
) -> None:
    from aws import clients as aws_clients
    from aws import once

    sent = failing("batch", "SubmitJob", "ServerException", 500)
    with pytest.raises(ClientError):
        platform.dispatch(message(), "same")
    assert sent == ["SubmitJob"], "SubmitJob is not idempotent: the client must not repeat it"
    aws_clients.client.cache_clear()
    once._store.cache_clear()

    answer = platform.dispatch(message(), "same")

    assert jobs(platform) == [answer["job_id"]]


def test_a_request_that_another_delivery_is_in_the_middle_of_is_left_to_lambdas_retry(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    from aws_lambda_powertools.utilities.idempotency.exceptions import IdempotencyAlreadyInProgressError

    from triggers.batch_job import BatchJobTrigger

    seen: list[BaseException] = []
    execute = BatchJobTrigger.execute

    def deliver_again_meanwhile(self: BatchJobTrigger, request: Any) -> dict[str, Any]:
        if not seen:
            with pytest.raises(IdempotencyAlreadyInProgressError) as raised:
                platform.dispatch(message(), "same")
            seen.append(raised.value)
        return execute(self, request)

    monkeypatch.setattr(BatchJobTrigger, "execute", deliver_again_meanwhile)
    platform.dispatch(message(), "same")

    assert len(seen) == 1
    assert len(jobs(platform)) == 1


def test_records_are_kept_for_fourteen_days(platform: Platform) -> None:
    import time

    platform.dispatch(message(), "same")

    (item,) = boto3.resource("dynamodb").Table("demo-idempotency").scan()["Items"]
    assert int(item["expiration"]) - time.time() == pytest.approx(14 * 24 * 3600, abs=60)


def test_a_request_of_a_later_version_is_a_fault_and_nothing_is_submitted(platform: Platform) -> None:
    platform.dispatch(message(request_id="nightly-1"))
    document = platform.request_document()
    (sent,) = platform.submissions
    platform.put("demo-output", environment_of(sent)["REQUEST_KEY"], document | {"version": 2})
    forget_records()

    with pytest.raises(DocumentError, match=r"version 2; .* up to version 1\. Run terraform apply"):
        platform.dispatch(message(request_id="nightly-1"))

    assert len(platform.submissions) == 1
