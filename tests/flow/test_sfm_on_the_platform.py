"""Structure from motion as a user meets it: photos in the bucket, a message, a job, its output and the e-mail."""

import json
import uuid
from pathlib import Path
from typing import Any

import pytest
from PIL import ExifTags, Image

from local.embedded_aws import EmbeddedAWS
from local.survey.photos import Survey, render_survey

pytestmark = pytest.mark.flow


@pytest.fixture(scope="module")
def small_survey(tmp_path_factory: pytest.TempPathFactory) -> Survey:
    return render_survey(tmp_path_factory.mktemp("survey"), photos=12, width=720, height=480)


def run_sfm(platform: EmbeddedAWS, photos: Path) -> tuple[dict[str, Any], str]:
    """The job that a message about these photos became, and where its output lies."""
    name = f"sfm-{uuid.uuid4().hex[:8]}"
    bucket = platform.outputs["ml_input_bucket"]
    for photo in sorted(photos.iterdir()):
        platform.client("s3").upload_file(str(photo), bucket, f"photos/{name}/{photo.name}")
    data = {
        "script_key": "stages/sfm.py",
        "compute_type": "cpu",
        "input": f"photos/{name}/",
        "job_name": name,
        "timeout_seconds": 7200,
    }
    platform.publish(
        {"trigger_type": "batch_job", "data": data, "metadata": {"user": "surveyor", "project": "my-scene"}}
    )
    job = platform.wait_for_job(name, timeout=300)
    environment = {item["name"]: item["value"] for item in job["container"]["environment"]}
    return job, str(environment["OUTPUT_PREFIX"])


def written(platform: EmbeddedAWS, prefix: str) -> set[str]:
    pages = platform.client("s3").get_paginator("list_objects_v2")
    found = pages.paginate(Bucket=platform.outputs["ml_output_bucket"], Prefix=prefix)
    return {item["Key"].removeprefix(prefix) for page in found for item in page.get("Contents", [])}


def read(platform: EmbeddedAWS, key: str) -> Any:
    body = platform.client("s3").get_object(Bucket=platform.outputs["ml_output_bucket"], Key=key)["Body"]
    return json.load(body)


def test_photos_become_a_georeferenced_model_and_an_email_says_where(
    platform: EmbeddedAWS, small_survey: Survey
) -> None:
    job, prefix = run_sfm(platform, small_survey.photos)
    assert job["status"] == "SUCCEEDED", job
    result = read(platform, f"{prefix}result.json")
    assert result["status"] == "done" and result["error"] is None
    assert result["metrics"]["registered"] == result["metrics"]["photos"] == 12
    place = read(platform, f"{prefix}georeference.json")
    assert place["frame"] == "ENU" and place["residuals_m"]["median"] < 0.3
    names = written(platform, prefix)
    assert {f"sparse/0/{name}.bin" for name in ("cameras", "images", "points3D")} <= names
    photos = {pose.name for pose in small_survey.poses}
    assert {f"images/{name}" for name in photos} | {f"thumbnails/{name}" for name in photos} <= names
    assert {"report.html", "report.json", "progress.json", "job.json", "_SUCCESS"} <= names
    email = platform.wait_for_email(job["jobName"])
    assert prefix in email.body and email.subject.endswith("is done")


def test_a_set_that_fails_a_gate_ends_in_an_email_with_cause_and_fix(
    platform: EmbeddedAWS, small_survey: Survey, tmp_path: Path
) -> None:
    for pose in small_survey.poses:
        with Image.open(small_survey.photos / pose.name) as photo:
            exif = photo.getexif()
            exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.FocalLengthIn35mmFilm] = 120  # it is 24
            photo.save(tmp_path / pose.name, quality=95, exif=exif)
    job, prefix = run_sfm(platform, tmp_path)
    assert job["status"] == "FAILED" and [a["container"]["exitCode"] for a in job["attempts"]] == [2]
    error = read(platform, f"{prefix}result.json")["error"]
    assert error["code"] == "gate_focal_drift" and not error["retryable"]
    names = written(platform, prefix)
    assert "report.html" in names and "_SUCCESS" not in names
    email = platform.wait_for_email(job["jobName"])
    told = " ".join(email.body.split())
    assert " ".join(error["cause"].split()) in told and " ".join(error["fix"].split()) in told
