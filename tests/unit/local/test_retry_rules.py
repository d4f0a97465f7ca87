"""AWS Batch's evaluateOnExit, with the rules that the platform deploys."""

import pytest

from local.batch.retry_rules import AttemptEnd, is_retried, rule_matches

RULES = [
    {"onStatusReason": "Host EC2*", "action": "RETRY"},
    {"onReason": "CannotPull*", "action": "RETRY"},
    {"onStatusReason": "Task failed to start*", "action": "RETRY"},
    {"onExitCode": "75", "action": "RETRY"},
    {"onReason": "*", "action": "EXIT"},
]
STRATEGY = {"attempts": 3, "evaluateOnExit": RULES}


@pytest.mark.parametrize(
    ("end", "retried"),
    [
        (AttemptEnd(exit_code=137, status_reason="Host EC2 (instance i-0) terminated."), True),
        (AttemptEnd(exit_code=None, reason="CannotPullContainerError: no space", status_reason="Task stopped"), True),
        (AttemptEnd(exit_code=None, reason="DockerTimeoutError", status_reason="Task failed to start"), True),
        (AttemptEnd(exit_code=75), True),
        (AttemptEnd(exit_code=1), False),
        (AttemptEnd(exit_code=2), False),
        (AttemptEnd(exit_code=137, reason="OutOfMemoryError: Container killed due to memory usage"), False),
    ],
)
def test_only_what_is_not_the_jobs_fault_is_retried(end: AttemptEnd, retried: bool) -> None:
    assert is_retried(STRATEGY, 1, end) is retried


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
