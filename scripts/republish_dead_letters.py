"""Publish what lies in the dispatcher's dead-letter queue again; a dead letter is deleted only once it is published.

Lambda's dead letters cannot be moved back by SQS's own redrive: no source queue is recorded for them.
"""

import argparse
import json
import shlex
import sys
import time
from collections.abc import Iterator
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

HIDDEN_SECONDS = 300  # how long a message that we looked at stays out of everybody's sight
SNS_LIMIT = 262_144  # bytes


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("queue_url", help='"$(terraform output -raw trigger_dlq_url)"')
    parser.add_argument("topic_arn", help='"$(terraform output -raw trigger_events_topic_arn)"')
    parser.add_argument("--refused", action="store_true", help="also what was refused, once its cause is mended")
    options = parser.parse_args()
    try:
        published, left = republish(options.queue_url, options.topic_arn, refused_too=options.refused)
    except (BotoCoreError, ClientError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"published again: {published}, left where they are: {left}")
    return 0


def republish(queue_url: str, topic_arn: str, *, refused_too: bool) -> tuple[int, int]:
    """How many messages were published, and how many dead letters were left in the queue."""
    sqs, sns = boto3.client("sqs"), boto3.client("sns")
    published = left = 0
    for letter in letters(sqs, queue_url):
        reason = attribute(letter, "reason")
        messages = [refused_text(letter)] if reason else messages_in(letter["Body"])
        if reason and not refused_too:
            print(f"left: refused, {reason} (publish it again with --refused)")
            left += 1
        elif upload := upload_in(letter["Body"]):
            print(f"left: an upload, start it again with: aws s3 cp {upload} {upload} --metadata-directive REPLACE")
            left += 1
        elif not all(0 < len(message.encode()) <= SNS_LIMIT for message in messages):
            print(f"left: {letter['MessageId']} is empty or larger than SNS takes")
            left += 1
        else:
            for message in messages:
                print(f"published: {message[:100]}")
                sns.publish(TopicArn=topic_arn, Message=message)
                published += 1
            sqs.delete_message(QueueUrl=queue_url, ReceiptHandle=letter["ReceiptHandle"])
    return published, left


def letters(sqs: Any, queue_url: str) -> Iterator[dict[str, Any]]:
    """What lay in the queue when we began: what is published again may come back, and must not go round for ever."""
    began = time.time() * 1000
    seen: set[str] = set()
    while True:
        found = sqs.receive_message(
            QueueUrl=queue_url,
            MaxNumberOfMessages=10,
            MessageAttributeNames=["All"],
            MessageSystemAttributeNames=["SentTimestamp"],
            VisibilityTimeout=HIDDEN_SECONDS,
            WaitTimeSeconds=2,
        ).get("Messages", [])
        old = [letter for letter in found if float(letter["Attributes"]["SentTimestamp"]) <= began]
        new_to_us = [letter for letter in old if letter["MessageId"] not in seen]
        if not new_to_us:
            return
        seen.update(letter["MessageId"] for letter in new_to_us)
        yield from new_to_us


def attribute(letter: dict[str, Any], name: str) -> str | None:
    value: str | None = letter.get("MessageAttributes", {}).get(name, {}).get("StringValue")
    return value


def refused_text(letter: dict[str, Any]) -> str:
    """As it was published: the dispatcher writes a text that SQS would not take as a JSON string."""
    body: str = letter["Body"]
    return str(json.loads(body)) if attribute(letter, "body_encoding") == "json-string" else body


def upload_in(body: str) -> str | None:
    """The URI of an upload that should have started a pipeline: its event means nothing to the topic."""
    try:
        event = json.loads(body)
        if event["detail-type"] != "Object Created":
            return None
        return shlex.quote(f"s3://{event['detail']['bucket']['name']}/{event['detail']['object']['key']}")
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def messages_in(body: str) -> list[str]:
    """What was published: Lambda's envelope holds SNS records; any other body is the message itself."""
    try:
        envelope = json.loads(body)
        return [record["Sns"]["Message"] for record in envelope["Records"]]
    except (ValueError, KeyError, TypeError, RecursionError):
        return [body]


if __name__ == "__main__":
    sys.exit(main())
