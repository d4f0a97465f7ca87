"""dependsOn, for single jobs and the children of arrays."""

from local.batch.dependencies import Readiness, prerequisites, readiness


def test_a_job_waits_for_the_whole_of_each_job_it_names() -> None:
    assert prerequisites([{"jobId": "a"}, {"jobId": "b"}], None, None) == ["a", "b"]


def test_children_in_sequence_wait_for_the_one_before() -> None:
    sequential = [{"type": "SEQUENTIAL"}]
    assert prerequisites(sequential, "array", 0) == []
    assert prerequisites(sequential, "array", 3) == ["array:2"]


def test_n_to_n_binds_each_child_to_its_counterpart() -> None:
    assert prerequisites([{"jobId": "first", "type": "N_TO_N"}], "second", 4) == ["first:4"]


def test_a_job_is_ready_when_all_succeeded() -> None:
    statuses = {"a": "SUCCEEDED", "b": "RUNNING"}
    assert readiness(["a"], lambda job: statuses.get(job)) is Readiness.READY
    assert readiness(["a", "b"], lambda job: statuses.get(job)) is Readiness.WAITING
    assert readiness([], lambda job: None) is Readiness.READY


def test_one_failed_or_forgotten_job_fails_the_dependent_although_others_still_run() -> None:
    assert readiness(["a", "b"], lambda job: {"a": "FAILED", "b": "RUNNING"}[job]) is Readiness.FAILED
    assert readiness(["gone"], lambda job: None) is Readiness.FAILED
