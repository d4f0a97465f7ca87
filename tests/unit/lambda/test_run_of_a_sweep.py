"""The e-mail about a sweep, and its leaderboard."""

import csv
from typing import Any

import boto3
import pytest
from pipeline_run import FOLDER, RUN, PipelineRun, published

EXITED = "Essential container in task exited"
NOT_STARTED = "Dependent Job failed"
SWEEP = {"train": {"cap_max": [200000, 500000]}, "compress": {"sh_degree": [0, 3]}}
# psnr of training, loss and size of compression, by variant
FIGURES = [(27.1, 0.30, 1.1), (27.1, 0.10, 2.9), (28.2, 0.30, 1.9), (28.2, 0.30, 1.5)]


def plan_sweep(run: PipelineRun) -> None:
    run.message["data"] |= {"sweep": SWEEP, "fresh": True}
    swept = [
        {"train": {"cap_max": cap}, "compress": {"sh_degree": degree}} for cap in (200000, 500000) for degree in (0, 3)
    ]
    run.plan("sfm", "train", "compress", size=4, variants=swept)
    run.ends("sfm")
    run.writes("sfm")


def write_variants(run: PipelineRun, indexes: list[int]) -> None:
    for index in indexes:
        psnr, loss, megabytes = FIGURES[index]
        run.writes("train", index=index, metrics={"psnr": psnr, "gaussians": 180000})
        run.writes("compress", index=index, metrics={"loss_db": loss, "megabytes": megabytes})


@pytest.fixture
def all_done(run: PipelineRun) -> dict[str, Any]:
    plan_sweep(run)
    run.ends_array("train", {})
    event = run.ends_array("compress", {})
    write_variants(run, [0, 1, 2, 3])
    return event


def leaderboard() -> list[dict[str, str]]:
    body = boto3.client("s3").get_object(Bucket="demo-output", Key=f"{FOLDER}leaderboard.csv")["Body"].read().decode()
    return list(csv.DictReader(body.splitlines()))


def test_variants_are_ranked_by_psnr_then_loss_then_size(run: PipelineRun, all_done: dict[str, Any]) -> None:
    run.platform.monitor(all_done)

    subject, body = run.platform.email()
    assert subject == f"[demo] {RUN} is done: 4 variants, the best with 28.20 dB in 1.50 MB"
    rows = [line.split() for line in body.splitlines()]
    start = (
        rows.index(
            [
                "Variant",
                "train.cap_max",
                "compress.sh_degree",
                "PSNR",
                "Gaussians",
                "loss",
                "dB",
                "MB",
                "minutes",
                "USD",
            ]
        )
        + 1
    )
    assert rows[start : start + 4] == [
        ["3", "500000", "3", "28.20", "180,000", "0.300", "1.50", "19.9", "0.2458"],
        ["2", "500000", "0", "28.20", "180,000", "0.300", "1.90", "19.9", "0.2458"],
        ["1", "200000", "3", "27.10", "180,000", "0.100", "2.90", "19.9", "0.2458"],
        ["0", "200000", "0", "27.10", "180,000", "0.300", "1.10", "19.9", "0.2458"],
    ]
    # sfm once, and four variants of two stages
    assert "Cost:       1.11 USD" in body.splitlines()
    assert "  sfm:      done after 10 min 0 s; " in body
    assert f"/{FOLDER}compress/3/viewer/index.html?" in body
    assert "aws sns publish" not in body


def test_the_leaderboard_is_a_table_for_a_spreadsheet(run: PipelineRun, all_done: dict[str, Any]) -> None:
    run.platform.monitor(all_done)

    rows = leaderboard()
    assert [row["variant"] for row in rows] == ["3", "2", "1", "0"]
    assert rows[0] == {
        "variant": "3",
        "train.cap_max": "500000",
        "compress.sh_degree": "3",
        "psnr": "28.2",
        "loss_db": "0.3",
        "megabytes": "1.5",
        "gaussians": "180000",
        "minutes": "19.93",
        "usd": "0.2458",
        "failed": "",
        "output": f"s3://demo-output/{FOLDER}compress/3/",
    }


def test_variants_that_failed_come_last_and_the_same_message_does_only_them(run: PipelineRun) -> None:
    plan_sweep(run)
    run.ends_array("train", {3: EXITED})
    event = run.ends_array("compress", {3: NOT_STARTED})
    write_variants(run, [0, 1, 2])

    run.platform.monitor(event)

    subject, body = run.platform.email()
    assert subject == f"[demo] {RUN}: 1 of 4 variants FAILED"
    assert "  variant 3, in train: script error: The script ended with exit code 1." in body.splitlines()
    assert "that of variant 3 is unknown" in body
    assert [row["failed"] for row in leaderboard()] == ["", "", "", "train: script error"]
    assert leaderboard()[3]["variant"] == "3"
    data = published(body)["data"]
    assert data["sweep"] == SWEEP
    assert data["input"] == "photos/harbour/"
    assert {"fresh", "request_id"}.isdisjoint(data)
    assert f"/{FOLDER}compress/2/viewer/index.html?" in body


def test_a_sweep_whose_variants_all_failed_offers_nothing_to_look_at(run: PipelineRun) -> None:
    plan_sweep(run)
    run.ends_array("train", dict.fromkeys(range(4), EXITED))
    event = run.ends_array("compress", dict.fromkeys(range(4), NOT_STARTED))

    run.platform.monitor(event)

    subject, body = run.platform.email()
    assert subject == f"[demo] {RUN}: 4 of 4 variants FAILED"
    assert "viewer/index.html" not in body


def test_a_sweep_whose_first_stage_fails_is_told_as_a_chain(run: PipelineRun) -> None:
    plan_sweep(run)
    failed = run.ends("sfm", "FAILED")
    run.never_starts("train")
    run.never_starts("compress")

    run.platform.monitor(failed)

    subject, body = run.platform.email()
    assert subject == f"[demo] {RUN} FAILED in sfm: script error"
    assert "  train:    not started" in body.splitlines()
    assert published(body)["data"]["sweep"] == SWEEP
