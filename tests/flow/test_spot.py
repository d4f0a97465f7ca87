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


def test_a_job_that_loses_its_host_at_each_of_three_attempts_fails_and_says_why(spot: Spot) -> None:
    job, email = spot.used_up(Reclaim.KILL)
    assert (job["status"], len(job["attempts"])) == ("FAILED", 3)
    assert {attempt["container"]["exitCode"] for attempt in job["attempts"]} == {137}
    assert "3 of 3 attempts were used, 3 of them because the machine was lost" in " ".join(email.split()), email
