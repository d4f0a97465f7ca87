"""The short version of `make torture PART=spot`: hosts that are taken away at random moments cost no job."""

import random

import pytest

from local.batch.reclaim import Reclaim
from local.embedded_aws import EmbeddedAWS
from torture.spot import Spot

pytestmark = pytest.mark.flow


@pytest.fixture(scope="module")
def spot(platform: EmbeddedAWS, tmp_path_factory: pytest.TempPathFactory) -> Spot:
    return Spot(platform, tmp_path_factory.mktemp("spot"), seed=random.randrange(10**6))


@pytest.mark.parametrize("how", list(Reclaim))
def test_no_job_fails_that_loses_its_host_once(spot: Spot, how: Reclaim) -> None:
    row = spot.row("plain", how, 2)
    assert row.holds, [each.job["attempts"] for each in row.failed]
    assert sum(each.reclaimed for each in row.outcomes) == 2


def test_a_host_with_a_broken_gpu_is_taken_out_of_service_and_the_job_runs_on_another(
    platform: EmbeddedAWS, spot: Spot
) -> None:
    ec2 = platform.client("ec2")

    def state(instance_id: str) -> str:
        (found,) = ec2.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"]
        name: str = found["State"]["Name"]
        return name

    def gpu_hosts() -> list[str]:
        running = [{"Name": "instance-state-name", "Values": ["running"]}]
        found = [each for one in ec2.describe_instances(Filters=running)["Reservations"] for each in one["Instances"]]
        return [each["InstanceId"] for each in found if each["InstanceType"].startswith("g")]

    platform.wait_until(lambda: not gpu_hosts(), what="the idle GPU hosts of other tests to end")
    platform.break_gpus(1)
    name = spot.publish_script("print('works')", compute_type="gpu")
    platform.wait_until(gpu_hosts, what="a GPU host")
    (broken,) = gpu_hosts()
    job = platform.wait_for_job(name, timeout=120)
    assert (job["status"], [attempt["container"]["exitCode"] for attempt in job["attempts"]]) == ("SUCCEEDED", [75, 0])
    first, second = (attempt["container"]["containerInstanceArn"] for attempt in job["attempts"])
    assert first != second
    platform.wait_until(lambda: state(broken) == "terminated", what="the broken host to shut itself down")


def test_a_job_that_loses_its_host_at_each_of_three_attempts_fails_and_says_why(spot: Spot) -> None:
    job, email = spot.used_up(Reclaim.KILL)
    assert (job["status"], len(job["attempts"])) == ("FAILED", 3)
    assert {attempt["container"]["exitCode"] for attempt in job["attempts"]} == {137}
    assert "3 of 3 attempts were used, 3 of them because the machine was lost" in " ".join(email.split()), email
