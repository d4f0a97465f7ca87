"""Check the resource policies of functions. On AWS a missing permission loses the event silently; here it is logged."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

from moto.awslambda.models import LambdaFunction, lambda_backends


def function_by_arn(arn: str) -> LambdaFunction:
    _, _, _, region, account, _, name, *_ = arn.split(":")
    function: LambdaFunction = lambda_backends[account][region].get_function(name)
    return function


def may_invoke(function: LambdaFunction, service: str, source_arn: str) -> bool:
    """Tell if the function's policy lets `service`, such as sns.amazonaws.com, invoke it."""
    return any(_allows(statement, service, source_arn) for statement in function.policy.statements)


def _allows(statement: dict[str, Any], service: str, source_arn: str) -> bool:
    if statement.get("Effect") != "Allow" or statement.get("Principal") not in ({"Service": service}, service, "*"):
        return False
    if statement.get("Action") not in ("lambda:InvokeFunction", "lambda:*", "*"):
        return False
    wanted = (statement.get("Condition") or {}).get("ArnLike", {}).get("AWS:SourceArn", "*")
    return fnmatchcase(source_arn, wanted)
