"""What sfm.py does when things go wrong: bad photos, bad options, a stop in the middle, a crash inside pycolmap."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sfm_runs import SFM, Run, run_sfm

from local.survey.photos import Survey
from local.survey.raycast import render
from local.survey.town import build_town
from splatkit.errors import StopRequested
from splatkit.sfm import colmap
from splatkit.sfm.colmap import StepError, run_step


def error_of(run: Run) -> dict[str, str]:
    result = json.loads((run.output / "result.json").read_text())
    return {"status": result["status"], **result["error"]}


def test_too_few_photos_is_an_input_error_that_lists_the_reasons(survey: Survey, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    shutil.copy(survey.photos / "survey_0001.jpg", folder)
    shutil.copy(survey.photos / "survey_0001.jpg", folder / "copy.jpg")
    (folder / "notes.txt").write_text("not a photo")
    run = run_sfm(folder, tmp_path / "output")
    error = error_of(run)
    assert run.code == 2 and error["status"] == "input_error" and error["code"] == "too_few_photos"
    assert "1 usable photos" in error["cause"] and "notes.txt: not a photo" in error["cause"]


def test_photos_of_noise_make_no_model_and_say_what_to_do(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(4):
        Image.fromarray(rng.integers(0, 255, (300, 400, 3), np.uint8)).save(folder / f"{number}.png")
    run = run_sfm(folder, tmp_path / "output")
    assert run.code == 2, run.said
    assert error_of(run)["code"] == "no_model" and "overlap" in error_of(run)["fix"]


def test_a_gate_stops_the_chain_and_force_overrides_it(survey: Survey, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(1, 6):
        shutil.copy(survey.photos / f"survey_{number:04d}.jpg", folder)
    strict = ("--max-reprojection-error", "0.01")
    run = run_sfm(folder, tmp_path / "output", *strict)
    error = error_of(run)
    assert run.code == 2 and error["code"] == "gate_reprojection_error" and "at most 0.01" in error["cause"]
    assert (run.output / "report.html").exists()
    forced = run_sfm(folder, tmp_path / "output", *strict, "--force")
    assert forced.code == 0, forced.said
    assert "going on from a checkpoint: 5 photos and 10 pairs" in forced.said
    assert not all(gate["passed"] for gate in json.loads((forced.output / "report.json").read_text())["gates"])


def test_sigterm_leaves_a_checkpoint_from_which_a_rerun_goes_on(survey: Survey, tmp_path: Path) -> None:
    output, folder = tmp_path / "output", tmp_path / "photos"
    folder.mkdir()
    for pose in survey.poses[:12]:
        shutil.copy(survey.photos / pose.name, folder)
    command = [sys.executable, SFM, "--input-dir", folder, "--output-dir", output]
    stage = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**os.environ})
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        progress = output / "progress.json"
        if progress.exists() and json.loads(progress.read_text())["step"] == "matching":
            break
        time.sleep(0.1)
    stage.send_signal(signal.SIGTERM)
    assert stage.wait(60) == 75
    result = json.loads((output / "result.json").read_text())
    assert result["status"] == "interrupted" and result["error"]["retryable"]
    again = run_sfm(folder, output)
    assert again.code == 0, again.said
    assert "going on from a checkpoint: 12 photos" in again.said


def test_a_feature_that_the_wheel_lacks_aborts_only_the_step(
    survey: Survey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = tmp_path / "aliked.py"
    step.write_text(
        "import pycolmap, sys\nsys.stdin.read()\n"
        "options = pycolmap.FeatureExtractionOptions(type=pycolmap.FeatureExtractorType.ALIKED_N16ROT)\n"
        f"pycolmap.extract_features({str(tmp_path / 'db')!r}, {str(survey.photos)!r}, extraction_options=options)\n"
    )
    monkeypatch.setattr(colmap, "STEPS", step)
    with pytest.raises(StepError) as caught:
        run_step("features", {}, tmp_path / "log")
    assert caught.value.code == "geometry_failed" and "ONNX" in caught.value.cause


def test_photos_of_two_places_are_told_with_the_names_of_the_smaller_part(survey: Survey, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for pose in survey.poses[:7]:
        shutil.copy(survey.photos / pose.name, folder)
    grain = np.random.default_rng(0).integers(0, 255, (150, 220, 3), np.uint8)
    wall = Image.fromarray(grain).resize((1320, 900), Image.Resampling.BICUBIC)
    for number in range(4):
        left, top = 60 * number, 40 * number
        wall.crop((left, top, left + 960, top + 640)).save(folder / f"wall_{number}.jpg", quality=93)
    run = run_sfm(folder, tmp_path / "output")
    error = error_of(run)
    assert run.code == 2 and error["code"] == "gate_disconnected", run.said
    assert "7 of 11 photos is used" in error["cause"] and "4 photos (wall_0.jpg, wall_1.jpg" in error["cause"]
    assert "overlap" in error["fix"] and "mask" in error["fix"]
    metrics = json.loads((run.output / "result.json").read_text())["metrics"]
    assert metrics["disconnected"] == 4 and any("wall_3.jpg" in warning for warning in metrics["warnings"])


def test_an_interrupted_step_leaves_no_process_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step, told = tmp_path / "forking.py", tmp_path / "pid"
    step.write_text(
        "import os, time\nworker = os.fork()\n"
        f"if worker:\n    open({str(told)!r}, 'w').write(str(worker))\ntime.sleep(600)\n"
    )
    monkeypatch.setattr(colmap, "STEPS", step)

    def interrupt() -> None:
        if told.exists() and told.read_text():
            raise StopRequested

    with pytest.raises(StopRequested):
        run_step("features", {}, tmp_path / "log", on_poll=interrupt)
    status = Path(f"/proc/{told.read_text()}/stat")
    deadline = time.monotonic() + 60
    while status.exists() and status.read_text().split()[2] != "Z" and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not status.exists() or status.read_text().split()[2] == "Z"


@pytest.mark.parametrize(
    ("ending", "code"), [("os.kill(os.getpid(), 9)", "out_of_memory"), ("os.abort()", "geometry_failed")]
)
def test_each_way_to_die_has_its_words(ending: str, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = tmp_path / "dying.py"
    step.write_text(f"import os\nprint('check failed: here', flush=True)\n{ending}\n")
    monkeypatch.setattr(colmap, "STEPS", step)
    with pytest.raises(StepError) as caught:
        run_step("matching", {}, tmp_path / "log")
    assert caught.value.code == code and caught.value.fix
    assert "check failed: here" in (tmp_path / "log").read_text()


def test_a_missing_input_folder_is_named(tmp_path: Path) -> None:
    run = run_sfm(tmp_path / "nowhere", tmp_path / "output")
    assert run.code == 2 and "nowhere" in error_of(run)["cause"]


def test_the_output_may_not_lie_in_the_input(survey: Survey) -> None:
    run = run_sfm(survey.photos, survey.photos / "output")
    assert run.code == 2 and "is in the input folder" in error_of(run)["cause"]
    shutil.rmtree(run.output)


@pytest.mark.parametrize("name", ["images/mine.jpg", "report.json"])
def test_what_is_somebody_elses_is_not_replaced(survey: Survey, tmp_path: Path, name: str) -> None:
    mine = tmp_path / "output" / name
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"precious")
    run = run_sfm(survey.photos, tmp_path / "output")
    assert run.code == 2 and "no earlier run" in error_of(run)["cause"]
    assert mine.read_bytes() == b"precious"


def test_a_failed_run_leaves_nothing_of_an_earlier_success(survey: Survey, tmp_path: Path) -> None:
    output = tmp_path / "output"
    (output / "sparse" / "0").mkdir(parents=True)
    for name in ("georeference.json", "report.json", "result.json"):
        (output / name).write_text("{}")
    (tmp_path / "empty").mkdir()
    run = run_sfm(tmp_path / "empty", output)
    assert run.code == 2 and error_of(run)["code"] == "too_few_photos"
    assert not (output / "sparse").exists() and not (output / "report.json").exists()


def render_views(folder: Path, poses: list[tuple[np.ndarray, tuple[float, float, float]]]) -> Path:
    folder.mkdir()
    town = build_town(120.0, 120.0, 0)
    for number, (cam_from_world, centre) in enumerate(poses):
        pixels = render(town, cam_from_world, np.array(centre), 375.0, 480, 360)
        Image.fromarray(pixels).save(folder / f"{number:02d}.jpg", quality=93)
    return folder


def looking(yaw: float, down: float) -> np.ndarray:
    forward = np.array([np.sin(yaw) * np.cos(down), np.cos(yaw) * np.cos(down), -np.sin(down)])
    right = np.array([np.cos(yaw), -np.sin(yaw), 0.0])
    return np.stack([right, np.cross(forward, right), forward])


def test_a_camera_that_only_turned_is_told_so_although_all_photos_were_placed(tmp_path: Path) -> None:
    folder = render_views(tmp_path / "turning", [(looking(0.12 * k, 0.7), (0.0, 0.0, 60.0)) for k in range(5)])
    run = run_sfm(folder, tmp_path / "output")
    error = error_of(run)
    assert run.code == 2 and error["code"].removeprefix("gate_") == "turned_on_the_spot", run.said
    assert "sideways" in error["fix"]


def test_a_camera_that_only_went_ahead_is_told_so(tmp_path: Path) -> None:
    folder = render_views(tmp_path / "ahead", [(looking(0.0, 1.57), (0.0, 0.0, 100.0 - 5 * k)) for k in range(5)])
    run = run_sfm(folder, tmp_path / "output")
    error = error_of(run)
    assert run.code == 2 and error["code"] in ("gate_straight_ahead", "gate_triangulation_angle"), run.said
    assert "sideways" in error["fix"] or "sides" in error["fix"]
