"""What a good message makes of Batch and S3."""

import json
import re
from typing import Any

import boto3
import pytest
from lambda_platform import RETRY_RULES, Platform, environment_of, saved_event

GPU = {"script_key": "stages/train.py"}


def message(**data: Any) -> dict[str, Any]:
    return {"trigger_type": "batch_job", "data": {**GPU, **data}}


def test_the_saved_event_submits_one_job_with_its_overrides(platform: Platform) -> None:
    from lambda_platform import Context

    import dispatcher

    (answer,) = dispatcher.handler(saved_event("sns_message"), Context())["answers"]

    (sent,) = platform.submissions
    assert sent["jobName"] == answer["job_name"]
    assert re.fullmatch(r"train-[0-9a-f]{12}", sent["jobName"])
    assert sent["jobQueue"] == platform.queues["gpu"]
    assert sent["containerOverrides"]["resourceRequirements"] == [
        {"type": "VCPU", "value": "4"},
        {"type": "MEMORY", "value": "15000"},
        {"type": "GPU", "value": "1"},
    ]
    assert sent["tags"] == {
        "user": "ml-engineer",
        "project": "model-training",
        "experiment": "first",
        "run_id": sent["jobName"],
        "stage": "train",
    }
    assert sent["propagateTags"] is True
    assert sent["shareIdentifier"] == "modeltraining"
    jobs = boto3.client("batch").list_jobs(
        jobQueue=platform.queues["gpu"], filters=[{"name": "JOB_NAME", "values": [sent["jobName"]]}]
    )["jobSummaryList"]
    assert [job["jobId"] for job in jobs] == [answer["job_id"]]
    assert platform.emails() == []


def test_the_container_gets_exactly_the_variables_of_the_contract(platform: Platform) -> None:
    platform.dispatch({**message(), "metadata": {"user": "ann", "project": "Über/all"}})

    (sent,) = platform.submissions
    run = sent["jobName"]
    assert environment_of(sent) == {
        "REQUEST_KEY": f"runs/ber-all/{run}/train/request.json",
        "OUTPUT_PREFIX": f"runs/ber-all/{run}/train/",
        "RUN_ID": run,
        "STAGE": "train",
        "TRIGGER_USER": "ann",
        "TRIGGER_PROJECT": "Über/all",
        "TRIGGER_EXPERIMENT": "",
    }


def test_request_json_holds_what_the_runner_needs(platform: Platform) -> None:
    platform.put("partner-photos", "flight/1.jpg")
    published = message(
        input=["photos/my-scene/", "s3://partner-photos/flight/1.jpg"],
        args=["--threads", "2"],
        parameters={"preset": "high", "max_steps": 3, "sky": True},
        operation="align",
        max_cost_usd=2.5,
    )

    answer = platform.dispatch(published, "id-1")

    document = platform.request_document()
    run = answer["job_name"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", document.pop("submitted_at"))
    assert document == {
        "version": 1,
        "request_id": "id-1",
        "message": published,
        "job": {
            "run_id": run,
            "stage": "train",
            "project": "default",
            "script_key": "stages/train.py",
            "input": ["s3://demo-input/photos/my-scene/", "s3://partner-photos/flight/1.jpg"],
            "input_layout": "by_name",
            "args": ["--threads", "2"],
            "parameters": {"preset": "high", "max_steps": 3, "sky": True},
            "operation": "align",
            "max_cost_usd": 2.5,
            "output_prefix": f"runs/default/{run}/train/",
            "checkpoint_prefix": f"checkpoints/default/{run}/train/",
        },
    }


def test_one_input_string_is_laid_out_flat(platform: Platform) -> None:
    platform.dispatch(message(input="photos/my-scene"))

    job = platform.request_document()["job"]
    assert (job["input"], job["input_layout"]) == (["s3://demo-input/photos/my-scene"], "flat")


def test_what_a_message_leaves_out_is_left_to_the_job_definition(platform: Platform) -> None:
    platform.dispatch(message())

    (sent,) = platform.submissions
    assert sent["containerOverrides"]["resourceRequirements"] == []
    assert not {"timeout", "retryStrategy", "schedulingPriorityOverride", "arrayProperties", "dependsOn"} & set(sent)


def test_every_option_reaches_batch(platform: Platform) -> None:
    first = platform.dispatch(message(), "first")["job_id"]
    platform.submissions.clear()

    platform.dispatch(
        message(
            compute_type="cpu",
            vcpus=16.0,
            memory=8192,
            timeout_seconds=60,
            attempts=7,
            priority=42,
            array_size=2,
            depends_on=[first],
            spot=False,
            job_name="my_Job-1",
        ),
        "second",
    )

    (sent,) = platform.submissions
    assert sent["jobName"].startswith("my_Job-1-")
    assert sent["jobQueue"] == platform.queues["cpu-on-demand"]
    assert sent["containerOverrides"]["resourceRequirements"] == [
        {"type": "VCPU", "value": "16"},
        {"type": "MEMORY", "value": "8192"},
    ]
    assert sent["timeout"] == {"attemptDurationSeconds": 60}
    assert sent["retryStrategy"] == {"attempts": 7, "evaluateOnExit": RETRY_RULES}
    assert sent["schedulingPriorityOverride"] == 42
    assert sent["arrayProperties"] == {"size": 2}
    assert sent["dependsOn"] == [{"jobId": first}]
    assert sent["shareIdentifier"] == "default"


def test_overrides_stay_far_below_what_ecs_fails_on(platform: Platform) -> None:
    longest = {name: "x" * 256 for name in ("user", "project", "experiment")}
    parameters = {f"name_{i}": "y" * 1000 for i in range(100)}
    script = f"jobs/{'s' * 500}.py"
    platform.put("demo-input", script)

    platform.dispatch({**message(script_key=script, parameters=parameters), "metadata": longest})

    (sent,) = platform.submissions
    assert len(json.dumps(sent["containerOverrides"])) < 4000
    assert len(sent["jobName"]) <= 128


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        ("ann <ann@example.org>", "ann -ann@example.org-"),
        ("line\nbreak\ttab", "line-break-tab"),
        ("aws:aws:me", "me"),
        ("Zoe\u0308", "Zoë"),
        ("日本", "日本"),
    ],
)
def test_people_are_cleaned_to_what_tags_allow(platform: Platform, text: str, tag: str) -> None:
    platform.dispatch({**message(), "metadata": {"user": text}})

    assert platform.submissions[0]["tags"]["user"] == tag


def test_a_label_of_nothing_but_blanks_is_no_tag(platform: Platform) -> None:
    platform.dispatch({**message(), "metadata": {"user": "  ", "project": "../.."}})

    (sent,) = platform.submissions
    assert "user" not in sent["tags"]
    assert environment_of(sent)["OUTPUT_PREFIX"].startswith("runs/default/")


def test_a_folder_made_in_the_console_does_not_count_as_input_but_its_objects_do(platform: Platform) -> None:
    platform.put("demo-input", "photos/new/", b"")
    platform.put("demo-input", "photos/new/a.jpg")

    assert "job_id" in platform.dispatch(message(input="photos/new/"))


def test_a_script_of_ones_own_takes_any_parameter(platform: Platform) -> None:
    answer = platform.dispatch(message(script_key="jobs/gpu_processing.py", parameters={"quality": "ultra"}))

    assert "job_id" in answer
