"""Each way in which a job can fail, and what its e-mail says about it."""

from dataclasses import replace
from typing import Any

import pytest
from lambda_platform import saved_event

from splatworks.contract.documents.job import JobReport, LostAttempt, MachineInfo
from splatworks.contract.documents.result import ResultDocument
from splatworks.contract.failures import Failure
from splatworks.contract.host import BAD_HOST_ERROR
from splatworks.report.attempts import exit_code_in_words, lost_its_machine
from splatworks.report.failure_causes import RULES, Rule, failure_cause
from splatworks.report.job_facts import BatchAttempt, BatchJob, JobFacts, read_detail

ERROR = Failure(code="too_few_photos", cause="2 usable photos, at least 3 are needed", fix="Take more photos.")


def facts(event: str, **known: Any) -> JobFacts:
    saved = saved_event(event)
    job = read_detail(saved["detail"], saved["region"])
    return JobFacts(job=job, **known)


def with_exit(event: str, code: int | None, status_reason: str = "", **known: Any) -> JobFacts:
    found = facts(event, **known)
    last = replace(found.job.attempts[-1], exit_code=code)
    reason = status_reason or found.job.status_reason
    return replace(found, job=replace(found.job, attempts=(last,), status_reason=reason))


def with_reason(event: str, reason: str) -> JobFacts:
    found = facts(event)
    last = replace(found.job.attempts[-1], reason=reason)
    return replace(found, job=replace(found.job, attempts=(last,)))


def stop_requested(code: int, **known: Any) -> JobReport:
    return JobReport(ended="interrupted", exit_code=code, container_exit_code=75, stop_requested=True, **known)


def bad_host(**known: Any) -> JobReport:
    error = Failure(code=BAD_HOST_ERROR, cause="the GPU does not work: no answer", fix="", retryable=True)
    return JobReport(ended="runner_error", exit_code=75, container_exit_code=75, error=error, **known)


CASES = [
    (with_exit("job_script_error", 75, report=bad_host()), "bad machine", "no answer. The machine was taken out"),
    (facts("job_dependency_failed"), "a job it waited for failed", "never started"),
    (facts("job_stuck_in_queue"), "no machine available", "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY"),
    (facts("job_spot_reclaimed"), "spot machine reclaimed", "3 of 3 attempts were used"),
    (facts("job_timeout"), "timeout", "21600 seconds"),
    (facts("job_image_pull"), "the image does not exist", "Requested image not found"),
    (
        with_reason("job_image_pull", "CannotPullContainerError: Error response from daemon: Get: i/o timeout"),
        "image could not be pulled",
        "in 1 of 3 attempts",
    ),
    (facts("job_out_of_memory"), "out of memory", "15000 MiB"),
    (with_exit("job_script_error", 137, report=JobReport(oom_kill=True)), "out of memory", "15000 MiB"),
    (facts("array_failed"), "parts of the array failed", "1 of 4"),
    (facts("job_terminated"), "stopped", "wrong photos, sorry"),
    (facts("job_input_error", report=JobReport(ended="input_error", error=ERROR)), "the input is at fault", "2 usable"),
    (facts("job_input_error"), "the input is at fault", "no cause"),
    (facts("job_script_error", report=JobReport(ended="cost_limit", error=ERROR)), "cost limit", "2 usable photos"),
    (with_exit("job_script_error", 75), "interrupted", "and 1 of 3 attempts"),
    (
        with_exit("job_script_error", 75, report=stop_requested(9)),
        "spot machine reclaimed",
        "1 of 3 attempts were used, 1 of them because the machine was lost",
    ),
    (
        with_exit("job_script_error", 75, report=stop_requested(75, machine=MachineInfo(lifecycle="on-demand"))),
        "machine lost",
        "The on-demand machine was stopped",
    ),
    (with_exit("job_script_error", 143), "spot machine reclaimed", "1 of them because the machine was lost"),
    (with_exit("job_script_error", 137), "spot machine reclaimed", "1 of them because the machine was lost"),
    (
        with_exit("job_script_error", 143, report=JobReport(ended="interrupted", exit_code=143)),  # an old image
        "spot machine reclaimed",
        "AWS took the machine back",
    ),
    (
        with_exit("job_script_error", 75, report=JobReport(ended="failed", error=ERROR, container_exit_code=75)),
        "temporary fault",
        "a fault that may pass: 2 usable photos",
    ),
    (
        facts("job_script_error", report=JobReport(ended="runner_error", error=ERROR)),
        "the platform's runner failed",
        "2 usable",
    ),
    (
        facts("job_script_error", report=JobReport(ended="failed", error=ERROR)),
        "the script reported an error",
        "2 usable",
    ),
    (
        facts("job_script_error", report=JobReport(ended="failed"), result=ResultDocument(error=ERROR)),
        "the script reported an error",
        "2",
    ),
    (
        with_exit("job_script_error", 119, report=JobReport(ended="failed", exit_code=137, container_exit_code=119)),
        "killed",
        "no sign that memory",
    ),
    (
        with_exit("job_script_error", 137, report=JobReport(ended="failed", exit_code=137)),  # an old image
        "killed",
        "no sign that memory",
    ),
    (
        with_exit("job_script_error", 119, report=JobReport(ended="failed", exit_code=42, container_exit_code=119)),
        "script error",
        "exit code 42",
    ),
    (facts("job_script_error"), "script error", "exit code 1"),
    (
        with_exit("job_script_error", None, "Task failed to start"),
        "the container could not be started",
        "Task failed to start",
    ),
]


@pytest.mark.parametrize(("known", "title", "words"), CASES, ids=[case[1] for case in CASES])
def test_the_cause_is_told_in_plain_words(known: JobFacts, title: str, words: str) -> None:
    cause = failure_cause(known)

    assert cause.title == title
    assert words in cause.cause
    assert cause.fix


@pytest.mark.parametrize(
    ("reason", "title"),
    [
        ("MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE", "the compute environment is too small"),
        ("MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT", "no machine type is large enough"),
        ("CAPACITY:SOMETHING_NEW", "stuck in the queue"),
    ],
)
def test_a_job_taken_out_of_the_queue_says_why(reason: str, title: str) -> None:
    found, reason = facts("job_stuck_in_queue"), f"Canceled by JobStateTimeLimit action due to reason: {reason}"

    assert failure_cause(replace(found, job=replace(found.job, status_reason=reason))).title == title


def test_a_job_stopped_after_a_checkpoint_is_stopped_and_not_interrupted() -> None:
    assert facts("job_terminated").job.attempts[-1].exit_code == 75
    assert failure_cause(facts("job_terminated")).title == "stopped"


def test_137_alone_is_never_called_out_of_memory() -> None:
    for event in ("job_timeout", "job_spot_reclaimed"):
        assert failure_cause(facts(event)).title != "out of memory"


def test_every_rule_can_decide() -> None:
    """A rule that another one hides would never speak."""
    decided = {failure_cause(known).title for known, _, _ in CASES}
    queue_rules = {"the compute environment is too small", "no machine type is large enough", "stuck in the queue"}
    assert decided | queue_rules == {rule.title for rule in RULES}


def test_there_is_a_cause_for_every_combination_of_what_batch_says() -> None:
    base = facts("job_script_error")
    reasons = ["", "Essential container in task exited", "Task failed to start", "Host EC2 (i-1) terminated.", "bye"]
    attempts: list[tuple[BatchAttempt, ...]] = [()]
    for code in (None, 0, 1, 2, 75, 137, 143):
        for reason in ("", "OutOfMemoryError: x", "CannotPullContainerError: x", "{braces} and more"):
            attempt = BatchAttempt(seconds=1.0, exit_code=code, reason=reason, status_reason="", log_stream=None)
            attempts.append((attempt,))
    for status_reason in reasons:
        for tried in attempts:
            job: BatchJob = replace(base.job, status_reason=status_reason, attempts=tried)
            assert failure_cause(replace(base, job=job)).cause


def test_rules_are_read_from_the_top(monkeypatch: pytest.MonkeyPatch) -> None:
    from splatworks.report import failure_causes

    first = Rule("first", lambda _: True, "text {exit_code}", "fix")
    monkeypatch.setattr(failure_causes, "RULES", (first, *RULES))

    assert failure_cause(facts("job_script_error")).cause == "text 1"


def test_a_job_that_lost_its_machines_says_how_often() -> None:
    known = facts("job_spot_reclaimed")
    assert "3 of 3 attempts were used, at least 2 of them because the machine was lost" in failure_cause(known).cause
    stopped = (LostAttempt(attempt=1, stop_requested=True), LostAttempt(attempt=2))
    report = stop_requested(75, interruptions=stopped)
    assert "3 of 3 attempts were used, 3 of them because" in failure_cause(replace(known, report=report)).cause
    by_itself = stop_requested(75, interruptions=(LostAttempt(attempt=1, stop_requested=False),))
    assert "3 of 3 attempts were used, 2 of them because" in failure_cause(replace(known, report=by_itself)).cause


@pytest.mark.parametrize(
    ("report", "code", "words"),
    [
        (
            JobReport(ended="failed", exit_code=7, container_exit_code=119),
            119,
            "7 of the script; the container's is 119 (failed",
        ),
        (
            JobReport(ended="interrupted", exit_code=9, container_exit_code=75),
            75,
            "9 of the script; the container's is 75 (told",
        ),
        (JobReport(ended="failed", exit_code=7), 7, "7"),  # an old image
        (JobReport(), 137, "137"),
        (JobReport(ended="runner_error", exit_code=119, container_exit_code=119), 119, "119 (failed for good)"),
    ],
)
def test_an_email_names_the_scripts_own_exit_code(report: JobReport, code: int, words: str) -> None:
    assert exit_code_in_words(with_exit("job_script_error", code, report=report)).startswith(words)


def test_a_job_that_met_bad_hosts_has_lost_its_machines() -> None:
    known = with_exit("job_script_error", 75)
    attempts = (*known.job.attempts, *known.job.attempts)
    before = LostAttempt(attempt=1, stop_requested=False, bad_host=True)
    known = replace(known, job=replace(known.job, attempts=attempts), report=bad_host(interruptions=(before,)))
    assert lost_its_machine(known)
    assert "2 of 3 attempts were used, 2 of them because the machine was lost" in failure_cause(known).cause


def test_a_terminated_job_has_not_lost_its_machine() -> None:
    assert not lost_its_machine(facts("job_terminated", report=stop_requested(75)))
    assert not lost_its_machine(facts("job_timeout"))
