"""Identity policies, and what a request asks for in their words."""

import json
from typing import Any

import pytest

from local.iam.policy_evaluation import is_allowed
from local.iam.request_actions import ApiRequest, asked, condition_keys

READ = {"Effect": "Allow", "Action": ["s3:Get*"], "Resource": "arn:aws:s3:::photos/*"}
CONTEXT = {"aws:RequestedRegion": "us-east-1"}
BATCH = "arn:aws:batch:us-east-1:123456789012"


def allowed(*statements: dict[str, Any], action: str = "s3:GetObject", resource: str = "arn:aws:s3:::photos/a") -> bool:
    return is_allowed([{"Statement": list(statements)}], action, resource, CONTEXT)


def test_what_nothing_allows_is_denied() -> None:
    assert not allowed()
    assert not allowed(READ, action="s3:PutObject")
    assert not allowed(READ, resource="arn:aws:s3:::other/a")


def test_patterns_match_actions_in_any_case_and_resources_exactly() -> None:
    assert allowed(READ)
    assert allowed({**READ, "Action": "S3:getobject"})
    assert not allowed(READ, resource="arn:aws:s3:::PHOTOS/a")
    assert not allowed({**READ, "Resource": "arn:aws:s3:::photos/[ab]"})


def test_a_denial_wins_over_any_permission_wherever_it_stands() -> None:
    deny = {"Effect": "Deny", "Action": "s3:*", "Resource": "*"}
    assert not allowed(READ, deny)
    assert not is_allowed([{"Statement": READ}, {"Statement": deny}], "s3:GetObject", "arn:aws:s3:::photos/a", CONTEXT)


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ({"StringEquals": {"aws:RequestedRegion": "us-east-1"}}, True),
        ({"StringEquals": {"aws:RequestedRegion": ["eu-west-1", "us-east-1"]}}, True),
        ({"StringEquals": {"aws:RequestedRegion": "eu-west-1"}}, False),
        ({"StringLike": {"aws:RequestedRegion": "us-*"}}, True),
        ({"StringEquals": {"aws:PrincipalTag/team": "a"}}, False),
        ({"StringEqualsIfExists": {"aws:PrincipalTag/team": "a"}}, True),
    ],
)
def test_conditions_on_what_is_known_are_evaluated_and_others_hold_for_nothing(
    condition: dict[str, Any], holds: bool
) -> None:
    assert allowed({**READ, "Condition": condition}) is holds


def request(service: str, method: str = "POST", path: str = "/", query: str = "", **fields: Any) -> ApiRequest:
    body = fields.pop("body", b"")
    headers = fields.pop("headers", {})
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return ApiRequest(
        service=service,
        region="us-east-1",
        account="123456789012",
        method=method,
        path=path,
        query=query,
        headers=headers,
        body=data,
    )


@pytest.mark.parametrize(
    ("method", "path", "query", "expected"),
    [
        ("GET", "/photos/a/b.jpg", "", [("s3:GetObject", "arn:aws:s3:::photos/a/b.jpg")]),
        ("HEAD", "/photos/a", "", [("s3:GetObject", "arn:aws:s3:::photos/a")]),
        ("GET", "/photos", "list-type=2&prefix=a", [("s3:ListBucket", "arn:aws:s3:::photos")]),
        ("PUT", "/photos/a%20b", "", [("s3:PutObject", "arn:aws:s3:::photos/a b")]),
        ("POST", "/photos/a", "uploads", [("s3:PutObject", "arn:aws:s3:::photos/a")]),
        ("PUT", "/photos/a", "partNumber=1&uploadId=x", [("s3:PutObject", "arn:aws:s3:::photos/a")]),
        ("DELETE", "/photos/a", "uploadId=x", [("s3:AbortMultipartUpload", "arn:aws:s3:::photos/a")]),
        ("DELETE", "/photos/a", "", [("s3:DeleteObject", "arn:aws:s3:::photos/a")]),
    ],
)
def test_s3_requests(method: str, path: str, query: str, expected: list[tuple[str, str]]) -> None:
    assert asked(request("s3", method, path, query)) == expected


def test_deleting_many_objects_asks_for_each_of_them() -> None:
    body = b"<Delete><Object><Key>a</Key></Object><Object><Key>b/c</Key></Object></Delete>"
    found = asked(request("s3", "POST", "/photos", "delete", body=body))
    assert found == [("s3:DeleteObject", "arn:aws:s3:::photos/a"), ("s3:DeleteObject", "arn:aws:s3:::photos/b/c")]


def test_submitting_asks_for_the_queue_and_the_definition_and_for_the_tags() -> None:
    body = {"jobQueue": "gpu", "jobDefinition": f"{BATCH}:job-definition/d:1", "tags": {"user": "ann"}}
    assert asked(request("batch", path="/v1/submitjob", body=body)) == [
        ("batch:SubmitJob", f"{BATCH}:job-queue/gpu"),
        ("batch:SubmitJob", f"{BATCH}:job-definition/d:1"),
        ("batch:TagResource", f"{BATCH}:job/new"),
    ]


def test_json_and_form_requests_name_their_resource() -> None:
    put = {"x-amz-target": "DynamoDB_20120810.PutItem"}
    table = asked(request("dynamodb", body={"TableName": "once"}, headers=put))
    assert table == [("dynamodb:PutItem", "arn:aws:dynamodb:us-east-1:123456789012:table/once")]
    send = {"x-amz-target": "AmazonSQS.SendMessage"}
    letter = asked(request("sqs", body={"QueueUrl": "http://127.0.0.1:1/123456789012/dlq"}, headers=send))
    assert letter == [("sqs:SendMessage", "arn:aws:sqs:us-east-1:123456789012:dlq")]
    topic = asked(request("sns", body=b"Action=Publish&TopicArn=arn%3Aaws%3Asns%3Aus-east-1%3A1%3Amail&Message=m"))
    assert topic == [("sns:Publish", "arn:aws:sns:us-east-1:1:mail")]


def test_events_ask_for_their_bus_and_tell_their_source() -> None:
    entries = [{"Source": "platform", "DetailType": "Settled"}, {"Source": "another", "EventBusName": "mine"}]
    put = request("events", body={"Entries": entries}, headers={"x-amz-target": "AWSEvents.PutEvents"})
    bus = "arn:aws:events:us-east-1:123456789012:event-bus"
    assert asked(put) == [("events:PutEvents", f"{bus}/default"), ("events:PutEvents", f"{bus}/mine")]
    assert [keys["events:source"] for keys in condition_keys(put)] == ["platform", "another"]
    assert condition_keys(put)[0]["events:detail-type"] == "Settled"


def test_images_and_roles_are_asked_for_by_their_arn() -> None:
    describe = {"x-amz-target": "AmazonEC2ContainerRegistry_V20150921.DescribeImages"}
    images = asked(request("ecr", body={"repositoryName": "ml-python"}, headers=describe))
    assert images == [("ecr:DescribeImages", "arn:aws:ecr:us-east-1:123456789012:repository/ml-python")]
    role = "arn:aws:iam::123456789012:role/links"
    form = f"Action=AssumeRole&RoleArn={role}&RoleSessionName=x".encode()
    assert asked(request("sts", body=form)) == [("sts:AssumeRole", role)]
