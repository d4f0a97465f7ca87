"""auto_resume: what the monitor schedules, what its e-mail says, and what the dispatcher then submits, once."""

import copy
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from lambda_platform import REGION, Platform, environment_of, forget_records, saved_event
from pipeline_run import FOLDER, RUN, PipelineRun

from splatworks.contract.documents.run import read_run, write_run
from splatworks.contract.resumes import (
    MAX_RESUMES,
    delay_minutes,
    resume_message,
    resumed_name,
    schedule_name,
    split_name,
)
from splatworks.planning import message as messages
from splatworks.planning.resume_plan import resumed_run

KEY = f"{FOLDER}run.json"
GONE = "Host EC2 (instance i-0f1e2d3c4b5a69788) terminated."
LOST = {"container": {}, "statusReason": GONE, "startedAt": 1769860920000, "stoppedAt": 1769860980000}


def lost(run: PipelineRun, stage: str = "train", **changes: Any) -> dict[str, Any]:
    """The job of a stage has used up its attempts on machines that were taken back."""
    ended = {"attempts": [LOST] * 3, "statusReason": GONE, "retryStrategy": {"attempts": 3}}
    return run.ends(stage, "FAILED", **{**ended, **changes})


def pipeline(run: PipelineRun, auto_resume: int = 2) -> PipelineRun:
    run.message["data"]["auto_resume"] = auto_resume
    run.plan("sfm", "train", "compress")
    run.ends("sfm")
    run.writes("sfm")
    return run


def schedules() -> dict[str, dict[str, Any]]:
    scheduler = boto3.client("scheduler", REGION)
    found = scheduler.list_schedules(GroupName="demo-ml-resume")["Schedules"]
    return {each["Name"]: scheduler.get_schedule(GroupName="demo-ml-resume", Name=each["Name"]) for each in found}


@pytest.fixture(autouse=True)
def group(platform: Platform) -> None:
    boto3.client("scheduler", REGION).create_schedule_group(Name="demo-ml-resume")


def test_the_delay_grows_and_is_capped() -> None:
    assert [delay_minutes(number) for number in range(1, MAX_RESUMES + 1)] == [5, 10, 20, 40, 60]


def test_names_of_resumed_jobs_are_told_from_names_that_users_give() -> None:
    for name in ("harbour-0123456789ab-train", "job-r1-0123456789ab"):
        assert split_name(name) == (name, 0)
        assert split_name(resumed_name(name, 2)) == (name, 2)


def test_a_run_that_lost_its_machines_is_announced_and_scheduled(platform: Platform, run: PipelineRun) -> None:
    event = lost(pipeline(run))
    run.never_starts("compress")
    platform.monitor(event)

    ((name, schedule),) = schedules().items()
    at = datetime.fromisoformat(schedule["ScheduleExpression"][3:-1]).replace(tzinfo=UTC)
    assert timedelta(minutes=4) < at - datetime.now(UTC) <= timedelta(minutes=5)
    assert (name, schedule["ActionAfterCompletion"]) == (schedule_name(KEY, 1), "DELETE")
    assert schedule["Target"]["Arn"].endswith(":demo-ml-trigger-events")
    sent = json.loads(schedule["Target"]["Input"])
    assert sent == resume_message(KEY, 1)
    messages.check(sent)
    subject, body = platform.email()
    assert subject == f"[demo] {RUN} lost its machine and resumes at {at:%H:%M} UTC (1 of 2)"
    assert "3 of 3 attempts were used, 3 of them because the machine was lost" in body
    assert f"aws scheduler delete-schedule --group-name demo-ml-resume --name {name}" in body
    assert "FAILED" not in subject


def test_an_event_that_comes_twice_makes_one_schedule_and_one_email(platform: Platform, run: PipelineRun) -> None:
    event = lost(pipeline(run))
    platform.monitor(event)
    platform.monitor(event)
    assert len(platform.emails()) == 1
    forget_records()  # as after a crash between the schedule and the record
    platform.monitor(event)
    assert len(schedules()) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"statusReason": "Essential container in task exited", "attempts": [{"container": {"exitCode": 119}}]},
        {"statusReason": "Job attempt duration exceeded timeout"},
        {"statusReason": "no longer wanted", "isTerminated": True},
        {"isTerminated": True},
        {
            "statusReason": "Essential container in task exited",
            "attempts": [LOST, LOST, {"container": {"exitCode": 137, "reason": "OutOfMemoryError: killed"}}],
        },
    ],
    ids=["script", "timeout", "terminated", "told-to-stop", "memory"],
)
def test_what_failed_for_another_reason_is_not_resumed(
    platform: Platform, run: PipelineRun, changes: dict[str, Any]
) -> None:
    platform.monitor(lost(pipeline(run), **changes))
    assert schedules() == {} and "FAILED in train" in platform.email()[0]


def test_without_auto_resume_a_run_fails_as_ever(platform: Platform, run: PipelineRun) -> None:
    platform.monitor(lost(pipeline(run, auto_resume=0)))
    assert schedules() == {} and "FAILED in train: spot machine reclaimed" in platform.email()[0]


def test_a_run_of_which_a_later_job_was_stopped_is_not_resumed(platform: Platform, run: PipelineRun) -> None:
    event = lost(pipeline(run))
    run.ends("compress", "FAILED", statusReason="enough", attempts=[], isTerminated=True)
    platform.monitor(event)
    assert schedules() == {}


def resumed(run: PipelineRun, stage: str, status: str, **changes: Any) -> dict[str, Any]:
    """The end of a stage's job in the first resumption."""
    event = lost(run, stage) if status == "FAILED" else run.ends(stage)
    detail = run.jobs[event["detail"]["jobId"]]
    for job in (event["detail"], detail):
        job |= {"jobName": f"{RUN}-{stage}-r1", **changes}
        for pair in job["container"]["environment"]:
            pair["value"] = f"{FOLDER}resume-1.json" if pair["name"] == "RUN_KEY" else pair["value"]
    return event


def resumption(platform: Platform, run: PipelineRun, auto_resume: int) -> None:
    """The training has been resumed once."""
    pipeline(run, auto_resume)
    document = platform.stored(KEY)
    for each in document["stages"]:
        each["job"]["output_prefix"] = each["output_prefix"]
    first = read_run(json.dumps(document), KEY, "")
    stage = first.stage_of_job(f"{RUN}-train")
    assert stage
    platform.put("demo-output", f"{FOLDER}resume-1.json", write_run(resumed_run(first, stage, "lost-job", 1)))


def test_a_resumed_run_that_ends_well_is_done_with_the_costs_of_all_its_stages(
    platform: Platform, run: PipelineRun
) -> None:
    resumption(platform, run, 2)
    run.jobs.clear()  # of the first submission
    train = resumed(run, "train", "SUCCEEDED")["detail"]["jobId"]
    run.writes(
        "train",
        job_id=train,
        attempt=1,
        interruptions=[{"attempt": 1, "seconds": 100, "usd": 0.02, "job_id": "lost-job"}],
    )
    event = resumed(run, "compress", "SUCCEEDED")
    run.writes("compress", job_id=event["detail"]["jobId"], attempt=1)
    platform.monitor(event)
    subject, body = platform.email()
    assert subject.startswith(f"[demo] {RUN} is done")
    assert "reused" not in body
    assert "Cost:       0.3887 USD" in body  # three stages at 0.1229, and what was lost
    assert "train was interrupted once" in body


def test_a_resumed_run_that_loses_its_machines_again_is_resumed_again(platform: Platform, run: PipelineRun) -> None:
    resumption(platform, run, 2)
    platform.monitor(resumed(run, "train", "FAILED"))
    assert list(schedules()) == [schedule_name(KEY, 2)]
    assert "(2 of 2)" in platform.email()[0]


def test_after_the_last_resumption_a_run_fails(platform: Platform, run: PipelineRun) -> None:
    resumption(platform, run, 1)
    platform.monitor(resumed(run, "train", "FAILED"))
    assert schedules() == {} and "FAILED in train: spot machine reclaimed" in platform.email()[0]


# --- The dispatcher ---


class Jobs:
    """What AWS Batch answers about jobs, to the dispatcher."""

    def __init__(self, platform: Platform) -> None:
        from aws import clients

        self.platform = platform
        self.by_id: dict[str, dict[str, Any]] = {}
        events = clients.client("batch").meta.events
        events.register("before-call.batch.ListJobs", self._answering(self._listed))
        events.register("before-call.batch.DescribeJobs", self._answering(self._described))
        events.register("provide-client-params.batch.SubmitJob", self._note)

    def fail(self, name: str, **changes: Any) -> str:
        """The job of this name has lost its machines."""
        job = next(job for job in self.by_id.values() if job["jobName"] == name)
        job |= {"status": "FAILED", "attempts": [LOST] * 3, "retryStrategy": {"attempts": 3}, **changes}
        return str(job["jobId"])

    def end(self, name: str, status: str, **changes: Any) -> None:
        job = next(job for job in self.by_id.values() if job["jobName"] == name)
        job |= {"status": status, **changes}

    @property
    def names(self) -> list[str]:
        return [job["jobName"] for job in self.by_id.values()]

    def _note(self, params: dict[str, Any], **_: Any) -> None:
        job_id = f"00000000-0000-0000-0000-{len(self.by_id):012}"
        self.by_id[job_id] = {
            "jobId": job_id,
            "jobName": params["jobName"],
            "jobQueue": params["jobQueue"],
            "status": "PENDING",
        }

    def _answering(self, answer: Any) -> Any:
        def handler(params: dict[str, Any], **_: Any) -> Any:
            class Answered:
                status_code = 200

            return Answered(), answer(json.loads(params["body"]))

        return handler

    def _listed(self, asked: dict[str, Any]) -> dict[str, Any]:
        (name,) = asked["filters"][0]["values"]
        return {"jobSummaryList": [job for job in self.by_id.values() if job["jobName"] == name]}

    def _described(self, asked: dict[str, Any]) -> dict[str, Any]:
        return {"jobs": [self.by_id[job_id] for job_id in asked["jobs"] if job_id in self.by_id]}


@pytest.fixture
def jobs(platform: Platform) -> Jobs:
    return Jobs(platform)


PIPELINE = {
    "trigger_type": "splat_pipeline",
    "data": {"input": "photos/my-scene/", "request_id": "once", "auto_resume": 2, "max_cost_usd": 5},
    "metadata": {"project": "demo"},
}


def started(platform: Platform, jobs: Jobs, message: dict[str, Any] = PIPELINE) -> tuple[str, str]:
    """A run whose training has lost its machines: its id and the key of its run.json."""
    run_id = platform.dispatch(message)["run_id"]
    jobs.end(f"{run_id}-sfm", "SUCCEEDED")
    jobs.fail(f"{run_id}-train")
    jobs.end(f"{run_id}-compress", "FAILED", statusReason="Dependent Job failed")
    platform.submissions.clear()
    return run_id, f"runs/demo/{run_id}/run.json"


def test_the_failed_stage_and_those_after_it_go_on_where_they_were(platform: Platform, jobs: Jobs) -> None:
    run_id, key = started(platform, jobs)
    before = platform.stored(f"runs/demo/{run_id}/train/request.json")["job"]
    lost_id = next(each for each, job in jobs.by_id.items() if job["jobName"] == f"{run_id}-train")

    answer = platform.dispatch(resume_message(key, 1))

    train, compress = platform.submissions
    assert (train["jobName"], compress["jobName"]) == (f"{run_id}-train-r1", f"{run_id}-compress-r1")
    assert compress["dependsOn"] == [{"jobId": answer["jobs"]["train"]}] and "dependsOn" not in train
    resumed_key = f"runs/demo/{run_id}/resume-1.json"
    for submission in (train, compress):
        assert environment_of(submission)["RUN_KEY"] == resumed_key
        assert environment_of(submission)["RUN_ID"] == run_id
    job = platform.stored(f"runs/demo/{run_id}/train/request.json")["job"]
    assert (job["resumes_job"], job["run_key"]) == (lost_id, resumed_key)
    same = ("output_prefix", "checkpoint_prefix", "input", "parameters", "content_key", "max_cost_usd")
    assert {name: job[name] for name in same} == {name: before[name] for name in same}
    document = platform.stored(resumed_key)
    assert document["resumed"] == 1
    assert document["stages"][0]["reused_from"] == f"runs/demo/{run_id}/sfm/"
    assert "resumed" not in platform.stored(key)


def test_a_resumption_is_submitted_once_however_often_its_message_comes(platform: Platform, jobs: Jobs) -> None:
    _, key = started(platform, jobs)
    platform.dispatch(resume_message(key, 1))
    platform.dispatch(resume_message(key, 1))
    forget_records()  # as after a crash between SubmitJob and its record
    platform.dispatch(resume_message(key, 1))
    assert len(platform.submissions) == 2


def test_a_second_resumption_follows_the_first_and_there_is_no_third(platform: Platform, jobs: Jobs) -> None:
    run_id, key = started(platform, jobs)
    platform.dispatch(resume_message(key, 1))
    jobs.end(f"{run_id}-train-r1", "SUCCEEDED")
    jobs.fail(f"{run_id}-compress-r1")
    platform.submissions.clear()
    platform.dispatch(resume_message(key, 2))
    (compress,) = platform.submissions
    assert compress["jobName"] == f"{run_id}-compress-r2"
    jobs.fail(f"{run_id}-compress-r2")
    assert "at most auto_resume" in platform.dispatch(resume_message(key, 3))["refused"]
    assert len(platform.submissions) == 1


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"status": "RUNNING"}, "is RUNNING"),
        ({"isTerminated": True}, "was stopped"),
        ({"isCancelled": True}, "was stopped"),
        ({"attempts": [LOST]}, "before its attempts were used up"),
        ({"attempts": [LOST, LOST, {"container": {"exitCode": 119}}]}, "failed for good"),
        ({"attempts": [LOST, LOST, {"container": {"exitCode": 137, "reason": "OutOfMemoryError: x"}}]}, "for good"),
        ({"status": "SUCCEEDED"}, "is PENDING"),  # then compress is next
    ],
)
def test_a_message_resumes_only_a_run_that_lost_its_machines(
    platform: Platform, jobs: Jobs, changes: dict[str, Any], reason: str
) -> None:
    run_id, key = started(platform, jobs)
    jobs.end(f"{run_id}-compress", "PENDING")
    jobs.fail(f"{run_id}-train", **changes)
    assert reason in platform.dispatch(resume_message(key, 1))["not_resumed"]
    assert platform.submissions == []


def test_a_run_that_was_cancelled_while_it_waited_is_left_alone(platform: Platform, jobs: Jobs) -> None:
    run_id, key = started(platform, jobs)
    jobs.end(f"{run_id}-compress", "FAILED", isTerminated=True)
    assert "compress was stopped" in platform.dispatch(resume_message(key, 1))["not_resumed"]


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({"key": "runs/demo/no-such-run/run.json"}, "data.key"),
        ({"key": "runs/demo/../other/run.json"}, "data.key"),
        ({"key": "secrets.json"}, "data.key"),
        ({"number": 0}, "data.number"),
        ({"number": 6}, "data.number"),
        ({"number": 2.5}, "data.number"),
        ({"input": "x"}, "data.input"),
    ],
)
def test_a_hostile_message_is_refused(platform: Platform, jobs: Jobs, data: dict[str, Any], field: str) -> None:
    _, key = started(platform, jobs)
    message = resume_message(key, 1)
    message["data"] |= data
    assert field in platform.dispatch(message)["refused"] and platform.submissions == []


def test_a_run_document_with_anothers_checkpoints_is_refused(platform: Platform, jobs: Jobs) -> None:
    run_id, key = started(platform, jobs)
    document = platform.stored(key)
    document["stages"][1]["job"]["checkpoint_prefix"] = "checkpoints/other/run/train/"
    platform.put("demo-output", key, document)
    assert f"checkpoints/demo/{run_id}/train/" in platform.dispatch(resume_message(key, 1))["refused"]
    assert platform.submissions == []


def test_a_job_that_is_no_pipeline_is_resumed_too(platform: Platform, jobs: Jobs) -> None:
    data = {"script_key": "jobs/gpu_processing.py", "auto_resume": 1, "request_id": "job-1"}
    answer = platform.dispatch({"trigger_type": "batch_job", "data": data, "metadata": {"project": "demo"}})
    lost_id = jobs.fail(answer["job_name"])
    (first,) = copy.deepcopy(platform.submissions)
    key = environment_of(first)["REQUEST_KEY"]
    platform.submissions.clear()
    for _ in range(2):
        platform.dispatch(resume_message(key, 1))
        forget_records()
    (second,) = platform.submissions
    assert second == {**first, "jobName": f"{answer['job_name']}-r1"}
    assert platform.stored(key)["job"]["resumes_job"] == lost_id


def test_the_monitor_schedules_a_job_by_its_request(platform: Platform) -> None:
    event = saved_event("job_spot_reclaimed")
    environment = {pair["name"]: pair["value"] for pair in event["detail"]["container"]["environment"]}
    message = {"trigger_type": "batch_job", "data": {"script_key": "jobs/x.py", "auto_resume": 3}}
    document = {
        "version": 1,
        "request_id": "r",
        "message": message,
        "job": {"script_key": "x", "checkpoint_prefix": "y"},
    }
    platform.put("demo-output", environment["REQUEST_KEY"], document)
    platform.monitor(event)
    assert list(schedules()) == [schedule_name(environment["REQUEST_KEY"], 1)]
    assert "(1 of 3)" in platform.email()[0]


@pytest.mark.parametrize(
    ("trigger", "data"),
    [
        ("batch_job", {"script_key": "jobs/gpu_processing.py", "array_size": 2}),
        ("splat_pipeline", {"inputs": "photos/"}),
        ("splat_pipeline", {"input": "photos/my-scene/", "sweep": {"train": {"cap_max": [100000, 200000]}}}),
    ],
)
def test_it_is_refused_for_arrays(platform: Platform, trigger: str, data: dict[str, Any]) -> None:
    answer = platform.dispatch({"trigger_type": trigger, "data": {**data, "auto_resume": 1}})
    assert "data.auto_resume" in answer["refused"]
