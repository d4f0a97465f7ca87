"""A platform is found by its name and one call; what is in the way is told with what to do."""

import itertools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.errorfactory import ClientExceptionsFactory
from botocore.exceptions import ClientError

from splatworks.cli.platform import Platform

Splatworks = Callable[..., Any]


def test_everything_comes_from_one_call(deployed: Any) -> None:
    from splatworks.cli.platform import find_platform

    found = find_platform("demo")
    assert found.region == "us-east-1"
    assert found.settings.input_bucket == "demo-input"
    assert [queue.rsplit("/")[-1] for queue in found.queues] == ["gpu", "cpu"]
    assert found.job_log_group == "/aws/batch/demo-ml-jobs"


def test_a_queue_that_serves_two_purposes_is_listed_once(deployed: Any) -> None:
    from splatworks.cli.platform import find_platform

    functions = boto3.client("lambda", "us-east-1")
    name = "demo-ml-trigger-dispatcher"
    variables = functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    compute = json.loads(variables["COMPUTE"])
    for each in compute.values():
        each["on_demand_queue"] = each["queue"]
    variables["COMPUTE"] = json.dumps(compute)
    functions.update_function_configuration(FunctionName=name, Environment={"Variables": variables})
    assert len(find_platform("demo").queues) == 2


def test_a_platform_that_is_not_there_is_told_with_what_was_tried(deployed: Any, splatworks: Splatworks) -> None:
    ended = splatworks("status", "--project", "demmo")
    assert ended.code == 2
    assert "demmo-ml-trigger-dispatcher does not exist" in ended.err
    assert "region us-east-1" in ended.err
    assert "Did you mean demo?" in ended.err


def test_another_region_is_told(deployed: Any, splatworks: Splatworks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    ended = splatworks("status")
    assert ended.code == 2
    assert "region eu-west-1" in ended.err
    assert "set AWS_REGION" in ended.err


def test_a_project_name_is_one_to_the_command_line_where_it_is_one_to_terraform() -> None:
    from splatworks.cli.platform import PROJECT_NAME

    variable = (Path(__file__).parents[3] / "variables.tf").read_text().partition('variable "project_name"')[2]
    condition = re.search(r'can\(regex\("(.+)", var.project_name\)\)(.*)', variable)
    assert condition is not None
    pattern, rest = condition.groups()
    assert rest.count("strcontains") == rest.count('&& !strcontains(var.project_name, "') == rest.count("&&")
    refused = re.findall(r'!strcontains\(var.project_name, "(.+?)"\)', rest)
    letters = ["".join(each) for length in range(6) for each in itertools.product("a0-A", repeat=length)]
    for name in [*letters, "a" * 24, "a" * 25, "a" * 22 + "--", "splat-works-2"]:
        to_terraform = re.search(pattern, name) is not None and not any(text in name for text in refused)
        assert (PROJECT_NAME.fullmatch(name) is not None) == to_terraform, name


@pytest.mark.parametrize("name", ["Demo", "a", "demo; rm -rf /", "demo\n", "-demo", "my--demo"])
def test_a_name_that_terraform_would_refuse_is_not_asked_for(aws: None, splatworks: Splatworks, name: str) -> None:
    ended = splatworks("status", f"--project={name}")
    assert ended.code == 2
    assert "is no project name" in ended.err


def test_without_region_or_credentials_the_message_says_which(
    splatworks: Splatworks, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION", "AWS_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    assert "No AWS region is set" in splatworks("status").err
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    ended = splatworks("status")
    assert (ended.code, "No AWS credentials were found" in ended.err) == (2, True)
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    assert "nobody" in splatworks("status").err


def test_an_endpoint_that_does_not_answer_is_told(splatworks: Splatworks, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr("splatworks.cli.platform.client_config", _impatient)
    ended = splatworks("status")
    assert ended.code == 1
    assert "`make local`" in ended.err


def _impatient(_service: str) -> Any:
    from botocore.config import Config

    return Config(connect_timeout=1, retries={"total_max_attempts": 1})


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("AccessDeniedException", "Ask for lambda:GetFunctionConfiguration on demo-ml-trigger-dispatcher"),
        ("ExpiredTokenException", "have expired"),
        ("UnrecognizedClientException", "not valid for this account"),
        ("TooManyRequestsException", "Try again"),
    ],
)
def test_what_aws_refuses_is_told_in_words(
    deployed: Any, splatworks: Splatworks, monkeypatch: pytest.MonkeyPatch, code: str, told: str
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise ClientError({"Error": {"Code": code, "Message": "no"}}, "GetFunctionConfiguration")

    monkeypatch.setattr("botocore.client.BaseClient._make_api_call", refuse)
    ended = splatworks("status")
    assert ended.code in (1, 2)
    assert told in ended.err


def test_a_dispatcher_of_another_version_is_told(deployed: Any, splatworks: Splatworks) -> None:
    boto3.client("lambda", "us-east-1").update_function_configuration(
        FunctionName="demo-ml-trigger-dispatcher", Environment={"Variables": {"PROJECT_NAME": "demo"}}
    )
    ended = splatworks("status")
    assert ended.code == 2
    assert "different versions" in ended.err


def test_the_exceptions_of_a_client_are_made_before_threads_share_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """botocore makes them at first use, and two threads at once make different ones."""
    session = boto3.Session(region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b")
    made = Platform("demo", "us-east-1", None, {}, session).client("s3")  # type: ignore[arg-type]

    def make(*_: object) -> None:
        raise AssertionError("made at first use")

    monkeypatch.setattr(ClientExceptionsFactory, "create_client_exceptions", make)
    assert issubclass(made.exceptions.NoSuchKey, Exception)
