"""Which of the many events of a run sends its one e-mail, in whatever order and however often they come."""

import itertools

import pytest
from aws_lambda_powertools.utilities.idempotency.exceptions import IdempotencyAlreadyInProgressError
from pipeline_run import LIMIT, RUN, PipelineRun

from gather.run_jobs import EndNotKnownError


@pytest.mark.parametrize("order", list(itertools.permutations(["sfm", "train", "compress"])))
def test_whichever_of_a_chains_failures_comes_first_the_one_email_names_the_root(
    run: PipelineRun, order: tuple[str, ...]
) -> None:
    run.plan("sfm", "train", "compress")
    events = {
        "sfm": run.ends("sfm", "FAILED"),
        "train": run.never_starts("train"),
        "compress": run.never_starts("compress"),
    }
    run.writes("sfm", ended="input_error", error=LIMIT)

    for name in (*order, *order):
        run.platform.monitor(events[name])

    subject, body = run.platform.email()
    assert subject == f"[demo] {RUN} FAILED in sfm: the input is at fault"
    assert "  train:    not started" in body.splitlines()


def test_a_consequence_that_is_known_before_its_cause_is_tried_again(run: PipelineRun) -> None:
    run.plan("sfm", "train", "compress")
    run.ends("sfm", "RUNNING", stoppedAt=None)
    consequence = run.never_starts("train")

    with pytest.raises(EndNotKnownError, match=f"{RUN}-sfm"):
        run.platform.monitor(consequence)
    assert run.platform.emails() == []

    cause = run.ends("sfm", "FAILED")
    run.platform.monitor(consequence)
    run.platform.monitor(cause)
    assert run.platform.email()[0] == f"[demo] {RUN} FAILED in sfm: script error"


def test_a_run_that_is_cancelled_failed_in_the_stage_that_ran_though_those_that_waited_end_first(
    run: PipelineRun,
) -> None:
    run.plan("sfm", "train", "compress")
    run.ends("sfm", "RUNNING", stoppedAt=None, isTerminated=True)
    waited = run.ends("train", "FAILED", statusReason="cancelled", attempts=[], isTerminated=True)

    with pytest.raises(EndNotKnownError, match=f"{RUN}-sfm was told to stop"):
        run.platform.monitor(waited)
    assert run.platform.emails() == []

    ran = run.ends("sfm", "FAILED", statusReason="cancelled", isTerminated=True)
    run.platform.monitor(ran)
    run.platform.monitor(waited)
    assert run.platform.email()[0] == f"[demo] {RUN} FAILED in sfm: stopped"


def test_a_later_copy_of_a_job_under_the_same_name_is_not_taken_for_the_runs_own(run: PipelineRun) -> None:
    run.plan("sfm", "train", "compress")
    run.ends("sfm", "FAILED")
    consequence = run.never_starts("train")
    (own,) = [job for job in run.jobs.values() if job["jobName"] == f"{RUN}-sfm"]
    run.jobs["a-copy"] = {**own, "jobId": "a-copy", "status": "RUNNING", "createdAt": own["createdAt"] + 1}

    run.platform.monitor(consequence)

    assert run.platform.email()[0] == f"[demo] {RUN} FAILED in sfm: script error"


def test_a_stage_before_the_last_that_succeeds_sends_nothing(run: PipelineRun) -> None:
    run.plan("sfm", "train", "compress")

    for stage in ("sfm", "train"):
        assert "goes on" in run.platform.monitor(run.ends(stage))["skipped"]
    assert run.platform.emails() == []


def test_late_and_repeated_events_of_a_run_that_was_reported_send_nothing(run: PipelineRun) -> None:
    run.plan("sfm", "train", "compress")
    last = run.succeeds()
    run.platform.monitor(last)
    run.platform.monitor(last)
    run.platform.monitor(run.ends("sfm"))
    run.platform.monitor(run.never_starts("train"))

    assert len(run.platform.emails()) == 1


def test_while_a_run_is_reported_a_consequence_is_left_and_the_cause_is_tried_again(
    run: PipelineRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The call that reports may die: then the event of the cause must still be there."""
    import monitor

    run.plan("sfm", "train", "compress")
    cause, consequence = run.ends("sfm", "FAILED"), run.never_starts("train")
    skipped = []

    def send_and_get_other_events(*email: str) -> None:
        skipped.append(run.platform.monitor(consequence))
        with pytest.raises(IdempotencyAlreadyInProgressError):
            run.platform.monitor(cause)
        send(*email)

    send = monitor.send_email
    monkeypatch.setattr(monitor, "send_email", send_and_get_other_events)
    run.platform.monitor(consequence)
    run.platform.monitor(cause)

    assert skipped == [{"skipped": f"{RUN} is being reported"}]
    assert len(run.platform.emails()) == 1
