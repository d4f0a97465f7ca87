"""How attempts end: exit codes, retries, time-outs, signals, lost hosts, memory."""

import json
from typing import Any

import pytest

from splatworks.sandbox import container

TWO = {"attempts": 2}


def test_a_job_that_exits_with_zero_succeeded_in_one_attempt(queue: Any) -> None:
    job = queue.ended(queue.submit("exit", "0"))
    assert job["status"] == "SUCCEEDED"
    assert [attempt["container"]["exitCode"] for attempt in job["attempts"]] == [0]
    assert job["createdAt"] <= job["startedAt"] <= job["stoppedAt"]


def test_a_failed_attempt_is_retried_in_a_fresh_workspace_and_each_attempt_has_its_own_log(queue: Any) -> None:
    job = queue.ended(queue.submit("exit-on-first-attempt", "1", retryStrategy=TWO))
    assert (job["status"], len(job["attempts"])) == ("SUCCEEDED", 2)
    streams = {attempt["container"]["logStreamName"] for attempt in job["attempts"]}
    assert len(streams) == 2


def test_the_submissions_retry_rules_decide_by_exit_code(queue: Any) -> None:
    rules = [{"onExitCode": "75", "action": "RETRY"}, {"onReason": "*", "action": "EXIT"}]
    strategy = {"attempts": 3, "evaluateOnExit": rules}
    retried = queue.submit("exit-on-first-attempt", "75", retryStrategy=strategy)
    given_up = queue.submit("exit", "2", retryStrategy=strategy)
    assert len(queue.ended(retried)["attempts"]) == 2
    assert [attempt["container"]["exitCode"] for attempt in queue.ended(given_up)["attempts"]] == [2]


def test_an_attempt_that_takes_too_long_is_stopped_and_not_retried(queue: Any) -> None:
    timeout = {"attemptDurationSeconds": 180}
    job = queue.ended(queue.submit("exit-75-on-sigterm", timeout=timeout, retryStrategy=TWO))
    assert (job["status"], job["statusReason"]) == ("FAILED", "Job attempt duration exceeded timeout")
    assert [attempt["container"]["exitCode"] for attempt in job["attempts"]] == [75]


def test_a_terminated_job_gets_sigterm_and_the_given_reason_and_no_retry(queue: Any) -> None:
    job_id = queue.submit("exit-75-on-sigterm", retryStrategy=TWO)
    job = queue.running(job_id)
    queue.batch.terminate_job(jobId=job_id, reason="wrong parameters")
    job = queue.ended(job_id)
    assert (job["status"], job["statusReason"]) == ("FAILED", "wrong parameters")
    assert (len(job["attempts"]), job["container"]["exitCode"]) == (1, 75)
    assert "stopping" in queue.log(job)


def test_what_ignores_sigterm_is_killed_after_the_hosts_stop_timeout(queue: Any) -> None:
    job_id = queue.submit("ignore-sigterm")
    queue.running(job_id)
    queue.batch.terminate_job(jobId=job_id, reason="enough")
    job = queue.ended(job_id)
    assert job["container"]["exitCode"] == 137
    assert "never" in queue.log(job)


def test_only_a_running_job_has_a_host_to_lose(queue: Any) -> None:
    job_id = queue.submit("exit", "0")
    queue.ended(job_id)
    with pytest.raises(ValueError, match="only a RUNNING job has a host to lose"):
        queue.aws.reclaim_spot(job_id)


def test_a_job_that_uses_more_memory_than_it_asked_for_is_killed_in_awss_words(queue: Any) -> None:
    memory = {"resourceRequirements": [{"type": "MEMORY", "value": "128"}]}
    job = queue.ended(queue.submit("use-memory", "200", containerOverrides=memory))
    assert job["status"] == "FAILED"
    assert job["container"]["exitCode"] == 137
    assert job["container"]["reason"] == "OutOfMemoryError: Container killed due to memory usage"


def test_the_environment_is_the_definitions_then_the_overrides_then_batchs_own(queue: Any) -> None:
    overrides = {"environment": [{"name": "GREETING", "value": "from the submission"}]}
    job = queue.ended(queue.submit("environment", containerOverrides=overrides))
    environment = json.loads(queue.log(job)[1])
    expected = {
        "GREETING": "from the submission",
        "KEPT": "yes",
        "AWS_BATCH_JOB_ID": job["jobId"],
        "AWS_BATCH_JOB_ATTEMPT": "1",
        "AWS_BATCH_JQ_NAME": "queue",
        "AWS_BATCH_CE_NAME": "spot",
        "AWS_ENDPOINT_URL": queue.aws.endpoint_url,
    }
    assert expected.items() <= environment.items()


def test_a_job_sees_no_credentials_or_settings_of_the_user(queue: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "production")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "secret")
    monkeypatch.setenv("GITHUB_TOKEN", "secret")
    job = queue.ended(queue.submit("environment"))
    environment = json.loads(queue.log(job)[1])
    assert not {"AWS_PROFILE", "AWS_SESSION_TOKEN", "GITHUB_TOKEN"} & set(environment)
    assert environment["HOME"].startswith(str(queue.aws.folder))


def test_without_bubblewrap_the_runner_is_told_its_folders_and_leftovers_end_with_it(
    queue: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(container, "available_isolation", lambda: container.Isolation(False, False))
    job = queue.ended(queue.submit("environment"))
    environment = json.loads(queue.log(job)[1])
    assert environment["MODELS_DIR"] == str(queue.aws.folder / "models")
    assert environment["WORKSPACE_DIR"].startswith(str(queue.aws.folder / "jobs"))
    job_id = queue.submit("ignore-sigterm")
    queue.running(job_id)
    queue.batch.terminate_job(jobId=job_id, reason="enough")
    assert queue.ended(job_id)["container"]["exitCode"] == 137


def test_the_workspace_is_gone_with_the_job(queue: Any) -> None:
    queue.ended(queue.submit("exit", "0"))
    # Jobs that earlier tests terminated may need a moment more.
    queue.aws.wait_until(lambda: not list((queue.aws.folder / "jobs").iterdir()))


def test_overrides_that_ecs_refuses_fail_the_job_after_it_was_accepted(queue: Any) -> None:
    overrides = {"environment": [{"name": "LONG", "value": "x" * 9000}]}
    job = queue.ended(queue.submit("exit", "0", containerOverrides=overrides))
    assert job["statusReason"] == "Container Overrides length must be at most 8192"


def test_lines_are_in_the_log_while_the_job_runs(queue: Any) -> None:
    job = queue.running(queue.submit("sleep", "30"))
    assert queue.log(job) == ["action sleep"]
    assert queue.aws.job(job["jobId"])["status"] == "RUNNING"
    queue.batch.terminate_job(jobId=job["jobId"], reason="seen enough")


def test_the_machine_is_the_smallest_spot_type_that_fits(queue: Any) -> None:
    ec2 = queue.aws.client("ec2")
    alive = [{"Name": "instance-state-name", "Values": ["running"]}]

    def all_hosts_are_gone() -> bool:
        return not ec2.describe_instances(Filters=alive)["Reservations"]

    queue.aws.wait_until(all_hosts_are_gone, what="the idle hosts of earlier jobs to be terminated")
    job = queue.ended(queue.submit("environment"))
    needs = [{"type": "VCPU", "value": "3"}]
    larger = queue.ended(queue.submit("exit", "0", containerOverrides={"resourceRequirements": needs}))
    found = [instance_of(queue, each) for each in (job, larger)]
    assert [each["InstanceType"] for each in found] == ["c5.large", "c5.xlarge"]
    assert {each["InstanceLifecycle"] for each in found} == {"spot"}
    assert {each["State"]["Name"] for each in found} == {"running"}  # kept for the next job for a while
    queue.aws.wait_until(all_hosts_are_gone, what="the idle hosts to be terminated")


def instance_of(queue: Any, job: dict[str, Any]) -> dict[str, Any]:
    """As the runner finds it: from the task to the container instance to EC2."""
    environments = queue.batch.describe_compute_environments(computeEnvironments=["spot"])["computeEnvironments"]
    cluster = environments[0]["ecsClusterArn"]
    ecs, ec2 = queue.aws.client("ecs"), queue.aws.client("ec2")
    task = ecs.describe_tasks(cluster=cluster, tasks=[job["container"]["taskArn"]])["tasks"][0]
    host = ecs.describe_container_instances(cluster=cluster, containerInstances=[task["containerInstanceArn"]])
    instance_id = host["containerInstances"][0]["ec2InstanceId"]
    instance: dict[str, Any] = ec2.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"][0]
    return instance
