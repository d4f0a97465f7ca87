"""Arrays, dependencies, what cannot start, what is refused, and how jobs are listed."""

from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError


def test_an_array_is_its_children_and_succeeds_with_them(queue: Any, models: Path) -> None:
    job = queue.ended(queue.submit("note-index", "array", arrayProperties={"size": 3}))
    assert job["status"] == "SUCCEEDED"
    assert job["arrayProperties"]["size"] == 3
    assert job["arrayProperties"]["statusSummary"]["SUCCEEDED"] == 3
    assert sorted((models / "array").read_text().split()) == ["0", "1", "2"]
    child = queue.aws.job(f"{job['jobId']}:1")
    assert (child["status"], child["arrayProperties"]["index"]) == ("SUCCEEDED", 1)


def test_an_array_fails_when_one_child_does_and_the_others_still_run(queue: Any) -> None:
    job = queue.ended(queue.submit("fail-index", "1", arrayProperties={"size": 3}))
    assert (job["status"], job["statusReason"]) == ("FAILED", "Array Child Job failed")
    summary = job["arrayProperties"]["statusSummary"]
    assert (summary["FAILED"], summary["SUCCEEDED"]) == (1, 2)


def test_terminating_an_array_ends_all_its_children(queue: Any) -> None:
    job_id = queue.submit("sleep", "60", arrayProperties={"size": 4})
    queue.aws.wait_for_job(f"{job_id}:0", until=("RUNNING",))
    queue.batch.terminate_job(jobId=job_id, reason="all of it")
    job = queue.ended(job_id)
    assert (job["status"], job["statusReason"]) == ("FAILED", "all of it")
    children = queue.batch.list_jobs(arrayJobId=job_id, jobStatus="FAILED")["jobSummaryList"]
    assert {child["statusReason"] for child in children} == {"all of it"}
    assert len(children) == 4


def test_children_in_sequence_run_one_after_the_other(queue: Any, models: Path) -> None:
    sequence = [{"type": "SEQUENTIAL"}]
    job = queue.ended(queue.submit("note-index", "sequence", arrayProperties={"size": 4}, dependsOn=sequence))
    assert job["status"] == "SUCCEEDED"
    assert (models / "sequence").read_text().split() == ["0", "1", "2", "3"]


def test_n_to_n_lets_a_child_run_when_its_counterpart_failed_elsewhere(queue: Any) -> None:
    first = queue.submit("fail-index", "0", arrayProperties={"size": 2})
    dependency = [{"jobId": first, "type": "N_TO_N"}]
    second = queue.submit("exit", "0", arrayProperties={"size": 2}, dependsOn=dependency)
    assert queue.ended(second)["status"] == "FAILED"
    reasons = [queue.aws.job(f"{second}:{index}").get("statusReason") for index in (0, 1)]
    assert reasons[0] == "Dependent Job failed"
    assert queue.aws.job(f"{second}:1")["status"] == "SUCCEEDED"


def test_a_job_waits_for_what_it_depends_on(queue: Any) -> None:
    first = queue.submit("sleep", "1.5")
    second = queue.submit("exit", "0", dependsOn=[{"jobId": first}])
    assert queue.aws.wait_for_job(second, until=("PENDING",))["dependsOn"] == [{"jobId": first}]
    assert queue.ended(second)["status"] == "SUCCEEDED"
    assert queue.aws.job(second)["startedAt"] >= queue.aws.job(first)["stoppedAt"]


def test_a_failed_dependency_fails_the_whole_chain(queue: Any) -> None:
    first = queue.submit("exit", "1")
    second = queue.submit("exit", "0", dependsOn=[{"jobId": first}])
    third = queue.submit("exit", "0", dependsOn=[{"jobId": second}])
    job = queue.ended(third)
    assert (job["status"], job["statusReason"], job["attempts"]) == ("FAILED", "Dependent Job failed", [])


def test_a_job_that_no_machine_can_hold_waits_and_is_cancelled_in_the_end(queue: Any) -> None:
    too_much = {"resourceRequirements": [{"type": "VCPU", "value": "64"}]}
    waiting = queue.submit("exit", "0", containerOverrides=too_much)
    given_up = queue.submit("exit", "0", queue="impatient", containerOverrides=too_much)
    job = queue.ended(given_up)
    assert job["status"] == "FAILED"
    cancelled = "Canceled by JobStateTimeLimit action due to reason: "
    assert job["statusReason"] == f"{cancelled}MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT"
    job = queue.aws.job(waiting)
    assert job["status"] == "RUNNABLE" and job["statusReason"].startswith("MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT -")
    queue.batch.cancel_job(jobId=waiting, reason="too large")
    assert queue.ended(waiting)["statusReason"] == "too large"


def test_cancelling_leaves_a_running_job_alone(queue: Any) -> None:
    job_id = queue.submit("exit-75-on-sigterm")
    queue.running(job_id)
    queue.batch.cancel_job(jobId=job_id, reason="too late")
    assert queue.aws.job(job_id)["status"] == "RUNNING"
    queue.batch.terminate_job(jobId=job_id, reason="now")
    assert queue.ended(job_id)["statusReason"] == "now"


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"timeout": {"attemptDurationSeconds": 59}}, "at least 60"),
        ({"arrayProperties": {"size": 1}}, "between 2 and 10000"),
        ({"dependsOn": [{"jobId": "no-such-job"}]}, "no job no-such-job"),
        ({"dependsOn": [{"jobId": "x"}] * 21}, "At most 20"),
        ({"shareIdentifier": "team"}, "scheduling policy"),
        ({"queue": "no-such-queue"}, "not found"),
        ({"name": "two words"}, "valid pattern"),
        ({"retryStrategy": {"attempts": 11}}, "1 to 10"),
        ({"containerOverrides": {"environment": [{"name": "A", "value": "x" * 31_000}]}}, "larger than"),
    ],
)
def test_submissions_that_aws_refuses_are_refused(queue: Any, request_: dict[str, Any], message: str) -> None:
    with pytest.raises(ClientError, match=message):
        queue.submit("exit", "0", **request_)


def test_jobs_are_listed_by_state_or_by_filters_and_page_by_page(queue: Any) -> None:
    ids = {queue.ended(queue.submit("exit", "0", name=f"listed-{index}"))["jobId"] for index in range(3)}
    named = [{"name": "JOB_NAME", "values": ["LISTED-*"]}]
    found = queue.batch.list_jobs(jobQueue="queue", filters=named)["jobSummaryList"]
    assert {job["jobId"] for job in found} == ids
    assert found[0]["container"]["exitCode"] == 0
    assert queue.batch.list_jobs(jobQueue="queue", jobStatus="STARTING")["jobSummaryList"] == []

    exact = [{"name": "JOB_NAME", "values": ["Listed-1"]}]
    (only,) = queue.batch.list_jobs(jobQueue="queue", filters=exact)["jobSummaryList"]
    assert only["jobName"] == "listed-1"
    within = [{"name": "JOB_NAME", "values": ["*isted-1"]}]
    assert queue.batch.list_jobs(jobQueue="queue", filters=within)["jobSummaryList"] == []
    with pytest.raises(ClientError, match="one filter"):
        queue.batch.list_jobs(jobQueue="queue", filters=[*exact, *named])

    first = queue.batch.list_jobs(jobQueue="queue", filters=named, maxResults=2)
    rest = queue.batch.list_jobs(jobQueue="queue", filters=named, nextToken=first["nextToken"])
    assert len(first["jobSummaryList"]) == 2
    assert {job["jobId"] for job in first["jobSummaryList"] + rest["jobSummaryList"]} == ids
    assert "nextToken" not in rest


def test_without_a_status_running_jobs_are_listed(queue: Any) -> None:
    job_id = queue.submit("sleep", "30")
    queue.running(job_id)
    assert job_id in {job["jobId"] for job in queue.batch.list_jobs(jobQueue="queue")["jobSummaryList"]}
    queue.batch.terminate_job(jobId=job_id, reason="seen enough")


def test_ids_that_are_not_known_are_left_out_of_descriptions(queue: Any) -> None:
    assert queue.batch.describe_jobs(jobs=["no-such-job"])["jobs"] == []


def test_tags_of_a_job_are_kept(queue: Any) -> None:
    job = queue.ended(queue.submit("exit", "0", tags={"user": "ann", "project": "demo"}))
    assert job["tags"] == {"user": "ann", "project": "demo"}


def test_held_jobs_stay_runnable_until_they_are_let_go(queue: Any) -> None:
    with queue.aws.jobs_held():
        job_id = queue.submit("exit", "0")
        queue.aws.wait_for_job(job_id, until=("RUNNABLE",))
        assert queue.aws.job(job_id)["status"] == "RUNNABLE"
    assert queue.ended(job_id)["status"] == "SUCCEEDED"


def test_a_submission_can_be_watched_and_disturbed(queue: Any) -> None:
    names: list[str] = []

    def watch(name: str) -> None:
        names.append(name)
        if name == "disturbed":
            raise RuntimeError("a fault of AWS")

    with queue.aws.on_submission(watch):
        queue.submit("exit", "0", name="watched")
        with pytest.raises(ClientError):
            queue.submit("exit", "0", name="disturbed")
    queue.submit("exit", "0", name="unseen")
    assert names[0] == "watched" and set(names[1:]) == {"disturbed"}
    filters = [{"name": "JOB_NAME", "values": ["disturbed"]}]
    assert queue.batch.list_jobs(jobQueue="queue", filters=filters)["jobSummaryList"] == []


def test_arrays_that_are_bound_child_to_child_must_be_of_one_size(queue: Any) -> None:
    first = queue.submit("exit", "0", arrayProperties={"size": 2})
    dependency = [{"jobId": first, "type": "N_TO_N"}]
    for size in ({}, {"arrayProperties": {"size": 3}}):
        with pytest.raises(ClientError, match="arrays of one size"):
            queue.submit("exit", "0", dependsOn=dependency, **size)
