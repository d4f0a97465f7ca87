"""Roles that are assumed: whom their trust lets in, what their policies allow, how long URLs signed by them live."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

ACCOUNT = "123456789012"
BUCKET = "assumed-roles"


def make_role(aws: Any, name: str, trust: dict[str, Any], *statements: dict[str, Any]) -> str:
    iam = aws.client("iam")
    document = policy({"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": trust})
    arn: str = iam.create_role(RoleName=name, AssumeRolePolicyDocument=document)["Role"]["Arn"]
    iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=policy(*statements))
    return arn


def policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def session_of(aws: Any, credentials: dict[str, str]) -> Any:
    def client(service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=aws.endpoint_url,
            region_name="us-east-1",
            aws_access_key_id=credentials["AccessKeyId"],
            aws_secret_access_key=credentials["SecretAccessKey"],
            aws_session_token=credentials["SessionToken"],
            config=Config(signature_version="s3v4", s3={"addressing_style": "path"}) if service == "s3" else None,
        )

    return client


@pytest.fixture(scope="module")
def roles(aws: Any) -> Iterator[dict[str, str]]:
    """`caller` may act as anyone who trusts its account; `reader` trusts it by name and reads runs/*."""
    aws.client("s3").create_bucket(Bucket=BUCKET)
    for key in ("runs/page.html", "secret"):
        aws.client("s3").put_object(Bucket=BUCKET, Key=key, Body=b"<p>page</p>", ContentType="text/plain")
    service = {"Service": "lambda.amazonaws.com"}
    read = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{BUCKET}/runs/*"}
    caller = make_role(aws, "caller", service, {"Effect": "Deny", "Action": "s3:*", "Resource": "*"})
    reader = make_role(aws, "reader", {"AWS": caller}, read)
    yield {
        "caller": caller,
        "reader": reader,
        "account": make_role(aws, "account", {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, read),
        "closed": make_role(aws, "closed", service, read),
    }


@pytest.fixture(scope="module")
def caller(aws: Any, roles: dict[str, str]) -> Any:
    """Clients of a process that acts as `caller`, as a function does."""
    variables = aws._services._access.credentials(roles["caller"], "function")
    names = {"AccessKeyId": "AWS_ACCESS_KEY_ID", "SecretAccessKey": "AWS_SECRET_ACCESS_KEY"}
    return session_of(
        aws, {**{k: variables[v] for k, v in names.items()}, "SessionToken": variables["AWS_SESSION_TOKEN"]}
    )


def assume(caller: Any, role: str, **options: Any) -> dict[str, str]:
    found: dict[str, str] = caller("sts").assume_role(RoleArn=role, RoleSessionName="links", **options)["Credentials"]
    return found


def fetch(url: str) -> tuple[int, str, str]:
    """Status, content type and text, as a browser gets them."""
    try:
        with urllib.request.urlopen(url) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers["Content-Type"], error.read().decode()


def test_an_assumed_role_can_do_what_its_policies_allow_and_no_more(
    aws: Any, caller: Any, roles: dict[str, str]
) -> None:
    s3 = session_of(aws, assume(caller, roles["reader"]))("s3")
    assert s3.get_object(Bucket=BUCKET, Key="runs/page.html")["Body"].read() == b"<p>page</p>"
    for call in (
        lambda: s3.get_object(Bucket=BUCKET, Key="secret"),
        lambda: s3.put_object(Bucket=BUCKET, Key="runs/new", Body=b""),
        lambda: caller("s3").get_object(Bucket=BUCKET, Key="runs/page.html"),
    ):
        with pytest.raises(ClientError, match="AccessDenied"):
            call()


def test_a_signed_url_opens_what_the_role_may_read_with_the_content_type_that_was_asked_for(
    aws: Any, caller: Any, roles: dict[str, str]
) -> None:
    s3 = session_of(aws, assume(caller, roles["reader"]))("s3")
    page = {"Bucket": BUCKET, "Key": "runs/page.html", "ResponseContentType": "text/html"}
    assert fetch(s3.generate_presigned_url("get_object", Params=page)) == (200, "text/html", "<p>page</p>")
    status, _, text = fetch(s3.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": "secret"}))
    assert status == 403 and "not authorized to perform: s3:GetObject" in text


def test_a_signed_url_ends_when_it_says(aws: Any, caller: Any, roles: dict[str, str]) -> None:
    s3 = session_of(aws, assume(caller, roles["reader"]))("s3")
    url = s3.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": "runs/page.html"}, ExpiresIn=1)
    time.sleep(2.1)
    status, _, text = fetch(url)
    assert status == 403 and "Request has expired" in text


def test_credentials_end_with_their_session(
    aws: Any, caller: Any, roles: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from local.iam.assumed_roles import Session

    s3 = session_of(aws, assume(caller, roles["reader"], DurationSeconds=900))("s3")
    url = s3.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": "runs/page.html"}, ExpiresIn=3600)
    monkeypatch.setattr(Session, "expired", True)
    status, _, text = fetch(url)
    assert status == 403 and "ExpiredToken" in text


def test_a_session_policy_narrows_the_role(aws: Any, caller: Any, roles: dict[str, str]) -> None:
    secret = policy({"Effect": "Allow", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{BUCKET}/secret"})
    s3 = session_of(aws, assume(caller, roles["reader"], Policy=secret))("s3")
    for key in ("runs/page.html", "secret"):
        with pytest.raises(ClientError, match="AccessDenied"):
            s3.get_object(Bucket=BUCKET, Key=key)


@pytest.mark.parametrize("role", ["account", "closed"])
def test_a_role_that_does_not_trust_the_caller_cannot_be_assumed(caller: Any, roles: dict[str, str], role: str) -> None:
    with pytest.raises(ClientError, match="AccessDenied"):
        assume(caller, roles[role])


def test_a_role_that_trusts_the_account_can_be_assumed_by_whose_policies_say_so(
    aws: Any, caller: Any, roles: dict[str, str]
) -> None:
    allow = {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": roles["account"]}
    aws.client("iam").put_role_policy(RoleName="caller", PolicyName="assume", PolicyDocument=policy(allow))
    assert assume(caller, roles["account"])["AccessKeyId"]


def test_a_role_assumed_by_a_role_lasts_an_hour_at_most(aws: Any, caller: Any, roles: dict[str, str]) -> None:
    with pytest.raises(ClientError, match="1 hour session limit"):
        assume(caller, roles["reader"], DurationSeconds=3601)
    assert aws.client("sts").assume_role(RoleArn=roles["reader"], RoleSessionName="admin", DurationSeconds=3601)
