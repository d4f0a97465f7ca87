"""A bad message submits nothing, is kept in the dead-letter queue, and its author is told what to change."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError
from lambda_platform import Platform


def batch_job(**data: Any) -> dict[str, Any]:
    return {"trigger_type": "batch_job", "data": {"script_key": "stages/train.py", **data}}


def test_no_object_is_left_in_the_output_bucket_by_a_refused_message(platform: Platform) -> None:
    from aws import clients as aws_clients

    platform.dispatch(batch_job(input="photos/none/"))

    assert "Contents" not in aws_clients.client("s3").list_objects_v2(Bucket="demo-output")


def test_the_email_has_the_command_and_the_message(platform: Platform) -> None:
    platform.dispatch(batch_job(vcpu=4))

    _, body = platform.email()
    assert "aws sns publish --topic-arn arn:aws:sns:us-east-1:123456789012:demo-ml-trigger-events --message" in body
    assert json.dumps(batch_job(vcpu=4)) in body
    assert platform.dlq_url in body


def test_a_bad_message_does_not_hold_up_the_others_of_its_event(platform: Platform) -> None:
    answers = platform.dispatch_all([("{", "a"), (batch_job(), "b"), ("[]", "c")])["answers"]

    assert ["refused" in answer for answer in answers] == [True, False, True]
    assert len(platform.submissions) == 1
    assert len(platform.emails()) == 2


def test_the_largest_message_that_sns_takes_is_kept_whole(platform: Platform) -> None:
    text = "x" * 262_144

    platform.dispatch(text)

    (letter,) = platform.dead_letters()
    assert letter["Body"] == text
    assert "MessageAttributes" not in letter
    assert len(platform.email()[1]) < 10_000


def test_characters_that_sqs_refuses_are_kept_escaped(platform: Platform) -> None:
    text = '{"trigger_type": "\u0001\ufffe"}'

    platform.dispatch(text)

    (letter,) = platform.dead_letters()
    assert json.loads(letter["Body"]) == text
    assert letter["MessageAttributes"]["body_encoding"]["StringValue"] == "json-string"


def test_a_field_name_from_hell_still_makes_a_subject_that_sns_takes(platform: Platform) -> None:
    platform.dispatch(batch_job(**{"ü\n" * 200: 1}))

    subject, _ = platform.email()
    assert len(subject) < 100
    assert subject.isascii()
    assert subject.isprintable()


@pytest.mark.parametrize(
    ("service", "operation", "code", "status"),
    [
        ("s3", "HeadObject", "SlowDown", 503),
        ("s3", "HeadObject", "Forbidden", 403),
        ("s3", "ListObjectsV2", "InternalError", 500),
        ("s3", "PutObject", "SlowDown", 503),
        ("batch", "SubmitJob", "ServerException", 500),
        ("batch", "SubmitJob", "TooManyRequestsException", 429),
        ("batch", "ListJobs", "ServerException", 500),
        ("dynamodb", "PutItem", "ProvisionedThroughputExceededException", 400),
    ],
)
def test_a_fault_of_aws_is_raised_and_refuses_nothing(
    platform: Platform,
    failing: Callable[[str, str, str, int], list[str]],
    monkeypatch: pytest.MonkeyPatch,
    service: str,
    operation: str,
    code: str,
    status: int,
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    failing(service, operation, code, status)

    with pytest.raises(Exception, match=f"{code}|idempotency store") as raised:
        platform.dispatch(batch_job(input="photos/my-scene/"))

    assert isinstance(raised.value, ClientError) or isinstance(raised.value.__cause__, ClientError)
    assert platform.emails() == []
    assert platform.dead_letters() == []


def test_a_fault_of_aws_does_not_hold_up_the_other_messages_of_its_event(
    platform: Platform, failing: Callable[[str, str, str, int], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    failing("s3", "HeadObject", "SlowDown", 503)

    with pytest.raises(ClientError):
        platform.dispatch_all([(batch_job(), "a"), ("{", "b")])

    assert [subject for subject, _ in platform.emails()] == ["[demo] Message refused: message"]


def test_a_folder_made_in_the_console_with_nothing_in_it_is_no_input(platform: Platform) -> None:
    platform.put("demo-input", "photos/empty/", b"")

    assert "Nothing is there" in platform.dispatch(batch_job(input="photos/empty/"))["refused"]
