"""From the end of a pipeline run to its one e-mail."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest
from botocore.exceptions import ClientError
from lambda_platform import saved_event
from pipeline_run import FOLDER, KINDS, LIMIT, MESSAGE, METRICS, RUN, PipelineRun, published

from splatworks.contract.stage import Figure, Stage
from splatworks.contract.stages import STAGES
from splatworks.planning import message as messages


def links(body: str) -> list[str]:
    return [line.strip() for line in body.splitlines() if "X-Amz-Signature" in line]


def test_a_run_that_succeeded_tells_what_came_of_it_how_long_it_took_and_what_it_cost(run: PipelineRun) -> None:
    run.plan("sfm", "train", "compress")

    run.platform.monitor(run.succeeds())

    subject, body = run.platform.email()
    assert subject == f"[demo] {RUN} is done: 22 of 24 registered, 27.30 dB, 2.91 MB"
    for line in (
        "Photos:     22 of 24 registered",
        "PSNR:       27.30 dB",
        "Gaussians:  181,234",
        "Size:       2.91 MB",
        "Loss:       0.120 dB by compression, measured against photos",
        "Took:       36 min 0 s from the message to the end",
        "Cost:       0.3687 USD",
        "  train:    done after 10 min 0 s; waited 2 min 0 s for a machine; g5.xlarge, spot, us-east-1a; 0.1229 USD",
        "  sfm: 2 photos are blurred: a, b",
        f"  compress: s3://demo-output/{FOLDER}compress/",
        f"  splatworks open {RUN}",
    ):
        assert line in body.splitlines()
    assert "interrupted" not in body
    assert "aws sns publish" not in body


def test_the_links_open_the_page_in_a_browser_until_the_time_that_is_told(run: PipelineRun) -> None:
    run.plan("sfm", "train", "compress")

    run.platform.monitor(run.succeeds())

    _, body = run.platform.email()
    page, thumbnail = (urlsplit(link) for link in links(body))
    assert page.hostname == "demo-output.s3.us-east-1.amazonaws.com"
    assert (page.path, thumbnail.path) == (f"/{FOLDER}compress/viewer/index.html", f"/{FOLDER}compress/thumbnail.png")
    signed = parse_qs(page.query)
    assert signed["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"]
    assert signed["response-content-type"] == ["text/html; charset=utf-8"]
    assert signed["X-Amz-Security-Token"][0]
    begun = datetime.strptime(signed["X-Amz-Date"][0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    ends = begun + timedelta(seconds=int(signed["X-Amz-Expires"][0]))
    told = re.search(r"Both links end at (.+) UTC", body)
    assert told
    told_end = datetime.strptime(told[1], "%Y-%m-%d %H:%M").replace(tzinfo=UTC)
    assert timedelta(0) <= ends - told_end < timedelta(minutes=1, seconds=2)
    assert timedelta(minutes=59) < ends - datetime.now(UTC) <= timedelta(hours=1)


def test_a_link_is_of_its_own_region(run: PipelineRun, monkeypatch: pytest.MonkeyPatch) -> None:
    from gather.run_links import sign
    from gather.settings import MonitorSettings
    from splatworks.report.page_links import PageKeys

    settings = MonitorSettings(
        project_name="demo",
        output_bucket="demo-output",
        job_log_group="",
        cancelled_reasons=(),
        notification_topic_arn="",
        trigger_topic_arn="",
        idempotency_table="",
        link_role_arn="arn:aws:iam::123456789012:role/demo-ml-run-links",
        resume_group="demo-ml-resume",
        resume_role_arn="arn:aws:iam::123456789012:role/demo-ml-resume",
    )
    made = sign(PageKeys(page="runs/a/b/page.html", thumbnail=""), RUN, settings, "eu-central-1")

    assert urlsplit(made.page_url).hostname == "demo-output.s3.eu-central-1.amazonaws.com"
    assert "%2Feu-central-1%2Fs3%2F" in made.page_url
    assert made.thumbnail_url == ""


def test_a_stage_that_failed_says_why_what_to_do_what_stands_and_how_to_go_on(run: PipelineRun) -> None:
    run.plan("sfm", "train", "compress")
    run.ends("sfm")
    run.writes("sfm")
    failed = run.ends("train", "FAILED")
    run.writes("train", ended="failed", error=LIMIT)
    run.never_starts("compress")

    run.platform.monitor(failed)

    subject, body = run.platform.email()
    assert subject == f"[demo] {RUN} FAILED in train: the script reported an error"
    for line in (
        "Why:    the held-out PSNR is 11 dB, under 15 dB",
        "To do:  Take sharper photos.",
        "Took:       24 min 0 s from the message to the end",
        "Cost:       0.2458 USD, so far",
        "  sfm:      done after 10 min 0 s; waited 2 min 0 s for a machine; g5.xlarge, spot, us-east-1a; 0.1229 USD",
        "  train:    FAILED after 10 min 0 s; waited 2 min 0 s for a machine; g5.xlarge, spot, us-east-1a; 0.1229 USD",
        "  compress: not started",
        f"  sfm:      s3://demo-output/{FOLDER}sfm/",
        f"Unfinished output of train:  s3://demo-output/{FOLDER}train/",
        "Continue from train, once that is fixed:",
    ):
        assert line in body.splitlines()
    assert links(body) == []


def test_the_message_that_goes_on_starts_with_the_failed_stage_on_what_it_read(run: PipelineRun) -> None:
    run.plan("sfm", "train", "compress")
    run.ends("sfm")
    failed = run.ends("train", "FAILED")

    run.platform.monitor(failed)

    data = MESSAGE["data"]
    assert published(run.platform.email()[1]) == {
        "trigger_type": "splat_pipeline",
        "data": {
            "job_name": "harbour",
            "preset": "standard",
            "train": data["train"],
            "compress": data["compress"],
            "steps": "train",
            "input": f"s3://demo-output/{FOLDER}sfm/",
        },
        "metadata": MESSAGE["metadata"],
    }


def test_compression_goes_on_from_the_photos_and_the_splat(run: PipelineRun) -> None:
    earlier = "runs/surveys/harbour-aaaaaaaaaaaa/sfm/"
    run.plan("sfm", "train", "compress", reused={"sfm": earlier})
    run.ends("train")
    run.platform.monitor(run.ends("compress", "FAILED"))

    data = published(run.platform.email()[1])["data"]
    assert data["steps"] == "compress"
    assert data["input"] == [f"s3://demo-output/{earlier}", f"s3://demo-output/{FOLDER}train/"]
    assert {"sfm", "train", "request_id"}.isdisjoint(data)


def test_when_the_first_stage_fails_the_message_is_the_same_without_its_request_id(run: PipelineRun) -> None:
    run.plan("sfm", "train", "compress")
    failed = run.ends("sfm", "FAILED")
    error = {"code": "gate_registered", "cause": "2 of 24 photos", "fix": "Overlap more. To go on regardless: force."}
    run.writes("sfm", ended="input_error", error=error)

    run.platform.monitor(failed)

    subject, body = run.platform.email()
    assert subject == f"[demo] {RUN} FAILED in sfm: the input is at fault"
    assert "To do:  Overlap more. To go on regardless: force." in body
    assert "Start again, once that is fixed:" in body
    data = {name: value for name, value in MESSAGE["data"].items() if name != "request_id"}
    assert published(body) == {**MESSAGE, "data": data}
    assert "Finished stages:" not in body


def test_stages_of_earlier_runs_are_named_with_what_they_saved(run: PipelineRun) -> None:
    earlier = "runs/surveys/harbour-aaaaaaaaaaaa/"
    run.plan("sfm", "train", "compress", reused={"sfm": f"{earlier}sfm/"})
    run.writes("sfm", folder=earlier)
    for stage in ("train", "compress"):
        event = run.ends(stage)
        run.writes(stage)

    run.platform.monitor(event)

    _, body = run.platform.email()
    lines = body.splitlines()
    assert "  sfm:      reused from harbour-aaaaaaaaaaaa (saved 9 min 58 s and 0.1229 USD)" in lines
    assert "Cost:       0.2458 USD" in lines
    assert "Photos:     22 of 24 registered" in lines
    assert f"  sfm:      s3://demo-output/{earlier}sfm/" in lines


def test_a_run_whose_results_were_all_there_is_reported_without_a_job(run: PipelineRun) -> None:
    earlier = "runs/surveys/harbour-aaaaaaaaaaaa/"
    stages = ("sfm", "train", "compress")
    run.plan(*stages, reused={stage: f"{earlier}{stage}/" for stage in stages})
    for stage in stages:
        run.writes(stage, folder=earlier)
    settled = saved_event("run_settled")

    run.platform.monitor(settled)
    run.platform.monitor(settled)

    subject, body = run.platform.email()
    assert subject.startswith(f"[demo] {RUN} is done")
    assert "Cost:       0.0000 USD" in body
    assert urlsplit(links(body)[0]).path == f"/{earlier}compress/viewer/index.html"
    assert run.calls == []


def test_an_unknown_cost_is_never_left_out_of_the_sum_in_silence(run: PipelineRun) -> None:
    run.plan("sfm", "train", "compress")
    event = run.succeeds()
    run.writes("train", cost=None)

    run.platform.monitor(event)

    _, body = run.platform.email()
    assert "Cost:       at least 0.2458 USD; that of train is unknown" in body
    assert "g5.xlarge, spot, us-east-1a; cost unknown" in body


def test_interruptions_are_counted_with_the_time_they_took_and_are_paid_for(run: PipelineRun) -> None:
    run.plan("sfm", "train", "compress")
    run.succeeds()
    reclaimed = {"container": {"exitCode": 75}, "startedAt": 1_000, "stoppedAt": 301_000, "statusReason": "Host EC2"}
    killed = {"container": {}, "startedAt": 400_000, "stoppedAt": 460_000, "statusReason": "Host EC2 terminated"}
    never = {"container": {"reason": "CannotPullContainerError"}, "statusReason": "Task failed to start"}
    last = {"container": {"exitCode": 0}, "startedAt": 500_000, "stoppedAt": 560_000, "statusReason": ""}
    run.ends("train", attempts=[reclaimed, killed, never, last])
    unknown = {"ended_at": None, "seconds": None, "usd": None}
    known = [
        {"attempt": 1, "ended_at": "2026-01-31T12:05:00Z", "seconds": 300.0, "usd": 0.01},
        {"attempt": 2, **unknown},
        {"attempt": 3, **unknown},
    ]
    run.writes("train", interruptions=known)

    run.platform.monitor(run.ends("compress"))

    _, body = run.platform.email()
    assert "train was interrupted 2 times, with 360 s lost at most" in body
    # 0.1229 for the last attempt, 0.01 for the first, and 60 s at 0.74 an hour for the one that recorded nothing.
    assert "spot, us-east-1a; 0.1452 USD" in body


def test_a_host_that_went_without_notice_is_paid_for_until_its_last_sign_of_life(run: PipelineRun) -> None:
    run.plan("sfm", "train", "compress")
    run.ends("sfm")
    run.writes("sfm")
    gone = run.ends("train", "FAILED", statusReason="Host EC2 (instance i-1) terminated.")
    run.writes("train", ended="running")
    s3 = boto3.client("s3")
    s3.copy_object(
        Bucket="demo-output", Key=f"{FOLDER}train/_RUNNING", CopySource=f"demo-output/{FOLDER}train/job.json"
    )
    s3.delete_object(Bucket="demo-output", Key=f"{FOLDER}train/job.json")

    run.platform.monitor(gone)

    subject, body = run.platform.email()
    assert subject == f"[demo] {RUN} FAILED in train: spot machine reclaimed"
    assert "Cost:       0.2458 USD, so far" in body.splitlines()


def test_a_limit_on_the_cost_has_its_own_words(run: PipelineRun) -> None:
    run.message["data"]["max_cost_usd"] = 0.5
    run.plan("sfm", "train", "compress")
    run.ends("sfm")
    failed = run.ends("train", "FAILED")
    error = {"code": "cost_limit", "cause": "0.51 USD of 0.50 USD are spent", "fix": "Raise max_cost_usd."}
    run.writes("train", ended="cost_limit", error=error)

    run.platform.monitor(failed)

    subject, body = run.platform.email()
    assert subject == f"[demo] {RUN} FAILED in train: cost limit"
    assert "Why:    max_cost_usd stopped it: 0.51 USD of 0.50 USD are spent" in body
    assert "counts from zero" in body
    assert published(body)["data"]["max_cost_usd"] == 0.5


def test_a_stage_that_is_stopped_while_an_earlier_one_runs_says_so(run: PipelineRun) -> None:
    run.plan("sfm", "train", "compress")
    run.ends("sfm", "RUNNING", stoppedAt=None)
    stopped = run.ends("train", "FAILED", statusReason="wrong photos, sorry", attempts=[], startedAt=None)

    run.platform.monitor(stopped)

    subject, body = run.platform.email()
    assert subject == f"[demo] {RUN} FAILED in train: stopped"
    assert "wrong photos, sorry" in body
    assert "  sfm:      RUNNING when this was written" in body.splitlines()


def test_jobs_that_batch_has_forgotten_do_not_keep_the_email_back(run: PipelineRun) -> None:
    run.plan("sfm", "train", "compress")
    event = run.succeeds()
    for job_id in list(run.jobs)[:2]:
        del run.jobs[job_id]

    run.platform.monitor(event)

    subject, body = run.platform.email()
    assert subject.startswith(f"[demo] {RUN} is done")
    assert "  train:    done after 9 min 58 s" in body
    assert "Cost:       0.3687 USD" in body


def test_a_copy_of_a_stages_job_under_another_name_is_reported_as_a_job_of_its_own(run: PipelineRun) -> None:
    run.plan("sfm", "train", "compress")
    event = run.ends("compress")
    event["detail"]["jobName"] = "compress-once-more"

    run.platform.monitor(event)

    assert run.platform.email()[0].startswith("[demo] compress-once-more is done")


def test_a_run_without_its_file_is_a_fault(run: PipelineRun) -> None:
    run.plan("sfm", "train", "compress")
    event = run.ends("compress")
    boto3.client("s3").delete_object(Bucket="demo-output", Key=f"{FOLDER}run.json")

    with pytest.raises(ClientError, match="NoSuchKey"):
        run.platform.monitor(event)


def test_a_message_too_long_for_a_shell_is_put_beside_the_run(run: PipelineRun) -> None:
    run.message["data"]["train"]["parameters"] = {f"note_{i}": "x" * 8000 for i in range(4)}
    run.plan("sfm", "train", "compress")
    run.ends("sfm")

    run.platform.monitor(run.ends("train", "FAILED"))

    _, body = run.platform.email()
    key = f"{FOLDER}continue.json"
    assert f"  aws s3 cp s3://demo-output/{key} message.json" in body.splitlines()
    assert "--message file://message.json" in body
    stored = json.loads(boto3.client("s3").get_object(Bucket="demo-output", Key=key)["Body"].read())
    messages.check(stored)
    assert stored["data"]["steps"] == "train"
    assert len(stored["data"]["train"]["parameters"]) == 4


@pytest.mark.parametrize(
    "odd", [None, "text", 7, [1], {"a": [1]}, {"photos": "many", "registered": True, "psnr": {}, "warnings": 7}]
)
def test_files_of_odd_shape_do_not_keep_the_email_back(run: PipelineRun, odd: Any) -> None:
    run.plan("sfm", "train", "compress")
    event = run.succeeds()
    for stage in ("sfm", "train", "compress"):
        run.writes(stage, seconds=odd, cost=odd, machine=odd, interruptions=odd, error=odd, metrics=odd)
        run.platform.put("demo-output", f"{FOLDER}{stage}/result.json", {"metrics": odd})

    run.platform.monitor(event)

    assert run.platform.email()[0] == f"[demo] {RUN} is done"


@pytest.mark.parametrize(
    ("name", "content", "note"),
    [
        ("job.json", {"version": 2}, "train/job.json has version 2; this program reads up to version 1. Run terraform"),
        ("job.json", b"{", "train/job.json is not JSON"),
        ("result.json", {"version": 7}, "train/result.json has version 7; this program reads up to version 1."),
        ("result.json", b"[1]", "train/result.json holds a list, not a JSON object"),
    ],
)
def test_a_document_that_cannot_be_read_leaves_its_facts_unknown_and_the_email_says_why(
    run: PipelineRun, name: str, content: Any, note: str
) -> None:
    run.plan("sfm", "train", "compress")
    event = run.succeeds()
    run.platform.put("demo-output", f"{FOLDER}train/{name}", content)

    run.platform.monitor(event)

    subject, body = run.platform.email()
    assert subject == f"[demo] {RUN} is done: 22 of 24 registered, 2.91 MB"
    assert [line for line in body.splitlines() if line.startswith(f"Note: {note}")]
    assert ("that of train is unknown" in body) == (name == "job.json")


def test_figures_that_no_format_takes_are_left_out(run: PipelineRun) -> None:
    run.plan("sfm", "train", "compress")
    event = run.succeeds()
    run.platform.put("demo-output", f"{FOLDER}train/result.json", b'{"metrics": {"psnr": NaN, "gaussians": 1e999}}')

    run.platform.monitor(event)

    assert run.platform.email()[0] == f"[demo] {RUN} is done: 22 of 24 registered, 2.91 MB"


def test_a_fourth_stage_of_the_table_appears_in_the_email(run: PipelineRun, monkeypatch: pytest.MonkeyPatch) -> None:
    measure = Stage(
        name="measure",
        title="measuring",
        image="ml-python-slim",
        compute_type="cpu",
        timeout_seconds=60,
        reads=("train",),
        parameters=type(None),
        figures=(Figure(label="Volume", text="{cubic_metres:.1f} m3", in_subject=True),),
    )
    monkeypatch.setitem(cast(dict[str, Stage], STAGES), "measure", measure)
    monkeypatch.setitem(KINDS, "measure", "cpu")
    monkeypatch.setitem(METRICS, "measure", {"cubic_metres": 12.34, "warnings": ["no scale bar"]})
    run.plan("sfm", "train", "compress", "measure")

    run.platform.monitor(run.succeeds())

    subject, body = run.platform.email()
    assert subject == f"[demo] {RUN} is done: 22 of 24 registered, 27.30 dB, 2.91 MB, 12.3 m3"
    lines = body.splitlines()
    assert "Volume:     12.3 m3" in lines
    assert "  measure: no scale bar" in lines
    assert "  measure:  done after 10 min 0 s; waited 2 min 0 s for a machine;" in body
    assert f"  measure:  s3://demo-output/{FOLDER}measure/" in lines
    assert urlsplit(links(body)[0]).path == f"/{FOLDER}compress/viewer/index.html"


def test_the_files_that_the_links_open_are_those_that_compression_writes() -> None:
    script = (Path(__file__).parents[3] / "jobs" / "compress.py").read_text()

    assert f'"{STAGES["compress"].page}"' in script
    assert f'"{STAGES["compress"].thumbnail}"' in script
