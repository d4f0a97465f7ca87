"""One message, one scene: the whole chain on the embedded AWS, and what can go wrong on its way."""

import itertools
import json
import random
import re
import time
import urllib.error
import urllib.request
import zipfile
from pathlib import Path
from typing import Any

import pytest

from local.batch.reclaim import Reclaim
from local.demo.results import PAGE, download_run, write_index
from local.embedded_aws import EmbeddedAWS
from local.survey.photos import Survey, render_survey
from scripts.check_page import NoBrowserError, check_page

from .pipeline_runs import DRAFT, PATIENCE, PROJECT, Run, command_in, need_viewer, publish, upload

pytestmark = pytest.mark.flow

STAGES = ("sfm", "train", "compress")


@pytest.fixture(scope="module")
def survey(tmp_path_factory: pytest.TempPathFactory) -> Survey:
    return render_survey(tmp_path_factory.mktemp("pipeline"), photos=8, width=480, height=320)


@pytest.fixture(scope="module")
def photos(platform: EmbeddedAWS, survey: Survey) -> str:
    return upload(platform, sorted(survey.photos.iterdir()), "photos/town/")


@pytest.fixture(scope="module")
def killed(platform: EmbeddedAWS) -> Run:
    """A run whose dispatcher was killed after the first of its three submissions. AWS tries again a minute later."""
    name = f"{platform.project_name}-ml-trigger-dispatcher"
    kills: list[int] = []

    def kill_before_train(job_name: str) -> None:
        if job_name.startswith("killed-") and job_name.endswith("-train") and not kills:
            kills.append(platform.kill_function(name))
            raise RuntimeError("nobody waits for the answer")

    notes = platform.outputs["ml_input_bucket"], "photos/killed/notes.txt"
    platform.client("s3").put_object(Bucket=notes[0], Key=notes[1], Body=b"no photo")
    with platform.on_submission(kill_before_train):
        run = publish(platform, "killed", {"input": "photos/killed/"})
        platform.wait_until(lambda: kills, timeout=60, what="the dispatcher to be killed")
    assert kills == [1]
    assert run.jobs() == [f"{run.id}-sfm"]
    return run


@pytest.fixture(scope="module")
def full_run(platform: EmbeddedAWS, killed: Run, photos: str) -> Run:
    need_viewer()
    run = publish(platform, "town", {"input": photos})
    email = run.email()
    assert "FAILED" not in email.subject, email.body
    return run


def test_one_message_becomes_a_scene_and_one_email_with_its_figures(full_run: Run) -> None:
    assert full_run.jobs() == [f"{full_run.id}-{stage}" for stage in STAGES]
    for before, after in itertools.pairwise(STAGES):
        waited_for = [each["jobId"] for each in full_run.job(after)["dependsOn"]]
        assert waited_for == [full_run.job(before)["jobId"]]
        assert "_SUCCESS" in full_run.keys(f"{before}/")
    assert {"splat.ply", "metrics.json"} <= full_run.keys("train/")
    assert {"scene.sog", "viewer/index.html", "thumbnail.png", "_SUCCESS"} <= full_run.keys("compress/")
    (email,) = full_run.emails()
    results = {stage: full_run.read_json(f"{stage}/result.json")["metrics"] for stage in STAGES}
    for figure in (
        f"8 of {results['sfm']['photos']}",
        f"{results['train']['psnr']:.2f} dB",
        f"{results['train']['gaussians']:,}",
        f"{results['compress']['megabytes']:.2f} MB",
    ):
        assert figure in email.body, figure


def test_the_links_of_the_email_open_the_page_and_its_picture(full_run: Run) -> None:
    (email,) = full_run.emails()
    page, thumbnail = re.findall(r"^\s*(http://\S+)$", email.body, re.MULTILINE)[:2]
    for link, name, kind in ((page, "viewer/index.html", "text/html"), (thumbnail, "thumbnail.png", "image/png")):
        with urllib.request.urlopen(link) as answer:
            assert answer.headers["Content-Type"].startswith(kind)
            assert answer.read() == full_run.read(f"compress/{name}")
    elsewhere = page.replace("compress/viewer/index.html", "run.json")
    with pytest.raises(urllib.error.HTTPError), urllib.request.urlopen(elsewhere.replace("runs/", "reuse/", 1)):
        pass
    assert re.search(r"end at \d{4}-\d\d-\d\d \d\d:\d\d UTC", email.body)


def test_the_downloaded_page_shows_the_scene_in_a_browser(full_run: Run, tmp_path: Path) -> None:
    bucket = full_run.aws.outputs["ml_output_bucket"]
    download_run(full_run.aws.client("s3"), bucket, full_run.folder, tmp_path)
    try:
        check_page(tmp_path / PAGE, tmp_path / "scene/compress/thumbnail.png", tmp_path / "seen.png")
    except NoBrowserError as reason:
        pytest.skip(str(reason))
    index = write_index(tmp_path, full_run.id, "Done.").read_text()
    linked = re.findall(r'href="([^"]+)"', index)
    assert PAGE in linked and "scene/train/splat.ply" in linked
    assert all((tmp_path / link).exists() for link in linked)


def test_the_same_work_again_is_not_done_again_and_the_email_says_so(full_run: Run, photos: str) -> None:
    again = publish(full_run.aws, "again", {"input": photos})
    email = again.email(timeout=60)
    assert again.jobs() == []
    assert email.body.count(f"reused from {full_run.id}") == 3
    assert "splat.ply" not in again.keys("train/")
    assert f"{full_run.folder}compress/viewer/index.html" in email.body


def test_fresh_runs_what_could_be_reused(full_run: Run, photos: str) -> None:
    aws = full_run.aws
    with aws.jobs_held():
        run = publish(aws, "fresh", {"input": photos, "fresh": True})
        aws.wait_until(lambda: len(run.jobs()) == 3, timeout=60, what="three jobs")
        for stage in reversed(STAGES):
            aws.client("batch").terminate_job(jobId=run.job(stage)["jobId"], reason="seen enough")
    assert "FAILED" in run.email(timeout=60).subject


def test_a_failed_gate_stops_the_chain_and_the_message_in_its_email_goes_on_from_there(
    full_run: Run, photos: str
) -> None:
    aws = full_run.aws
    train = {"compute_type": "cpu", "parameters": {**DRAFT["train"]["parameters"], "max_steps": 20, "min_psnr": 60}}
    run = publish(aws, "gate", {"input": photos, "train": train})
    email = run.email()
    assert "FAILED in train" in email.subject
    assert run.jobs() == [f"{run.id}-train", f"{run.id}-compress"]
    assert f"reused from {full_run.id}" in email.body and "min_psnr" in email.body
    stopped = aws.wait_for_job(f"{run.id}-compress")
    assert (stopped["status"], stopped["statusReason"], stopped["attempts"]) == ("FAILED", "Dependent Job failed", [])

    message = command_in(email)
    assert message["data"]["steps"] == "train"
    message["data"]["train"]["parameters"]["min_psnr"] = 1
    message["data"] |= {"job_name": "mended", "request_id": f"mended-{run.id}"}
    aws.publish(message)
    mended = aws.wait_for_email("mended-", timeout=PATIENCE)
    assert "is done" in mended.subject, mended.body
    assert len(run.emails()) == 1


def test_a_dispatcher_killed_between_two_submissions_leaves_one_chain(killed: Run, full_run: Run) -> None:
    """The killed one held a lock, which ends with its minute."""
    aws = killed.aws
    aws.wait_until(lambda: len(killed.jobs()) == 3, timeout=120, what="the rest of the chain")
    email = killed.email(timeout=60)
    assert "FAILED in sfm" in email.subject
    time.sleep(2)  # for a second chain or e-mail to show itself
    assert killed.jobs() == [f"{killed.id}-{stage}" for stage in STAGES]
    assert len(killed.emails()) == 1


def test_a_training_that_is_reclaimed_twice_ends_with_the_result_of_an_undisturbed_one(full_run: Run) -> None:
    aws = full_run.aws
    dataset = f"s3://{aws.outputs['ml_output_bucket']}/{full_run.folder}sfm/"
    run = publish(aws, "reclaimed", {"input": dataset, "steps": "train", "fresh": True})
    chance = random.Random()
    ways = (("training 0/", Reclaim.NOTICE), ("going on from step", Reclaim.KILL))
    for lost, (line, how) in enumerate(ways):

        def trains(attempts: int = lost, line: str = line) -> bool:
            job = aws.job(run.job("train")["jobId"])
            told = sum(line in each for each in run.log("train")) if job["status"] == "RUNNING" else 0
            return len(job["attempts"]) == attempts and told > 0

        aws.wait_until(lambda: run.jobs() and trains(), timeout=PATIENCE, what=f"the line {line!r}")
        time.sleep(chance.uniform(0.1, 1.5))
        aws.reclaim_spot(run.job("train")["jobId"], how=how)
    email = run.email()
    assert "FAILED" not in email.subject, email.body
    codes = [attempt["container"]["exitCode"] for attempt in aws.job(run.job("train")["jobId"])["attempts"]]
    assert codes == [75, 137, 0]
    assert run.read("train/splat.ply") == full_run.read("train/splat.ply")
    assert re.search(r"train was interrupted 2 times, with \d+ s .*lost", email.body), email.body


@pytest.fixture(scope="module")
def two_scenes(full_run: Run, survey: Survey) -> Run:
    """The first scene is one that the platform has seen; the second is new."""
    aws = full_run.aws
    taken = sorted(survey.photos.iterdir())
    upload(aws, taken, "photos/two/known/")
    upload(aws, taken[:7], "photos/two/new/")
    run = publish(aws, "two", {"inputs": "photos/two/"})
    email = run.email()
    assert "FAILED" not in email.subject, email.body
    return run


def test_several_scenes_are_arrays_and_one_email(full_run: Run, two_scenes: Run) -> None:
    run, email = two_scenes, two_scenes.email()
    assert [run.job(stage)["arrayProperties"]["size"] for stage in STAGES] == [2, 2, 2]
    assert [scene["name"] for scene in run.read_json("scenes.json")] == ["known", "new"]
    for stage in STAGES:
        first = run.read_json(f"{stage}/0/job.json")
        assert first["reused_from"] and first["seconds"]["script"] == 0
        assert first["content_key"] == full_run.read_json(f"{stage}/job.json")["content_key"]
    assert run.read("train/0/splat.ply") == full_run.read("train/splat.ply")
    assert run.read_json("sfm/1/result.json")["metrics"]["photos"] == 7
    assert run.read_json("compress/1/job.json")["reused_from"] is None
    assert {"0/viewer/index.html", "1/viewer/index.html"} <= run.keys("compress/")
    assert "known" in email.body and "new" in email.body
    assert len(run.emails()) == 1


def test_several_scenes_go_on_from_their_models_as_the_full_run_would(two_scenes: Run) -> None:
    aws = two_scenes.aws
    models = f"s3://{aws.outputs['ml_output_bucket']}/{two_scenes.folder}sfm/"
    run = publish(aws, "on", {"inputs": models, "steps": "train"})
    email = run.email()
    assert "FAILED" not in email.subject, email.body
    for index in (0, 1):
        for stage in ("train", "compress"):
            report = run.read_json(f"{stage}/{index}/job.json")
            assert report["content_key"] == two_scenes.read_json(f"{stage}/{index}/job.json")["content_key"]
            assert report["reused_from"]
        # Its photos judge the splat, and their georeference.json says what is up.
        assert report["inputs"][0]["uri"] == f"{models}{index}/"


def test_a_sweep_trains_its_variants_from_one_model_and_ranks_them(full_run: Run, photos: str) -> None:
    sweep = {"train": {"max_steps": [20, 60]}}
    run = publish(full_run.aws, "sweep", {"input": photos, "sweep": sweep})
    email = run.email()
    assert "FAILED" not in email.subject, email.body
    assert run.jobs() == [f"{run.id}-train", f"{run.id}-compress"]  # sfm is reused
    results = [run.read_json(f"train/{index}/result.json")["metrics"] for index in (0, 1)]
    assert [each["steps"] for each in results] == [20, 60]
    header, *rows = [line.split(",") for line in run.read("leaderboard.csv").decode().splitlines()]
    ranked = [float(row[header.index("psnr")]) for row in rows]
    assert ranked == sorted((round(each["psnr"], 4) for each in results), reverse=True)
    assert "train.max_steps" in header and "train.max_steps" in email.body


def test_a_finished_upload_starts_the_pipeline_with_the_options_beside_it(full_run: Run, survey: Survey) -> None:
    aws, bucket = full_run.aws, full_run.aws.outputs["ml_input_bucket"]
    upload(aws, sorted(survey.photos.iterdir()), "photos/dropped/")
    options = {**DRAFT, "metadata": {"project": PROJECT}}
    s3 = aws.client("s3")
    s3.put_object(Bucket=bucket, Key="photos/dropped/pipeline.json", Body=json.dumps(options).encode())
    s3.put_object(Bucket=bucket, Key="photos/dropped/_READY", Body=b"")
    email = aws.wait_for_email("dropped-", timeout=PATIENCE)
    # With other options the stages would have run: those of pipeline.json were taken.
    assert len(re.findall(r"^  (?:sfm|train|compress): +reused from ", email.body, re.MULTILINE)) == 3, email.body
    assert not [job for job in aws.jobs() if job["jobName"].startswith("dropped-")]


def test_a_script_of_ones_own_brings_its_packages(platform: EmbeddedAWS, tmp_path: Path) -> None:
    bucket, s3 = platform.outputs["ml_input_bucket"], platform.client("s3")
    script = "import pathlib, os, greeting\n(pathlib.Path(os.environ['OUTPUT_DIR']) / 'said').write_text(greeting.WORD)"
    s3.put_object(Bucket=bucket, Key="jobs/mine/main.py", Body=script.encode())
    wheel = tiny_wheel(tmp_path)
    s3.put_object(Bucket=bucket, Key="jobs/mine/requirements.txt", Body=f"{wheel.as_uri()}\n".encode())
    data = {"script_key": "jobs/mine/main.py", "compute_type": "cpu", "job_name": "with-packages"}
    platform.publish({"trigger_type": "batch_job", "data": data})
    job = platform.wait_for_job("with-packages", timeout=PATIENCE)
    environment = {item["name"]: item["value"] for item in job["container"]["environment"]}
    assert job["status"] == "SUCCEEDED", job
    said = s3.get_object(Bucket=platform.outputs["ml_output_bucket"], Key=f"{environment['OUTPUT_PREFIX']}said")
    assert said["Body"].read() == b"hello"


def tiny_wheel(folder: Path) -> Path:
    """A package of one module, as pip takes it from anywhere."""
    path = folder / "greeting-1.0-py3-none-any.whl"
    about = "greeting-1.0.dist-info"
    files: dict[str, Any] = {
        "greeting.py": "WORD = 'hello'\n",
        f"{about}/METADATA": "Metadata-Version: 2.1\nName: greeting\nVersion: 1.0\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        archive.writestr(f"{about}/RECORD", "".join(f"{name},,\n" for name in [*files, f"{about}/RECORD"]))
    return path
