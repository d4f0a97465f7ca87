"""AWS Batch's evaluateOnExit, with the rules that the platform deploys, and what AWS refuses."""

import re
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.batch.retry_rules import AttemptEnd, check_strategy, is_retried, rule_matches
from splatworks.contract.exit_codes import FINAL, ContainerCode
from splatworks.contract.retries import FINAL_CODES, FINAL_REASONS

MAIN = Path(__file__).parents[3] / "modules" / "batch" / "main.tf"
RULE = re.compile(r"^    \{ (\w+) = \"([^\"]*)\", action = \"(\w+)\" \},", re.MULTILINE)
RULES = [{name: pattern, "action": action} for name, pattern, action in RULE.findall(MAIN.read_text())]
STRATEGY = {"attempts": 3, "evaluateOnExit": RULES}

DIGEST = f"busybox@sha256:{'0' * 64}"
# Texts of amazon-ecs-agent (integration tests and error_messages.go), ECR, Docker and Docker Hub.
MISSING_IMAGES = [
    "CannotPullImageManifestError: Error response from daemon: manifest unknown: manifest unknown",
    "CannotPullImageManifestError: Error response from daemon: manifest unknown: Requested image not found",
    "CannotPullContainerError: Error response from daemon: manifest for 123456789012.dkr.ecr.us-east-1.amazonaws.com/"
    "demo-ml-python:latest not found: manifest unknown: Requested image not found",
    f"CannotPullContainerError: Error response from daemon: manifest for {DIGEST} not found: manifest unknown: "
    "manifest unknown",
]
PASSING_PULL_FAULTS = [
    "CannotPullImageManifestError: Error response from daemon: toomanyrequests: Request exceeded pull rate limit",
    'CannotPullContainerError: Error response from daemon: Get "https://registry-1.docker.io/v2/": net/http: request '
    "canceled while waiting for connection (Client.Timeout exceeded while awaiting headers)",
    "CannotPullContainerError: The task can\u2019t pull the image. Check your network configuration. Error response",
    "CannotPullContainerError: context canceled",
    "CannotPullContainerError: write /var/lib/docker/tmp/GetImageBlob1: no space left on device",
    "CannotPullECRContainerError: RequestError: send request failed",
]


def test_the_deployed_rules_are_the_contracts_and_all_of_them_end_a_job() -> None:
    assert {rule["action"] for rule in RULES} == {"EXIT"}
    assert [rule["onExitCode"] for rule in RULES if "onExitCode" in rule] == list(FINAL_CODES)
    assert [rule["onReason"] for rule in RULES if "onReason" in rule] == [f"{reason}*" for reason in FINAL_REASONS]


def test_aws_takes_the_deployed_rules() -> None:
    assert len(RULES) == 5 and check_strategy(STRATEGY) == ""


def test_only_the_final_codes_are_final() -> None:
    for code in range(1, 256):
        assert is_retried(STRATEGY, 1, AttemptEnd(exit_code=code)) is (code not in FINAL), code


@pytest.mark.parametrize(
    ("end", "retried"),
    [
        (AttemptEnd(exit_code=137, status_reason="Host EC2 (instance i-0) terminated."), True),
        (AttemptEnd(exit_code=143), True),
        (AttemptEnd(exit_code=137), True),
        (AttemptEnd(exit_code=None, status_reason="Host EC2 (instance i-0) terminated."), True),
        (AttemptEnd(exit_code=None, reason="DockerTimeoutError", status_reason="Task failed to start"), True),
        (AttemptEnd(exit_code=None, reason="CannotInspectContainerError: Could not transition to inspecting"), True),
        (AttemptEnd(exit_code=ContainerCode.RETRY), True),
        (AttemptEnd(exit_code=ContainerCode.INPUT_ERROR), False),
        (AttemptEnd(exit_code=ContainerCode.FAILED), False),
        (AttemptEnd(exit_code=137, reason="OutOfMemoryError: Container killed due to memory usage"), False),
        *(
            (AttemptEnd(exit_code=None, reason=each, status_reason="Task failed to start"), False)
            for each in MISSING_IMAGES
        ),
        *(
            (AttemptEnd(exit_code=None, reason=each, status_reason="Task failed to start"), True)
            for each in PASSING_PULL_FAULTS
        ),
    ],
)
def test_only_what_the_next_attempt_would_meet_as_well_is_final(end: AttemptEnd, retried: bool) -> None:
    assert is_retried(STRATEGY, 1, end) is retried


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"attempts": 0}, "attempts must be 1 to 10, not 0"),
    ({"evaluateOnExit": [{"onExitCode": "1", "action": "EXIT"}] * 6}, "at most 5 rules, not 6"),
    ({"evaluateOnExit": [{"onExitCode": "1"}]}, r"evaluateOnExit\[0\].action must be RETRY or EXIT, not None"),
    ({"evaluateOnExit": [{"onExitCode": "1", "action": "STOP"}]}, "action must be RETRY or EXIT, not 'STOP'"),
    (
        {"evaluateOnExit": [{"onReason": "*", "action": "EXIT"}, {"onReason": "Host*EC2", "action": "EXIT"}]},
        r"\[1\].onReason",
    ),
    ({"evaluateOnExit": [{"onStatusReason": "*EC2", "action": "EXIT"}]}, "end with an asterisk"),
    ({"evaluateOnExit": [{"onStatusReason": "Host EC2 (i*", "action": "EXIT"}]}, "letters, digits, periods, colons"),
    ({"evaluateOnExit": [{"onReason": "Docker?", "action": "EXIT"}]}, "letters, digits, periods, colons"),
    ({"evaluateOnExit": [{"onExitCode": "1.5", "action": "EXIT"}]}, "can contain digits"),
    ({"evaluateOnExit": [{"onExitCode": "7**", "action": "EXIT"}]}, "can contain digits"),
    ({"evaluateOnExit": [{"onReason": "x" * 513, "action": "EXIT"}]}, "at most 512 characters, not 513"),
]


@pytest.mark.parametrize(("strategy", "message"), REFUSED)
def test_a_strategy_that_aws_refuses_is_refused(strategy: dict[str, Any], message: str) -> None:
    assert re.search(message, check_strategy(strategy))


@pytest.mark.parametrize("action", ["RETRY", "exit", "Exit"])
def test_a_pattern_may_be_as_long_as_aws_takes_and_end_with_an_asterisk(action: str) -> None:
    rule = {
        "onReason": "x" * 511 + "*",
        "onExitCode": "7*",
        "onStatusReason": "Task: failed. to\tstart*",
        "action": action,
    }
    assert check_strategy({"attempts": 10, "evaluateOnExit": [rule] * 5}) == ""


def test_the_embedded_aws_refuses_such_a_submission_and_such_a_definition(queue: Any) -> None:
    strategy = {"attempts": 2, "evaluateOnExit": [{"onStatusReason": "Host*terminated.", "action": "RETRY"}]}
    with pytest.raises(ClientError, match="evaluateOnExit") as refused:
        queue.submit("exit", "0", retryStrategy=strategy)
    assert refused.value.response["Error"]["Code"] == "ClientException"
    properties = {
        "image": "x",
        "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "64"}],
    }
    with pytest.raises(ClientError, match="evaluateOnExit"):
        queue.batch.register_job_definition(
            jobDefinitionName="refused", type="container", containerProperties=properties, retryStrategy=strategy
        )
    assert queue.batch.describe_job_definitions(jobDefinitionName="refused")["jobDefinitions"] == []


def test_success_is_never_retried() -> None:
    assert not is_retried({"attempts": 3}, 1, AttemptEnd(exit_code=0))


def test_the_last_attempt_has_no_successor() -> None:
    assert is_retried(STRATEGY, 2, AttemptEnd(exit_code=75))
    assert not is_retried(STRATEGY, 3, AttemptEnd(exit_code=75))


def test_without_rules_every_failure_is_retried() -> None:
    assert is_retried({"attempts": 2}, 1, AttemptEnd(exit_code=2))


def test_what_no_rule_matches_is_retried() -> None:
    strategy = {"attempts": 2, "evaluateOnExit": [{"onExitCode": "2", "action": "EXIT"}]}
    assert is_retried(strategy, 1, AttemptEnd(exit_code=3))
    assert not is_retried(strategy, 1, AttemptEnd(exit_code=2))


def test_a_terminated_or_timed_out_job_is_not_retried_whatever_the_rules_say() -> None:
    end = AttemptEnd(exit_code=143, status_reason="Job attempt duration exceeded timeout", final=True)
    assert not is_retried({"attempts": 10}, 1, end)


def test_a_terminated_job_failed_even_if_it_exited_with_zero() -> None:
    assert not AttemptEnd(exit_code=0, final=True).succeeded


def test_the_first_matching_rule_decides() -> None:
    rules = [{"onExitCode": "7*", "action": "EXIT"}, {"onExitCode": "75", "action": "RETRY"}]
    assert not is_retried({"attempts": 2, "evaluateOnExit": rules}, 1, AttemptEnd(exit_code=75))


def test_all_conditions_of_a_rule_must_hold() -> None:
    rule = {"onExitCode": "137", "onReason": "OutOfMemory*", "action": "RETRY"}
    assert rule_matches(rule, AttemptEnd(exit_code=137, reason="OutOfMemoryError: killed"))
    assert not rule_matches(rule, AttemptEnd(exit_code=137))


def test_actions_are_read_in_any_case() -> None:
    strategy = {"attempts": 2, "evaluateOnExit": [{"onReason": "*", "action": "exit"}]}
    assert not is_retried(strategy, 1, AttemptEnd(exit_code=1))


def test_an_asterisk_matches_an_absent_reason_and_an_inner_one_matches_only_itself() -> None:
    assert rule_matches({"onReason": "*"}, AttemptEnd(exit_code=1))
    assert not rule_matches({"onStatusReason": "Host*terminated."}, AttemptEnd(exit_code=1, status_reason="Host EC2"))
