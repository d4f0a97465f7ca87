"""Wherever the dispatcher dies, the delivery that follows leaves exactly one chain."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ConnectionClosedError
from lambda_platform import Platform, forget_records

from splatworks.contract.documents.codec import DocumentError

SERVICES = ("dynamodb", "s3", "batch")


class Killed(BaseException):
    """As if the process had gone: no handler of the function sees it."""


def pipeline(**data: Any) -> dict[str, Any]:
    return {"trigger_type": "splat_pipeline", "data": {"input": "photos/my-scene/", **data}}


@contextmanager
def struck(at: int, how: str) -> Iterator[list[str]]:
    """The at-th AWS call is the last one: it is not sent, or its answer is not read. Lists the calls."""
    from aws import clients as aws_clients

    calls: list[str] = []
    unregister: list[Callable[[], None]] = []

    def before(event_name: str, **_: Any) -> AWSResponse | None:
        calls.append(event_name.removeprefix("before-send."))
        if len(calls) == at and how == "killed before":
            raise Killed
        if len(calls) == at and how == "not reached":
            raise ConnectionClosedError(endpoint_url="https://aws")
        return None

    def after(**_: Any) -> None:
        if len(calls) == at and how == "killed after":
            raise Killed

    for service in SERVICES:
        events = aws_clients.client(service).meta.events
        for name, handler in ((f"before-send.{service}", before), (f"after-call.{service}", after)):
            events.register_first(name, handler)
            unregister.append(lambda events=events, name=name, handler=handler: events.unregister(name, handler))  # type: ignore[misc]
    try:
        yield calls
    finally:
        for each in unregister:
            each()


def let_the_lock_expire() -> None:
    """The record of a function that was killed says in progress until the function's timeout is over."""
    table = boto3.resource("dynamodb").Table("demo-idempotency")
    for item in table.scan()["Items"]:
        if item["status"] == "INPROGRESS":
            table.update_item(
                Key={"id": item["id"]},
                UpdateExpression="SET in_progress_expiration = :past",
                ExpressionAttributeValues={":past": 1},
            )


def jobs_of(platform: Platform, run_id: str) -> dict[str, list[dict[str, Any]]]:
    batch = boto3.client("batch")
    found = {}
    for stage, kind in (("sfm", "cpu"), ("train", "gpu"), ("compress", "cpu")):
        filters = [{"name": "JOB_NAME", "values": [f"{run_id}-{stage}"]}]
        listed = batch.list_jobs(jobQueue=platform.queues[kind], filters=filters)["jobSummaryList"]
        ids = [job["jobId"] for job in listed]
        found[stage] = batch.describe_jobs(jobs=ids)["jobs"] if ids else []
    return found


def strike_everywhere(platform: Platform, how: str, scene: str) -> int:
    """Strikes at the first call, at the second, and so on; says at how many there was one to strike at."""
    for at in range(1, 100):
        message = pipeline(input=scene, request_id=f"{how.replace(' ', '-')}-{at}")
        with struck(at, how) as calls:
            try:
                platform.dispatch(message, f"{how}-{at}")
                survived = True
            except (Killed, Exception):
                survived = False
        if survived and len(calls) < at:
            return at - 1
        let_the_lock_expire()
        answer = platform.dispatch(message, f"{how}-{at}")
        check_one_chain(platform, answer, f"{how} call {at}, {calls[at - 1]}")
    raise AssertionError("the dispatcher never came to an end")


def check_one_chain(platform: Platform, answer: dict[str, Any], when: str) -> None:
    jobs = jobs_of(platform, answer["run_id"])
    assert {stage: [job["jobId"] for job in found] for stage, found in jobs.items()} == {
        stage: [job_id] for stage, job_id in answer["jobs"].items()
    }, when
    assert [job["dependsOn"] for stage in ("train", "compress") for job in jobs[stage]] == [
        [{"jobId": answer["jobs"]["sfm"]}],
        [{"jobId": answer["jobs"]["train"]}],
    ], when
    s3 = boto3.client("s3")
    prefix = answer["output"].removeprefix("s3://demo-output/")
    keys = {item["Key"] for item in s3.list_objects_v2(Bucket="demo-output", Prefix=prefix)["Contents"]}
    assert keys == {
        f"{prefix}{name}" for name in ("run.json", "sfm/request.json", "train/request.json", "compress/request.json")
    }, when


@pytest.mark.parametrize("how", ["killed before", "killed after", "not reached"])
def test_a_dispatcher_that_dies_at_any_call_leaves_one_chain_after_the_retry(
    platform: Platform, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    platform.put("demo-input", f"photos/{how}/1.jpg")

    assert strike_everywhere(platform, how, f"photos/{how}/") >= 14
    assert platform.emails() == []


def test_a_retry_leaves_the_request_of_a_stage_alone_that_is_submitted(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its result may be there already, and would no more count beside a younger file."""
    monkeypatch.setattr("time.sleep", lambda _: None)
    message = pipeline(input="photos/my-scene/", request_id="late")
    answer = platform.dispatch(message, "late")
    prefix = answer["output"].removeprefix("s3://demo-output/")
    boto3.client("s3").delete_object(Bucket="demo-output", Key=f"{prefix}sfm/request.json")
    forget_records()

    assert platform.dispatch(message, "late") == answer

    assert platform.stored(f"{prefix}run.json"), "it is the same run"
    with pytest.raises(boto3.client("s3").exceptions.NoSuchKey):
        platform.stored(f"{prefix}sfm/request.json")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"version": 2}, "version 2; this program reads up to version 1. Run terraform apply"),
        ({"version": 1}, "has no run_id"),
        (b"{", "is not JSON"),
    ],
)
def test_a_run_that_cannot_be_read_is_a_fault_with_its_reason_and_nothing_is_submitted(
    platform: Platform, content: Any, reason: str
) -> None:
    answer = platform.dispatch(pipeline(request_id="nightly-1"), "one")
    before = len(platform.submissions)
    key = f"{answer['output'].removeprefix('s3://demo-output/')}run.json"
    platform.put("demo-output", key, content)
    forget_records()
    other = pipeline(request_id="nightly-2")

    with pytest.raises(DocumentError, match=reason) as raised:
        platform.dispatch_all([(pipeline(request_id="nightly-1"), "one"), (other, "two")])

    assert key in str(raised.value)
    names = [each["jobName"] for each in platform.submissions[before:]]
    assert len(names) == 3, "the other message of the event is answered"
    assert not any(name.startswith(answer["run_id"]) for name in names)
    assert platform.emails() == []
