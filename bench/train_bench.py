"""Training on a CPU: the rasterizer's speed and memory, and the quality that the draft preset reaches, and when."""

import csv
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from bench.table import Row
from splatkit.rasterizer.rasterize import rasterization
from splatkit.threads import cores

ROOT = Path(__file__).parent.parent
STAGES = ROOT / "jobs"
PHOTOS = ROOT.parent / "shared" / "data" / "photos"
# OpenSplat 1.1.5 on 2 cores, every 8th photo held out, as measured once: (seconds, dB).
OPENSPLAT = {"brighton_beach": (590.0, 19.7), "banana": (252.0, 23.9)}
# What the draft preset may take of a machine with two cores, and what a training may spend on checkpoints.
DRAFT_SECONDS, CHECKPOINT_SHARE = 150.0, 0.02
PLOT = ROOT / "build" / "train_bench" / "psnr.png"
KILLS = 3
TARGET_RATE = 5.0  # iterations a second that were asked for, 20,000 Gaussians at 320x240


History = list[dict[str, str]]


def rows() -> list[Row]:
    histories: dict[str, History] = {}
    found = [*rasterizer_rows(), *survey_rows(histories)]
    for name, (seconds, quality) in OPENSPLAT.items():
        if (PHOTOS / name).is_dir():
            found += peer_rows(name, seconds, quality, histories)
    plot(histories)
    return found


def rasterizer_rows() -> Iterable[Row]:
    small, per_tile = iterations_per_second(20_000, 320, 240)
    what = f"forward and backward, 20k Gaussians, 320x240, {per_tile:.0f} per tile"
    yield Row(what, small, TARGET_RATE, "it/s", "at least 1", "the goal")
    wide, _ = iterations_per_second(20_000, 640, 480)
    yield Row("time of 4 times the pixels", small / wide, 4.0, "times", "at most 1.2", "linear growth")
    many, _ = iterations_per_second(80_000, 320, 240)
    yield Row("time of 4 times the Gaussians", small / many, 4.0, "times", "at most 1.2", "linear growth")
    iterations_per_second(100_000, 640, 480, repeats=2)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    yield Row("peak memory, 100k Gaussians at 640x480", peak, 1536, "MiB", "at most 1", "the goal")


def iterations_per_second(count: int, width: int, height: int, repeats: int = 15) -> tuple[float, float]:
    """The best of `repeats`, since other processes only ever slow it down; and the mean length of a tile's list."""
    torch.set_num_threads(1)
    dice = torch.Generator().manual_seed(0)
    learned: dict[str, Any] = {
        "means": torch.rand(count, 3, generator=dice) * torch.tensor([4.0, 3.0, 4.0]) - torch.tensor([2.0, 1.5, -2.0]),
        "quats": torch.randn(count, 4, generator=dice),
        "scales": torch.exp(torch.randn(count, 3, generator=dice) * 0.4 - 3.9),
        "opacities": torch.rand(count, generator=dice) * 0.9 + 0.05,
        "colors": torch.randn(count, 16, 3, generator=dice) * 0.3,
    }
    for value in learned.values():
        value.requires_grad_()
    focal = 0.9 * width
    lens = torch.tensor([[[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]]])
    best, per_tile = float("inf"), 0.0
    for _ in range(repeats):
        started = time.perf_counter()
        image, _, info = rasterization(
            **learned, viewmats=torch.eye(4)[None], Ks=lens, width=width, height=height, sh_degree=3
        )
        image.square().sum().backward()
        best = min(best, time.perf_counter() - started)
        per_tile = info["n_isects"] / (info["tile_width"] * info["tile_height"])
    return 1 / best, per_tile


def survey_rows(histories: dict[str, History]) -> Iterable[Row]:
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        command(sys.executable, "-m", "local.survey", work / "survey")
        command(sys.executable, STAGES / "sfm.py", "--input-dir", work / "survey/photos", "--output-dir", work / "sfm")
        history, metrics, cpu = draft(work / "sfm", work / "train")
        yield from resume_rows(work / "sfm", work)
    name = "draft of the rendered survey"
    histories["rendered survey"] = history
    yield Row(f"{name}: held-out PSNR", metrics["psnr"], 24.0, "dB", "at least 1", "the goal")
    yield Row(f"{name}: training time to 24 dB", first_at(history, 24.0), DRAFT_SECONDS, "s", "at most 1", "the goal")
    yield Row(f"{name}: CPU time, all of it", cpu, 2 * DRAFT_SECONDS, "s", "at most 1", "two cores for 150 s")
    share = metrics["checkpoint_seconds"] / metrics["seconds"]
    yield Row(f"{name}: checkpoints", 100 * share, 100 * CHECKPOINT_SHARE, "% of time", "at most 1", "the goal")


def resume_rows(source: Path, work: Path) -> Iterable[Row]:
    """A training that SIGKILL ends again and again, beside one that nothing disturbs."""
    short = ("--max-steps", "300", "--checkpoint-seconds", "1", "--plateau-gain", "0")
    _, whole, _ = draft(source, work / "whole", *short)
    kills = 0
    while kills < KILLS:
        child = subprocess.Popen(stage(source, work / "killed", *short), stdout=subprocess.DEVNULL)
        before, kept = time.monotonic(), work / "killed.checkpoint"
        known = set(kept.glob("step-*.pt"))
        while child.poll() is None and not set(kept.glob("step-*.pt")) - known and time.monotonic() < before + 120:
            time.sleep(0.02)
        child.kill()
        child.wait()
        kills += 1
    _, killed, _ = draft(source, work / "killed", *short)
    same = (work / "whole/splat.ply").read_bytes() == (work / "killed/splat.ply").read_bytes()
    difference = abs(whole["psnr"] - killed["psnr"]) if not same else 0.0
    yield Row(f"PSNR after {kills} SIGKILLs against none", difference, 0.05, "dB", "at most 1, 0 on a CPU", "the goal")


def peer_rows(name: str, seconds: float, quality: float, histories: dict[str, History]) -> Iterable[Row]:
    with tempfile.TemporaryDirectory() as folder:
        # The photos that were held out from the peer.
        history, metrics, _ = draft(PHOTOS / name, Path(folder) / "train", "--hold-out-first", "0")
    histories[name] = history
    peer = "OpenSplat's, saved"
    yield Row(f"{name}: training time to {quality} dB", first_at(history, quality), seconds, "s", "at most 0.1", peer)
    yield Row(f"{name}: held-out PSNR of a draft", metrics["psnr"], quality, "dB", "above 1", peer)


def draft(source: Path, out: Path, *more: str) -> tuple[History, dict[str, float], float]:
    """The history, the metrics, and the CPU seconds of the whole stage."""
    before = cpu_seconds()
    command(*stage(source, out, "--evaluate-every", "50", *more))
    with (out / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file)), json.loads((out / "metrics.json").read_text()), cpu_seconds() - before


def stage(source: Path, out: Path, *more: str) -> list[str]:
    options = ["--preset", "draft", "--device", "cpu", "--flythrough-seconds", "0", *more]
    return [sys.executable, str(STAGES / "train.py"), "--input-dir", str(source), "--output-dir", str(out), *options]


def command(*parts: str | Path) -> None:
    subprocess.run([str(part) for part in parts], check=True, cwd=ROOT, capture_output=True)


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def plot(histories: dict[str, History]) -> None:
    """Held-out PSNR over seconds of training, of all scenes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(xlabel="seconds of training", ylabel="held-out PSNR, dB", title=f"{cores()} cores")
    for name, history in histories.items():
        axes.plot([float(r["seconds"]) for r in history], [float(r["psnr"]) for r in history], label=name)
    axes.legend()
    axes.grid(alpha=0.3)
    PLOT.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(PLOT)
    print(f"held-out PSNR over seconds of training: {PLOT}")


def first_at(history: Iterable[dict[str, str]], quality: float) -> float:
    """Seconds of training until the held-out PSNR was reached; infinite where it never was."""
    return next((float(row["seconds"]) for row in history if float(row["psnr"]) >= quality), float("inf"))


if __name__ == "__main__":
    print(f"{cores()} cores")
    for row in rows():
        print(row)
