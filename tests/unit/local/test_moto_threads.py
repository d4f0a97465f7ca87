"""What moto must bear that one call at a time does not show: many do the same thing at the same moment."""

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
import moto.s3.models
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from moto.awslambda.models import lambda_backends
from moto.awslambda.utils import get_backend
from moto.core import DEFAULT_ACCOUNT_ID
from moto.core.config import default_user_config
from moto.dynamodb.models.table import Table
from moto.ec2.models import ec2_backends
from moto.events.models import Rule
from moto.s3.models import S3Backend

from local.moto import fixes
from local.moto.hooks import Hooks

REGION = "us-east-1"


@pytest.fixture
def slow_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever looks whether something is there acts on it only a moment later."""

    def slowed(owner: Any, name: str) -> None:
        look = getattr(owner, name)

        def slow(*args: Any, **kwargs: Any) -> Any:
            found = look(*args, **kwargs)
            time.sleep(0.05)
            return found

        monkeypatch.setattr(owner, name, slow)

    slowed(S3Backend, "get_object")
    slowed(Table, "get_item")


def test_of_many_who_put_at_once_one_is_the_first(aws: Any, slow_looks: None) -> None:
    s3, dynamodb = aws.client("s3"), aws.client("dynamodb")
    s3.create_bucket(Bucket="firsts")
    dynamodb.create_table(
        TableName="firsts",
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
    )

    def put_object(_: int) -> bool:
        return succeeds(lambda: s3.put_object(Bucket="firsts", Key="first", Body=b"x", IfNoneMatch="*"))

    def put_item(_: int) -> bool:
        item, unless = {"id": {"S": "first"}}, "attribute_not_exists(id)"
        return succeeds(lambda: dynamodb.put_item(TableName="firsts", Item=item, ConditionExpression=unless))

    with ThreadPoolExecutor(8) as pool:
        for put in (put_object, put_item):
            assert sum(pool.map(put, range(8))) == 1, put


def s3_options(aws: Any) -> dict[str, str]:
    return {
        "endpoint_url": aws.endpoint_url,
        "region_name": "us-east-1",
        "aws_access_key_id": "embedded",
        "aws_secret_access_key": "embedded",
    }


def succeeds(call: Callable[[], Any]) -> bool:
    try:
        call()
    except ClientError as error:
        assert error.response["Error"]["Code"] in ("PreconditionFailed", "ConditionalCheckFailedException")
        return False
    return True


def test_versions_are_listed_while_others_delete_them(aws: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    s3 = boto3.client("s3", **s3_options(aws), config=Config(retries={"total_max_attempts": 1}))
    s3.create_bucket(Bucket="versions")
    for key in ("a", "b", "c"):
        s3.put_object(Bucket="versions", Key=key, Body=b"x")
    copy, deleted = moto.s3.models.copy.deepcopy, []

    def delete_meanwhile(versions: Any, *more: Any) -> Any:
        if not deleted:
            deleted.append("c")
            aws.client("s3").delete_object(Bucket="versions", Key="c")
        return copy(versions, *more)

    monkeypatch.setattr(moto.s3.models.copy, "deepcopy", delete_meanwhile)
    listed = {version["Key"] for version in s3.list_object_versions(Bucket="versions")["Versions"]}
    assert deleted and {"a", "b"} <= listed


class SlowList(list[Any]):
    """Whoever goes through it takes its time, and others change it meanwhile."""

    def __iter__(self) -> Iterator[Any]:
        for item in super().__iter__():
            time.sleep(0.01)
            yield item


def test_permissions_that_are_removed_at_once_are_all_gone(aws: Any) -> None:
    """Terraform removes all of a function's at the same time."""
    functions, names = aws.client("lambda"), [f"permission-{number}" for number in range(8)]
    trust = json.dumps({"Version": "2012-10-17", "Statement": []})
    role = aws.client("iam").create_role(RoleName="permitted", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    functions.create_function(
        FunctionName="permitted", Runtime="python3.12", Role=role, Handler="app.handler", Code={"ZipFile": b"none"}
    )
    for name in names:
        functions.add_permission(
            FunctionName="permitted", StatementId=name, Action="lambda:InvokeFunction", Principal="sns.amazonaws.com"
        )
    policy = lambda_backends[DEFAULT_ACCOUNT_ID][REGION].get_function("permitted").policy
    policy.statements = SlowList(policy.statements)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: functions.remove_permission(FunctionName="permitted", StatementId=name), names))
    assert policy.statements == []


def test_rules_of_a_group_that_are_revoked_at_once_are_all_gone(aws: Any) -> None:
    ec2 = aws.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    name = ec2.create_security_group(GroupName="revoked", Description="revoked", VpcId=vpc)["GroupId"]
    ranges = [{"CidrIp": f"10.0.{number}.0/24"} for number in range(8)]
    allowed = {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "IpRanges": ranges}
    rules = ec2.authorize_security_group_egress(GroupId=name, IpPermissions=[allowed])["SecurityGroupRules"]
    assert len(rules) == 8
    group = ec2_backends[DEFAULT_ACCOUNT_ID][REGION].get_security_group_from_id(name)
    kept = {rule.id for rule in group.egress_rules} - {rule["SecurityGroupRuleId"] for rule in rules}
    group.egress_rules = SlowList(group.egress_rules)

    def revoke(rule: dict[str, Any]) -> None:
        ec2.revoke_security_group_egress(GroupId=name, SecurityGroupRuleIds=[rule["SecurityGroupRuleId"]])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(revoke, rules))
    assert {rule.id for rule in group.egress_rules} == kept
    with pytest.raises(ClientError, match=r"InvalidPermission\.NotFound"):
        revoke(rules[0])


def test_the_only_rule_of_a_new_group_can_be_revoked_again(aws: Any) -> None:
    ec2 = aws.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    name = ec2.create_security_group(GroupName="emptied", Description="emptied", VpcId=vpc)["GroupId"]
    for _ in range(2):
        ec2.revoke_security_group_egress(
            GroupId=name, IpPermissions=[{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
        )
    assert ec2.describe_security_groups(GroupIds=[name])["SecurityGroups"][0]["IpPermissionsEgress"] == []


def test_targets_of_a_rule_that_are_removed_at_once_are_all_gone(aws: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    events, names = aws.client("events"), [f"target-{number}" for number in range(8)]
    events.put_rule(Name="removed", EventPattern=json.dumps({"source": ["nobody"]}))
    queue = f"arn:aws:sqs:{REGION}:{DEFAULT_ACCOUNT_ID}:nobody"
    events.put_targets(Rule="removed", Targets=[{"Id": name, "Arn": queue} for name in (*names, "kept")])
    look = Rule._check_target_exists

    def slow_look(rule: Rule, target_id: str) -> int | None:
        index = look(rule, target_id)
        time.sleep(0.01)
        return index

    monkeypatch.setattr(Rule, "_check_target_exists", slow_look)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: events.remove_targets(Rule="removed", Ids=[name]), names))
    assert [target["Id"] for target in events.list_targets_by_rule(Rule="removed")["Targets"]] == ["kept"]


def test_what_an_earlier_server_was_told_about_docker_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    """moto keeps its settings for the whole process, and by this one answers for functions from other backends."""
    monkeypatch.setitem(default_user_config, "lambda", {"use_docker": False})
    hooks = Hooks()
    fixes.install(hooks)
    try:
        assert get_backend(DEFAULT_ACCOUNT_ID, REGION) is lambda_backends[DEFAULT_ACCOUNT_ID][REGION]
    finally:
        hooks.restore()
    assert default_user_config["lambda"] == {"use_docker": False}
