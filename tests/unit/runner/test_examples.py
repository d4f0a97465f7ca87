"""The example scripts as commands, with the environment that the platform gives them."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

EXAMPLES = Path(__file__).parents[3] / "examples"
needs_torch = pytest.mark.skipif(
    subprocess.run([sys.executable, "-c", "import torch"], capture_output=True).returncode != 0,
    reason="needs PyTorch: scripts/setup.sh test",
)


def environment(folder: Path, **extra: str) -> dict[str, str]:
    folders = {f"{name.upper()}_DIR": str(folder / name) for name in ("input", "output", "checkpoint", "models")}
    return {"PATH": os.environ["PATH"], "COMPUTE_TYPE": "cpu", **folders, **extra}


def run(name: str, folder: Path, **extra: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(EXAMPLES / name)]
    return subprocess.run(command, env=environment(folder, **extra), capture_output=True, text=True)


def photo(path: Path, colour: str, size: tuple[int, int] = (320, 200)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", size, colour)
    ImageDraw.Draw(image).rectangle((20, 20, 90, 120), fill="white")
    image.save(path)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("name", ["cpu_processing.py", "gpu_inference.py", "gpu_training.py"])
@needs_torch
def test_each_example_explains_itself(name: str, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, EXAMPLES / name, "--help"], capture_output=True, text=True, check=True)
    assert "An example of" in done.stdout and "--output-dir" in done.stdout


def test_cpu_processing_describes_each_photo_and_names_the_broken_one(tmp_path: Path) -> None:
    photo(tmp_path / "input/dark.jpg", "black")
    photo(tmp_path / "input/set/bright.PNG", "yellow", (100, 50))
    (tmp_path / "input/broken.jpg").write_text("no photo")
    done = run("cpu_processing.py", tmp_path, PARAM_THUMBNAIL="64")
    assert done.returncode == 0, done.stderr
    table = {row["photo"]: row for row in rows(tmp_path / "output/photos.csv")}
    assert set(table) == {"dark.jpg", "set/bright.PNG", "broken.jpg"}
    assert float(table["dark.jpg"]["brightness"]) < float(table["set/bright.PNG"]["brightness"])
    assert table["set/bright.PNG"]["width"] == "100" and table["broken.jpg"]["problem"]
    assert Image.open(tmp_path / "output/thumbnails/dark.jpg.jpg").size == (64, 40)
    assert json.loads((tmp_path / "output/progress.json").read_text())["fraction"] == 1.0


def test_cpu_processing_without_photos_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "input").mkdir()
    done = run("cpu_processing.py", tmp_path)
    assert done.returncode == 2 and "no photos" in done.stderr


@needs_torch
def test_gpu_inference_finds_the_photo_that_looks_alike(tmp_path: Path) -> None:
    for name, colour in (("a.jpg", "red"), ("b.jpg", "blue"), ("c.png", "#fe0000")):
        photo(tmp_path / "input" / name, colour)
    (tmp_path / "input/broken.jpg").write_text("no photo")
    done = run("gpu_inference.py", tmp_path, PARAM_BATCH_SIZE="2")
    assert done.returncode == 0, done.stderr
    similar = {row["photo"]: row for row in rows(tmp_path / "output/similar.csv")}
    assert similar["a.jpg"]["most_similar"] == "c.png" and similar["c.png"]["most_similar"] == "a.jpg"
    assert float(similar["a.jpg"]["similarity"]) > float(similar["b.jpg"]["similarity"])
    assert (tmp_path / "models/encoder.pt").exists()
    again = run("gpu_inference.py", tmp_path)
    assert f"weights from {tmp_path}/models/encoder.pt" in again.stdout


@needs_torch
def test_gpu_inference_without_photos_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "input").mkdir()
    assert run("gpu_inference.py", tmp_path).returncode == 2


@needs_torch
def test_gpu_training_stopped_and_started_again_ends_like_one_that_was_not(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for folder in (whole, parts):
        photo(folder / "input/small.png", "orange", (24, 16))
    assert run("gpu_training.py", whole, PARAM_STEPS="400", OMP_NUM_THREADS="1").returncode == 0

    command = [sys.executable, str(EXAMPLES / "gpu_training.py")]
    settings = environment(parts, PARAM_STEPS="400", OMP_NUM_THREADS="1")
    process = subprocess.Popen(command, env=settings)
    deadline = time.monotonic() + 60
    while not (parts / "checkpoint/training.pt").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 75
    done = run("gpu_training.py", parts, PARAM_STEPS="400", OMP_NUM_THREADS="1")
    assert done.returncode == 0 and "going on from step" in done.stdout

    metrics = [json.loads((each / "output/metrics.json").read_text()) for each in (whole, parts)]
    assert metrics[0] == metrics[1] and metrics[0]["psnr_db"] > 15
    assert (whole / "output/repainted.png").read_bytes() == (parts / "output/repainted.png").read_bytes()


@needs_torch
@pytest.mark.parametrize("name", ["gpu_inference.py", "gpu_training.py"])
def test_compute_type_gpu_without_a_gpu_fails_at_once(tmp_path: Path, name: str) -> None:
    (tmp_path / "input").mkdir()
    done = run(name, tmp_path, COMPUTE_TYPE="gpu", CUDA_VISIBLE_DEVICES="")
    assert done.returncode == 1 and "COMPUTE_TYPE" in done.stderr
