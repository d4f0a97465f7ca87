"""How AWS takes hosts away and what else goes wrong with them, in the words that Batch shows."""

import json
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from local.batch.faults import Fault
from local.batch.host_metadata import AGENT_PATH, INSTANCE_PATH
from local.batch.reclaim import Reclaim

ROOT = Path(__file__).parents[3]
TWO = {"attempts": 2}
SECONDS = 2.0  # of NOTICE_SECONDS at hurry 60


def lose(queue: Any, how: Reclaim, *command: str) -> dict[str, Any]:
    """The first attempt of a job that lost its host, as DescribeJobs shows it."""
    job_id = queue.submit(*command, retryStrategy=TWO)
    queue.running(job_id)
    queue.aws.reclaim_spot(job_id, how)
    queue.aws.wait_until(lambda: queue.aws.job(job_id)["attempts"])
    queue.running(job_id)
    queue.batch.terminate_job(jobId=job_id, reason="seen enough")
    attempts = queue.ended(job_id)["attempts"]
    assert len(attempts) == 2
    found: dict[str, Any] = attempts[0]
    return found


def seen(attempt: dict[str, Any]) -> tuple[int | None, str]:
    return attempt["container"].get("exitCode"), attempt["statusReason"]


def test_without_notice_the_container_is_killed_and_no_host_is_named(queue: Any) -> None:
    attempt = lose(queue, Reclaim.KILL, "exit-75-on-sigterm")
    assert seen(attempt) == (137, "Essential container in task exited")
    assert "reason" not in attempt["container"]


@pytest.mark.parametrize("action", ["exit-75-on-sigterm", "ignore-sigterm"])
def test_sigterm_comes_ten_seconds_before_the_end_and_143_is_reported(queue: Any, action: str) -> None:
    assert seen(lose(queue, Reclaim.SIGTERM, action)) == (143, "Essential container in task exited")


def test_a_terminated_host_is_named_and_sends_no_sigterm(queue: Any) -> None:
    code, reason = seen(lose(queue, Reclaim.HOST, "exit-75-on-sigterm"))
    assert code == 137
    assert re.fullmatch(r"Host EC2 \(instance i-[0-9a-f]+\) terminated\.", reason)


def test_a_notice_is_in_the_metadata_alone_and_two_minutes_later_the_host_is_gone(queue: Any) -> None:
    job_id = queue.submit("exit-75-on-sigterm", retryStrategy=TWO)
    queue.running(job_id)
    begun = time.monotonic()
    host = queue.aws.host(queue.aws.reclaim_spot(job_id, Reclaim.NOTICE))
    notice = json.loads(metadata(queue, host.instance_id, "spot/instance-action"))
    assert notice["action"] == "terminate" and re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", notice["time"])
    assert queue.aws.job(job_id)["status"] == "RUNNING"
    queue.aws.wait_until(lambda: queue.aws.job(job_id)["attempts"])
    assert time.monotonic() - begun >= SECONDS
    (attempt,) = queue.aws.job(job_id)["attempts"]
    assert seen(attempt) == (137, f"Host EC2 (instance {host.instance_id}) terminated.")
    queue.batch.terminate_job(jobId=job_id, reason="seen enough")
    queue.ended(job_id)


def test_all_jobs_of_a_host_go_with_it(queue: Any) -> None:
    strategy = {"attempts": 1}
    jobs = [queue.submit("sleep", "60", retryStrategy=strategy, containerOverrides=half_a_vcpu()) for _ in range(2)]
    first, second = (queue.running(job_id)["container"]["containerInstanceArn"] for job_id in jobs)
    assert first == second
    queue.aws.reclaim_spot(jobs[0], Reclaim.KILL)
    assert [queue.ended(job_id)["container"]["exitCode"] for job_id in jobs] == [137, 137]


def test_a_retry_comes_back_to_the_host_that_it_came_from(queue: Any) -> None:
    job = queue.ended(queue.submit("exit-on-first-attempt", "75", retryStrategy=TWO))
    first, second = (attempt["container"]["containerInstanceArn"] for attempt in job["attempts"])
    assert first == second


def test_a_host_that_drains_gets_no_new_job(queue: Any) -> None:
    job = queue.ended(queue.submit("exit", "0"))
    arn = job["container"]["containerInstanceArn"]
    cluster = arn.split("/")[1]
    queue.aws.client("ecs").update_container_instances_state(
        cluster=cluster, containerInstances=[arn], status="DRAINING"
    )
    assert queue.ended(queue.submit("exit", "0"))["container"]["containerInstanceArn"] != arn


def test_metadata_needs_a_token(queue: Any) -> None:
    job_id = queue.submit("sleep", "60")
    queue.running(job_id)
    instance = queue.aws.job(job_id)["container"]["containerInstanceArn"]
    tasks = json.loads(ask(f"{queue.aws.endpoint_url}{AGENT_PATH}{instance_of(queue, instance)}/v1/tasks"))
    assert queue.aws.job(job_id)["container"]["taskArn"] in [task["Arn"] for task in tasks["Tasks"]]
    base = f"{queue.aws.endpoint_url}{INSTANCE_PATH}{instance_of(queue, instance)}/latest"
    with pytest.raises(urllib.error.HTTPError, match="401"):
        ask(f"{base}/meta-data/instance-id")
    with pytest.raises(urllib.error.HTTPError, match="400"):
        ask(f"{base}/api/token", method="PUT")
    with pytest.raises(urllib.error.HTTPError, match="404"):
        metadata(queue, instance_of(queue, instance), "spot/instance-action")
    queue.aws.recommend_rebalance(job_id)
    assert "noticeTime" in metadata(queue, instance_of(queue, instance), "events/recommendations/rebalance")
    role = metadata(queue, instance_of(queue, instance), "placement/region")
    assert role == "us-east-1"
    queue.batch.terminate_job(jobId=job_id, reason="seen enough")
    queue.ended(job_id)


@pytest.mark.parametrize("fault", list(Fault))
def test_faults_between_ecs_and_the_container_are_said_in_their_words_and_pass(queue: Any, fault: Fault) -> None:
    queue.aws.faults.next(fault)
    job = queue.ended(queue.submit("exit", "0", retryStrategy=TWO))
    assert (job["status"], len(job["attempts"])) == ("SUCCEEDED", 2)
    assert job["attempts"][0]["container"]["reason"] == fault.value
    assert "exitCode" not in job["attempts"][0]["container"]
    assert job["attempts"][0]["statusReason"] == fault.status_reason


def half_a_vcpu() -> dict[str, Any]:
    return {"resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "256"}]}


def instance_of(queue: Any, container_instance_arn: str) -> str:
    cluster = container_instance_arn.split("/")[1]
    found = queue.aws.client("ecs").describe_container_instances(
        cluster=cluster, containerInstances=[container_instance_arn]
    )
    instance: str = found["containerInstances"][0]["ec2InstanceId"]
    return instance


def metadata(queue: Any, instance_id: str, path: str) -> str:
    base = f"{queue.aws.endpoint_url}{INSTANCE_PATH}{instance_id}/latest"
    token = ask(f"{base}/api/token", method="PUT", **{"X-aws-ec2-metadata-token-ttl-seconds": "60"})
    return ask(f"{base}/meta-data/{path}", **{"X-aws-ec2-metadata-token": token})


def ask(url: str, method: str = "GET", **headers: str) -> str:
    with urllib.request.urlopen(urllib.request.Request(url, method=method, headers=headers), timeout=10) as answer:
        text: str = answer.read().decode()
        return text


@pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="finds processes in /proc, as on Linux")
def test_a_hosts_watcher_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    start = (
        "import pathlib, sys, time; from local.batch.host_watcher import HostWatcher;"
        "HostWatcher(pathlib.Path(sys.argv[1]), {'HOST_DIR': sys.argv[1] + '/run'}, lambda: None);"
        "print('started', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", start, tmp_path], cwd=ROOT, stdout=subprocess.PIPE)
    assert process.stdout and process.stdout.readline() == b"started\n"
    deadline = time.monotonic() + 30
    while not (running := watchers(tmp_path)):
        assert time.monotonic() < deadline
    process.kill()
    process.communicate()
    while watchers(tmp_path):
        assert time.monotonic() < deadline, running
        time.sleep(0.2)


def watchers(folder: Path) -> list[int]:
    """Processes whose working directory is the host's folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):
                found += [int(entry.name)] if (entry / "cwd").readlink() == folder else []
    return found
