"""Training: a COLMAP dataset in; a 3D Gaussian splat, its quality on held-out photos, plots and a fly-through out.

    python jobs/train.py --input-dir SFM_OUTPUT --output-dir OUT --preset draft

Writes OUT/splat.ply, metrics.json, metrics.csv, loss.png, psnr.png, held_out/, flythrough.mp4, preview.jpg, result.json
and progress.json. Exit codes: 0 done; 2 the input or the options are at fault; 75 interrupted, run again to go on.
"""

import math
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from splatkit.errors import Interrupted, StageError, input_error
from splatkit.formats.ply import write_ply
from splatkit.options import read_options
from splatkit.stage import Progress, run_stage
from splatkit.train.backend import Backend, choose_backend
from splatkit.train.checkpoint import load_checkpoint, save_checkpoint
from splatkit.train.evaluation import load_lpips, mean_scores, score_views
from splatkit.train.gaussians import to_splats
from splatkit.train.options import TrainOptions
from splatkit.train.outputs import (
    emit_metrics,
    save_beside,
    write_flythrough,
    write_history,
    write_metrics,
    write_preview,
)
from splatkit.train.photo_cache import PhotoCache
from splatkit.train.scene import Scene, read_scene
from splatkit.train.training import DivergedError, Training, fingerprint, largest_cap
from splatkit.train.warm_up import warm_up

STEPS = {"reading": 2, "training": 90, "evaluating": 3, "flythrough": 5}
CHECKPOINT_SHARE = 0.02  # of the time may go into checkpoints
OUT_OF_MEMORY_RETRIES, OUT_OF_MEMORY_SHARE = 4, 0.7  # of the Gaussians that are left for the next try


def main(arguments: Sequence[str]) -> int:
    try:
        options = read_options(TrainOptions, (__doc__ or "").splitlines()[0], arguments)
    except StageError as problem:
        print(f"train: {problem.cause}\n       {problem.fix}", file=sys.stderr)
        return problem.exit_code
    return run_stage("train", options.output_dir, lambda: train(options))


def train(options: TrainOptions) -> dict[str, Any]:
    """The metrics of result.json. Raises StageError where no good splat can come of it."""
    progress = Progress("train", options.output_dir, STEPS)
    progress.begin("reading", "reading the scene")
    backend = choose_backend(options.device, options.threads)
    progress.say(f"rendering with {backend.name}")
    with tempfile.TemporaryDirectory(prefix="train-") as work:
        scene = read_scene(options.input_dir, Path(work), options.output_dir / "logs" / "colmap.log")
        say_scene(scene, progress)
        photos = PhotoCache(scene.views, options.of_preset("max_size"))
        try:
            warm_up(backend)
            training = train_scene(scene, options, backend, photos, progress)
            return conclude(training, options, photos, progress)
        finally:
            photos.close()


def say_scene(scene: Scene, progress: Progress) -> None:
    progress.say(f"{len(scene.views)} photos, {len(scene.points)} points")
    if scene.left_out:
        first = ", ".join(scene.left_out[:3])
        progress.say(f"{len(scene.left_out)} photos of the model are not in the folder and are left out: {first}")


def train_scene(
    scene: Scene, options: TrainOptions, backend: Backend, photos: PhotoCache, progress: Progress
) -> Training:
    """Trains to the end, from the last checkpoint where there is one; a full GPU is answered by fewer Gaussians."""
    folder, identity = checkpoint_folder(options), fingerprint(scene, options)
    cap = largest_cap(options, backend)
    training = Training(scene, options, backend, photos, cap)
    if len(training.train_views) < 2:
        fix = "Give --hold-out-every 0 to train on all photos, or take more of them."
        raise input_error("too_few_views", f"{len(training.train_views)} photos are left to train on", fix)
    for retry in range(OUT_OF_MEMORY_RETRIES + 1):
        if saved := load_checkpoint(folder, identity, progress.say):
            training.restore(saved)
            progress.say(f"going on from step {training.step} with {training.count} Gaussians")
        if retry:
            training.shrink_to(cap)
        try:
            optimise(training, options, folder, identity, photos, progress)
            return training
        except torch.OutOfMemoryError as problem:
            cap = int(OUT_OF_MEMORY_SHARE * min(cap, training.count))
            progress.say(f"the GPU's memory is full with {training.count} Gaussians: trying again with at most {cap}")
            if retry == OUT_OF_MEMORY_RETRIES:
                fix = "Lower max_size or cap_max, or send the job to a machine with a larger GPU."
                raise StageError("out_of_memory", f"the GPU's memory is too small: {problem}", fix) from problem
        training = Training(scene, options, backend, photos, cap)
        if backend.device.type == "cuda":
            torch.cuda.empty_cache()
    raise AssertionError("unreachable")


def optimise(
    training: Training, options: TrainOptions, folder: Path, identity: str, photos: PhotoCache, progress: Progress
) -> None:
    """Straight down: evaluate when due, stop on a plateau, save when due or asked to stop, take a step."""
    every = options.evaluate_every or max(1, training.max_steps // 20)
    total = training.max_steps
    progress.begin("training", "training", total)
    save_due, save_cost, started = time.monotonic() + options.checkpoint_seconds, 0.0, time.monotonic()

    def save() -> None:
        nonlocal save_due, save_cost
        begun = time.monotonic()
        save_checkpoint(folder, training.step, {**training.state(), "fingerprint": identity})
        save_cost = time.monotonic() - begun
        save_due = time.monotonic() + max(options.checkpoint_seconds, save_cost / CHECKPOINT_SHARE)

    with stop_signal() as stop:

        def stop_if_asked() -> None:
            if stop:
                save()
                raise Interrupted

        while True:
            stop_if_asked()
            if training.step % every == 0 or training.step >= total:
                training.seconds += time.monotonic() - started
                evaluate(training, options, photos, stop_if_asked)
                started = time.monotonic()
                if plateau(training, options):
                    progress.say(f"held-out PSNR no longer rises: stopping at step {training.step} of {total}")
                    break
            if training.step >= total:
                break
            if time.monotonic() >= save_due:
                training.seconds += time.monotonic() - started
                save()
                write_preview(options.output_dir / "preview.jpg", training)
                started = time.monotonic()
            try:
                training.train_step()
            except DivergedError as problem:
                raise diverged(training, problem, folder) from problem
            progress.update(training.step, total, progress_line(training))
        training.seconds += time.monotonic() - started
        save()


def progress_line(training: Training) -> str:
    last = next((row for row in reversed(training.history) if "psnr" in row), None)
    quality = f", {last['psnr']:.2f} dB" if last else ""
    return f"training {training.count} Gaussians{quality}"


def evaluate(training: Training, options: TrainOptions, photos: PhotoCache, between: Any) -> None:
    """Once per step, so that a resumed training does not do it twice."""
    if training.history and training.history[-1]["step"] == training.step:
        return
    row: dict[str, float] = {"step": training.step, "seconds": round(training.seconds, 3), "gaussians": training.count}
    if training.losses:
        recent = training.losses[-50:]
        row["loss"] = sum(recent) / len(recent)
    row |= mean_scores(score_views(training, training.held_out, photos=photos, between=between))
    training.history.append(row)
    if training.step:
        figures = {"Loss": row["loss"], "Gaussians": float(training.count), "Step": float(training.step)}
        figures["StepsPerSecond"] = training.step / max(training.seconds, 1e-6)
        if "psnr" in row:
            figures["PSNR"] = row["psnr"]
        if os.environ.get("RUN_ID"):  # on the platform, where the log group understands it
            emit_metrics({k: round(v, 5) for k, v in figures.items()}, {"Stage": "train"})


def plateau(training: Training, options: TrainOptions) -> bool:
    """Less than the set gain in held-out PSNR over the window, after the minimum."""
    rows = [row for row in training.history if "psnr" in row]
    if not rows or not options.plateau_gain or training.step < options.plateau_after * training.max_steps:
        return False
    begin = training.step - options.plateau_window * training.max_steps
    before = [row["psnr"] for row in rows if row["step"] <= begin]
    within = [row["psnr"] for row in rows if row["step"] > begin]
    return bool(before and within) and max(within) - max(before) < options.plateau_gain


def diverged(training: Training, problem: DivergedError, folder: Path) -> StageError:
    cause = f"the training diverged: {problem}. The last good checkpoint is kept in {folder}"
    fix = "Look at the photos' poses (report.html of sfm); else lower grow_gradient or cap_max, or try another seed."
    return StageError("diverged", cause, fix, metrics={"step": training.step, "gaussians": training.count})


@contextmanager
def stop_signal() -> Iterator[list[int]]:
    """SIGTERM fills the list instead of raising: a step that is cut in the middle leaves nothing to save."""
    arrived: list[int] = []
    handlers = {
        name: signal.signal(name, lambda number, _: arrived.append(number)) for name in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield arrived
    finally:
        for name, handler in handlers.items():
            signal.signal(name, handler)


def checkpoint_folder(options: TrainOptions) -> Path:
    beside = options.output_dir.with_name(f"{options.output_dir.resolve().name}.checkpoint")
    return options.checkpoint_dir or beside


def conclude(training: Training, options: TrainOptions, photos: PhotoCache, progress: Progress) -> dict[str, Any]:
    """Writes everything, then judges it."""
    folder = options.output_dir
    splats = to_splats(training.values, training.scene.frame)
    if not len(splats):
        raise diverged(training, DivergedError("no Gaussian is left"), checkpoint_folder(options))
    write_ply(folder / "splat.ply", splats)
    progress.begin("evaluating", "rendering held-out photos", len(training.held_out))
    lpips = load_lpips(options.models_dir, training.backend.device)
    shown: list[int] = []

    def keep(index: int, render: torch.Tensor, photo: torch.Tensor) -> None:
        save_beside(folder / "held_out", training.scene.views[index].name, render, photo)
        shown.append(index)
        progress.update(len(shown), len(training.held_out), "rendering held-out photos")

    scores = score_views(training, training.held_out, photos=photos, lpips=lpips, on_image=keep)
    write_history(folder, training)
    write_preview(folder / "preview.jpg", training)
    if options.flythrough_seconds:
        progress.begin("flythrough", "rendering the fly-through")
        on_frame = lambda done, total: progress.update(done, total, "rendering the fly-through")  # noqa: E731
        write_flythrough(folder / "flythrough.mp4", training, options.flythrough_seconds, on_frame)
    progress.finish()
    metrics = {
        **{name: round(value, 4) for name, value in mean_scores(scores).items()},
        "gaussians": len(splats), "steps": training.step, "seconds": round(training.seconds, 1),
        "photos": len(training.train_views), "held_out": len(training.held_out), "sh_degree": splats.sh_degree,
        "backend": training.backend.name, "peak_memory_mib": round(training.backend.peak_bytes() / 2**20),
        "image_size": list(photos.size(0)),
    }  # fmt: skip
    per_photo = [{name: value for name, value in vars(score).items() if value is not None} for score in scores]
    write_metrics(folder, {**metrics, "per_photo": per_photo, "seconds_per_step": progress.seconds})
    return judged(metrics, options)


def judged(metrics: dict[str, Any], options: TrainOptions) -> dict[str, Any]:
    quality = metrics.get("psnr", math.inf)
    if quality < options.min_psnr:
        cause = f"the held-out PSNR is {quality:.2f} dB, under the {options.min_psnr:g} dB that min_psnr asks for"
        fix = "See held_out/ for where it fails; more overlapping or sharper photos help most, then more steps."
        raise StageError("low_psnr", cause, fix, metrics=metrics)
    return metrics


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
