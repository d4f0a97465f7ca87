"""Chains of arrays: who waits for whom, what ends when, and that many waiting jobs cost no more than they should."""

import itertools
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from local.batch import scheduler
from local.batch.jobs import Job
from local.batch.retry_rules import AttemptEnd
from local.batch.scheduler import JobScheduler

DEFINITION = SimpleNamespace(
    name="script", arn="definition", container_properties={"image": "image"}, retry_strategy=None, timeout=None
)
QUEUE = SimpleNamespace(name="queue", arn="arn:aws:batch:us-east-1:123456789012:job-queue/queue", state="ENABLED")


class AtOnce:
    """Starts attempts that end at once, with the exit code that `codes` holds for the job's name and index."""

    def __init__(self) -> None:
        self.codes: dict[tuple[str, int | None], int] = {}

    def start(self, job: Job, _host: Any, _number: int) -> Any:
        end = AttemptEnd(exit_code=self.codes.get((job.name, job.index), 0))
        return SimpleNamespace(
            run=lambda: end,
            record=lambda _end: {"container": {}},
            container=dict,
            finished=SimpleNamespace(set=lambda: None, wait=lambda timeout: None),
            interrupt=lambda *_args, **_options: None,
            kill=lambda: None,
        )


class Batch:
    def __init__(self, concurrency: int) -> None:
        self.starter = AtOnce()
        self.ends: list[str] = []  # ids, in the order of their end
        self.scheduler = JobScheduler(self.starter, self._changed, concurrency=concurrency)  # type: ignore[arg-type]

    def _changed(self, job: Job) -> None:
        if job.ended:
            self.ends.append(job.job_id)

    def chain(self, size: int) -> list[Job]:
        """Three arrays, each child waiting for its counterpart."""
        jobs: list[Job] = []
        for name in ("first", "second", "third"):
            request: dict[str, Any] = {"jobName": name, "arrayProperties": {"size": size}}
            if jobs:
                request["dependsOn"] = [{"jobId": jobs[-1].job_id, "type": "N_TO_N"}]
            jobs.append(self.scheduler.submit(QUEUE, DEFINITION, request))
        return jobs

    def wait(self, job: Job, state: tuple[str, ...] = ("SUCCEEDED", "FAILED"), seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while job.status not in state:
            assert time.monotonic() < deadline, (job.name, job.status)
            time.sleep(0.01)


@pytest.fixture
def batch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr(scheduler, "choose_host", lambda _queue, _needs: SimpleNamespace())
    made: list[Batch] = []

    def make(concurrency: int = 2) -> Batch:
        made.append(Batch(concurrency))
        return made[-1]

    yield make
    for each in made:
        each.scheduler.close()


def test_a_child_waits_for_its_counterpart_and_for_no_other_child(batch: Any) -> None:
    platform = batch()
    jobs = platform.chain(20)
    platform.wait(jobs[-1])
    order = {job_id: place for place, job_id in enumerate(platform.ends)}
    for before, after in itertools.pairwise(jobs):
        for index in range(20):
            assert order[f"{before.job_id}:{index}"] < order[f"{after.job_id}:{index}"]


def test_a_failed_child_fails_its_counterparts_only_and_each_parent_ends_after_its_children(batch: Any) -> None:
    platform = batch()
    platform.starter.codes[("first", 3)] = 2
    jobs = platform.chain(8)
    platform.wait(jobs[-1])
    for job in jobs:
        failed = [child for child in job.children if child.status == "FAILED"]
        assert [child.index for child in failed] == [3]
        own = job is jobs[0]
        assert failed[0].status_reason == ("Essential container in task exited" if own else "Dependent Job failed")
        assert (job.status, job.status_reason) == ("FAILED", "Array Child Job failed")
        children = [platform.ends.index(child.job_id) for child in job.children]
        assert platform.ends.index(job.job_id) > max(children)
    assert [child.attempts == [] for child in jobs[1].children] == [index == 3 for index in range(8)]


def test_an_array_fails_as_a_whole_when_the_job_before_all_of_it_failed(batch: Any) -> None:
    platform = batch()
    platform.starter.codes[("alone", None)] = 1
    alone = platform.scheduler.submit(QUEUE, DEFINITION, {"jobName": "alone"})
    request = {"jobName": "sweep", "arrayProperties": {"size": 5}, "dependsOn": [{"jobId": alone.job_id}]}
    sweep = platform.scheduler.submit(QUEUE, DEFINITION, request)
    platform.wait(sweep)
    assert {child.status_reason for child in sweep.children} == {"Dependent Job failed"}
    assert platform.ends[-1] == sweep.job_id


def test_a_long_sequence_fails_to_its_end(batch: Any) -> None:
    """One end after the other, however many: no recursion."""
    platform = batch()
    platform.starter.codes[("sequence", 0)] = 1
    request = {"jobName": "sequence", "arrayProperties": {"size": 3000}, "dependsOn": [{"type": "SEQUENTIAL"}]}
    job = platform.scheduler.submit(QUEUE, DEFINITION, request)
    platform.wait(job)
    assert {child.status_reason for child in job.children[1:]} == {"Dependent Job failed"}


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """How often anybody has looked at any job: the work, whatever else the machine does meanwhile."""
    count, look = itertools.count(), Job.__getattribute__

    def counted(job: Job, name: str) -> Any:
        next(count)
        return look(job, name)

    monkeypatch.setattr(Job, "__getattribute__", counted)
    return count


def test_four_times_the_children_cost_about_four_times_the_work(batch: Any, looks: Iterator[int]) -> None:
    """Looking at all jobs at each change would make it sixteen times."""

    def work(size: int) -> int:
        platform, begun = batch(), next(looks)
        jobs = platform.chain(size)
        platform.wait(jobs[-1], ("SUCCEEDED",))
        return next(looks) - begun

    small, large = work(250), work(1000)
    assert large < 6 * small, (small, large)


def test_ten_thousand_children_held_back_cost_nothing_while_they_wait(batch: Any, looks: Iterator[int]) -> None:
    platform = batch(concurrency=0)
    first, _, third = platform.chain(10_000)
    platform.wait(first.children[-1], ("RUNNABLE",))
    platform.wait(third.children[-1], ("PENDING",))
    time.sleep(scheduler.TICK)  # the last one is on its way still
    begun = next(looks)
    time.sleep(4 * scheduler.TICK)
    assert next(looks) - begun < 100
