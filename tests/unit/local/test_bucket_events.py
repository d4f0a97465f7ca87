"""S3's events on the default bus, and events that a program puts there."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

BUCKET = "bucket-events"


@pytest.fixture(scope="module")
def heard(aws: Any) -> Any:
    """Returns the events that arrived since it was last asked, once there are as many as are expected."""
    url = aws.client("sqs").create_queue(QueueName="heard-uploads")["QueueUrl"]
    arn = aws.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    pattern = {"source": ["aws.s3", "platform"]}
    aws.client("events").put_rule(Name="uploads", EventPattern=json.dumps(pattern))
    aws.client("events").put_targets(Rule="uploads", Targets=[{"Id": "queue", "Arn": arn}])

    def events(count: int) -> list[dict[str, Any]]:
        kept: list[dict[str, Any]] = []

        def arrived() -> bool:
            for message in aws.client("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
                kept.append(json.loads(message["Body"]))
                aws.client("sqs").delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            return len(kept) >= count

        aws.wait_until(arrived, what=f"{count} events")
        return kept

    return events


@pytest.fixture(scope="module")
def s3(aws: Any, heard: Any) -> Any:
    client = aws.client("s3")
    client.create_bucket(Bucket=BUCKET)
    client.put_bucket_notification_configuration(
        Bucket=BUCKET, NotificationConfiguration={"EventBridgeConfiguration": {}}
    )
    return client


def test_an_upload_is_an_event_of_awss_shape(s3: Any, heard: Any) -> None:
    etag = s3.put_object(Bucket=BUCKET, Key="photos/my scene/_READY", Body=b"12345")["ETag"].strip('"')
    (event,) = heard(1)
    assert (event["source"], event["detail-type"]) == ("aws.s3", "Object Created")
    assert event["resources"] == [f"arn:aws:s3:::{BUCKET}"]
    assert (event["region"], event["account"], event["version"]) == ("us-east-1", "123456789012", "0")
    detail = event["detail"]
    assert detail["bucket"] == {"name": BUCKET} and detail["reason"] == "PutObject"
    sequencer = detail["object"].pop("sequencer")
    assert int(sequencer, 16) and len(sequencer) == 16
    assert detail["object"] == {"key": "photos/my scene/_READY", "size": 5, "etag": etag}
    assert {"request-id", "requester", "source-ip-address", "version"} < set(detail)


def test_later_events_have_larger_sequencers_and_say_how_the_object_came(s3: Any, heard: Any) -> None:
    s3.put_object(Bucket=BUCKET, Key="a", Body=b"1")
    s3.copy_object(Bucket=BUCKET, Key="a", CopySource=f"{BUCKET}/photos/my scene/_READY")
    upload = s3.create_multipart_upload(Bucket=BUCKET, Key="a")["UploadId"]
    part = s3.upload_part(Bucket=BUCKET, Key="a", UploadId=upload, PartNumber=1, Body=b"x")["ETag"]
    parts = {"Parts": [{"ETag": part, "PartNumber": 1}]}
    s3.complete_multipart_upload(Bucket=BUCKET, Key="a", UploadId=upload, MultipartUpload=parts)
    s3.delete_object(Bucket=BUCKET, Key="a")
    events = sorted(heard(4), key=lambda event: str(event["detail"]["object"]["sequencer"]))
    reasons = [event["detail"]["reason"] for event in events]
    assert reasons == ["PutObject", "CopyObject", "CompleteMultipartUpload", "DeleteObject"]
    assert events[-1]["detail-type"] == "Object Deleted"
    assert events[-1]["detail"]["deletion-type"] == "Permanently Deleted"
    assert "size" not in events[-1]["detail"]["object"]


def test_a_bucket_says_whether_it_tells_eventbridge(s3: Any) -> None:
    s3.create_bucket(Bucket="untold")
    told, untold = (s3.get_bucket_notification_configuration(Bucket=name) for name in (BUCKET, "untold"))
    assert told.get("EventBridgeConfiguration") == {}
    assert "EventBridgeConfiguration" not in untold


def test_a_bucket_without_eventbridge_is_silent(aws: Any, s3: Any, heard: Any) -> None:
    s3.create_bucket(Bucket="silent")
    s3.put_object(Bucket="silent", Key="a", Body=b"")
    s3.put_object(Bucket=BUCKET, Key="loud", Body=b"")
    assert [event["detail"]["bucket"]["name"] for event in heard(1)] == [BUCKET]


def test_events_that_a_program_puts_arrive_with_their_detail(aws: Any, heard: Any) -> None:
    entry = {"Source": "platform", "DetailType": "Pipeline Run Settled", "Detail": json.dumps({"run_key": "runs/a"})}
    answer = aws.client("events").put_events(Entries=[entry, {**entry, "Source": "another"}])
    assert answer["FailedEntryCount"] == 0
    (event,) = heard(1)
    assert (event["source"], event["detail-type"]) == ("platform", "Pipeline Run Settled")
    assert event["detail"] == {"run_key": "runs/a"}


def test_an_object_is_put_once_where_it_must_not_be_there_yet(s3: Any, heard: Any) -> None:
    s3.put_object(Bucket=BUCKET, Key="once", Body=b"first", IfNoneMatch="*")
    with pytest.raises(ClientError) as caught:
        s3.put_object(Bucket=BUCKET, Key="once", Body=b"second", IfNoneMatch="*")
    assert caught.value.response["Error"]["Code"] == "PreconditionFailed"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 412
    assert s3.get_object(Bucket=BUCKET, Key="once")["Body"].read() == b"first"
