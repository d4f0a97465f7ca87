"""Training: a COLMAP dataset in; a 3D Gaussian splat, its quality on held-out photos, plots and a fly-through out.

    python jobs/train.py --input-dir SFM_OUTPUT --output-dir OUT --preset draft

Writes OUT/splat.ply, metrics.json, metrics.csv, loss.png, psnr.png, held_out/, flythrough.mp4, preview.jpg, result.json
and progress.json. Exit codes: 0 done; 2 the input or the options are at fault; 75 interrupted, run again to go on.
"""

import gc
import math
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from splatkit.errors import StageError, input_error
from splatkit.formats.ply import write_ply
from splatkit.stage import Progress, checkpoint_folder, stage_command
from splatkit.stage_files import SPLAT
from splatkit.train.backend import Backend, choose_backend, out_of_memory, require_device
from splatkit.train.checkpoint import fingerprint, load_checkpoint
from splatkit.train.evaluation import LPIPS_FILE, Score, load_lpips, mean_scores, score_views
from splatkit.train.gaussians import to_splats
from splatkit.train.launch import GpuFullError, gpus_to_use, in_ranks
from splatkit.train.loop import diverged, optimise
from splatkit.train.loss_watch import DivergedError
from splatkit.train.options import TrainOptions
from splatkit.train.outputs import (
    clear_beside,
    clear_results,
    names_beside,
    save_beside,
    write_flythrough,
    write_history,
    write_metrics,
    write_preview,
)
from splatkit.train.photo_cache import PhotoCache
from splatkit.train.precision import require_precision, too_coarse
from splatkit.train.ranks import ALONE, Ranks
from splatkit.train.scene import Scene, read_scene
from splatkit.train.training import Training, largest_cap
from splatkit.train.warm_up import warm_up
from splatworks.contract.stages.train import STAGE

STEPS = {"reading": 2, "training": 90, "evaluating": 3, "flythrough": 5}
OUT_OF_MEMORY_RETRIES, OUT_OF_MEMORY_SHARE = 4, 0.7  # of the Gaussians that are left for the next try


def main(arguments: Sequence[str]) -> int:
    return stage_command(STAGE, TrainOptions, train, (__doc__ or "").splitlines()[0], arguments)


def train(options: TrainOptions) -> dict[str, Any]:
    """The metrics of result.json. Raises StageError where no good splat can come of it."""
    progress = Progress(STAGE.name, options.output_dir, STEPS)
    progress.begin("reading", "reading the scene")
    clear_results(options.output_dir)
    require_device(options.device)
    require_lpips(options)
    gpus = gpus_to_use(options)
    with tempfile.TemporaryDirectory(prefix=f"{STAGE.name}-") as work:
        scene = read_scene(options.input_dir, Path(work), options.output_dir / "logs" / "colmap.log")
        say_scene(scene, progress)
        require_judges(scene, options, progress)
        require_precision(scene)
        return train_what_fits(scene, options, gpus, progress)


def say_scene(scene: Scene, progress: Progress) -> None:
    progress.say(f"{len(scene.views)} photos, {len(scene.points)} points")
    if scene.left_out:
        first = ", ".join(scene.left_out[:3])
        progress.say(f"{len(scene.left_out)} photos of the model are not in the folder and are left out: {first}")
    if masked := sum(view.mask is not None for view in scene.views):
        progress.say(f"{masked} of {len(scene.views)} photos have a mask")
    if scene.lone_masks:
        first = ", ".join(scene.lone_masks[:3])
        progress.say(f"{len(scene.lone_masks)} files in masks/ belong to no photo and are left out: {first}")


def require_judges(scene: Scene, options: TrainOptions, progress: Progress) -> None:
    """A gate that nothing is measured for would let everything through, after hours of training."""
    if scene.split(options.hold_out_every, options.first_held_out)[1]:
        return
    if options.min_psnr:
        first = f"every {options.hold_out_every}th from number {options.first_held_out} on"
        asked = first if options.hold_out_every else "hold_out_every is 0"
        cause = f"min_psnr is {options.min_psnr:g}, but none of the {len(scene.views)} photos is held out ({asked})"
        fix = f"Give --hold-out-every {min(8, len(scene.views))} --hold-out-first -1, or no --min-psnr."
        raise input_error("nothing_held_out", cause, fix)
    progress.say("no photo is held out: how good the splat is will not be measured")


def train_what_fits(scene: Scene, options: TrainOptions, gpus: int, progress: Progress) -> dict[str, Any]:
    """A full GPU is answered by fewer Gaussians and another try, from the checkpoint."""
    limit: int | None = None
    for _ in range(OUT_OF_MEMORY_RETRIES + 1):
        try:
            if gpus > 1:
                return in_ranks(gpus, train_in_rank, scene, options, limit, progress)
            return train_in_rank(ALONE, "", scene, options, limit, progress)
        except GpuFullError as problem:
            limit = int(OUT_OF_MEMORY_SHARE * problem.gaussians)
            progress.say(f"{problem}: trying again with at most {limit}")
        gc.collect()  # what the failed try held
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    fix = "Lower max_size or cap_max, or send the job to a machine with a larger GPU."
    raise StageError("out_of_memory", f"the GPU's memory is too small for {limit} Gaussians and the photos", fix)


def train_in_rank(
    ranks: Ranks, rendezvous: str, scene: Scene, options: TrainOptions, limit: int | None, progress: Progress
) -> dict[str, Any]:
    """One GPU's part, or all of it. The metrics, on the first rank."""
    if not ranks.first:
        progress = Silence(STAGE.name, options.output_dir, STEPS)
    with full_gpu(lambda: options.of_preset("cap_max")):
        backend = choose_backend(options.device, options.threads, ranks)
        ranks.join(rendezvous, backend.device)
        cap = largest_cap(options, backend, ranks)
    progress.say(f"rendering with {backend.name}")
    photos = PhotoCache(scene.views, options.of_preset("max_size"), sharers=ranks.count)
    try:
        training = trained(scene, options, backend, photos, min(cap, limit or cap), ranks, progress)
        ranks.leave()  # not after a failure: it would wait for ranks that are gone, or that wait for this one
        return conclude(training, options, photos, progress) if ranks.first else {}
    finally:
        photos.close()


def trained(
    scene: Scene,
    options: TrainOptions,
    backend: Backend,
    photos: PhotoCache,
    cap: int,
    ranks: Ranks,
    progress: Progress,
) -> Training:
    """From the start or the checkpoint to the end, with all Gaussians on the first rank."""
    with full_gpu(lambda: cap):
        warm_up(backend)
        training = Training(scene, options, backend, photos, cap, ranks)
    if len(training.train_views) < 2:
        fix = "Give --hold-out-every 0 to train on all photos, or take more of them."
        raise input_error("too_few_views", f"{len(training.train_views)} photos are left to train on", fix)
    folder = checkpoint_folder(options.output_dir, options.checkpoint_dir)
    identity = fingerprint(scene, options)
    resume(training, folder, identity, progress)
    with full_gpu(lambda: training.count * ranks.count):
        optimise(training, folder, identity, progress)
        training.gather(lambda: choose_backend(options.device, options.threads))
    return training


def resume(training: Training, folder: Path, identity: str, progress: Progress) -> None:
    """A function of its own, so that what was loaded does not stay in memory."""
    if not (saved := load_checkpoint(folder, identity, progress.say)):
        return
    gaussians = min(sum(saved["sizes"]), training.cap * training.ranks.count)
    with full_gpu(lambda: gaussians):
        training.restore(saved)
    progress.say(f"going on from step {training.step} with {gaussians} Gaussians")


@contextmanager
def full_gpu(gaussians: Callable[[], int]) -> Iterator[None]:
    """What runs out of memory within is answered by fewer than so many Gaussians."""
    try:
        yield
    except RuntimeError as problem:
        if not out_of_memory(problem):
            raise
        raise GpuFullError(gaussians()) from None


class Silence(Progress):
    """Of all ranks but the first."""

    def update(self, done: int, total: int, message: str) -> None:
        pass

    def say(self, text: str) -> None:
        pass


def conclude(training: Training, options: TrainOptions, photos: PhotoCache, progress: Progress) -> dict[str, Any]:
    """Writes everything, then judges it. A full GPU costs what it was full for, not the splat."""
    folder = options.output_dir
    training.release()
    splats = to_splats(training.values, training.scene.frame, options.antialiased, options.background == "white")
    if not len(splats):
        checkpoint = checkpoint_folder(options.output_dir, options.checkpoint_dir)
        raise diverged(training, DivergedError("no Gaussian is left"), checkpoint)
    write_ply(folder / SPLAT, splats)
    if warning := too_coarse(splats):
        progress.say(f"{warning}: see Limits in docs/guides/train.md")
    progress.begin("evaluating", "rendering held-out photos", len(training.held_out))
    scores = scores_of(training, options, photos, progress)
    write_history(folder, training)
    with left_out_if_full("the preview", progress):
        write_preview(folder / "preview.jpg", training)
    if options.flythrough_seconds:
        progress.begin("flythrough", "rendering the fly-through")
        on_frame = lambda done, total: progress.update(done, total, "rendering the fly-through")  # noqa: E731
        with left_out_if_full("the fly-through", progress):
            write_flythrough(folder / "flythrough.mp4", training, options.flythrough_seconds, on_frame)
    progress.finish()
    metrics = {
        **{name: round(value, 4) for name, value in mean_scores(scores).items()},
        "gaussians": len(splats), "steps": training.step, "seconds": round(training.seconds, 1),
        "checkpoint_seconds": round(training.saving, 2),
        "photos": len(training.train_views), "held_out": len(training.held_out), "sh_degree": splats.sh_degree,
        "backend": training.backend.name, "processes": training.processes,
        "peak_memory_mib": round(training.backend.peak_bytes() / 2**20),
        "image_size": list(photos.size(0)),
    }  # fmt: skip
    per_photo = [{name: value for name, value in vars(score).items() if value is not None} for score in scores]
    write_metrics(folder, {**metrics, "per_photo": per_photo, "seconds_per_step": progress.seconds})
    return judged(metrics, options)


def scores_of(training: Training, options: TrainOptions, photos: PhotoCache, progress: Progress) -> list[Score]:
    """Of the held-out photos, each saved beside its render."""
    shown: set[int] = set()
    folder = options.output_dir / "held_out"
    clear_beside(folder)
    files = names_beside([view.name for view in training.scene.views])

    def keep(index: int, render: torch.Tensor, photo: torch.Tensor) -> None:
        save_beside(folder / files[index], render, photo)
        shown.add(index)
        progress.update(len(shown), len(training.held_out), "rendering held-out photos")

    if lpips := load_lpips(options.models_dir, training.backend.device):
        with left_out_if_full("LPIPS", progress):
            return score_views(training, training.held_out, photos=photos, lpips=lpips, on_image=keep)
    try:
        return score_views(training, training.held_out, photos=photos, on_image=keep)
    except RuntimeError as problem:
        if not out_of_memory(problem):
            raise
        fix = "splat.ply is there. To have it measured, give a smaller max_size, or a machine with a larger GPU."
        raise StageError(
            "out_of_memory", "the GPU's memory is too small to render the held-out photos", fix
        ) from problem


@contextmanager
def left_out_if_full(what: str, progress: Progress) -> Iterator[None]:
    try:
        yield
    except RuntimeError as problem:
        if not out_of_memory(problem):
            raise
        progress.say(f"the GPU's memory is full: {what} is left out")


def require_lpips(options: TrainOptions) -> None:
    """A broken file would otherwise be found after hours of training."""
    try:
        if lpips := load_lpips(options.models_dir, torch.device("cpu")):
            float(lpips(torch.zeros(1, 3, 64, 64), torch.zeros(1, 3, 64, 64)).mean())
    except (RuntimeError, ValueError, TypeError, AttributeError) as problem:
        first = next(iter(str(problem).strip().splitlines()), problem.__class__.__name__)
        wanted = "TorchScript module of two images that returns a tensor"
        cause = f"{LPIPS_FILE} in {options.models_dir} is no {wanted}: {first}"
        raise input_error("bad_lpips", cause, "Copy or export it again, or remove it to go without LPIPS.") from problem


def judged(metrics: dict[str, Any], options: TrainOptions) -> dict[str, Any]:
    if options.min_psnr and "psnr" not in metrics:
        cause = f"min_psnr is {options.min_psnr:g}, but the masks leave nothing of the photos that are held out"
        fix = "Look at the masks of the held-out photos, or hold out others with --hold-out-first."
        raise StageError("not_measured", cause, fix, metrics=metrics)
    quality = metrics.get("psnr", math.inf)
    if not quality >= options.min_psnr:  # so that NaN fails too
        cause = f"the held-out PSNR is {quality:.2f} dB, under the {options.min_psnr:g} dB that min_psnr asks for"
        fix = "See held_out/ for where it fails; more overlapping or sharper photos help most, then more steps."
        raise StageError("low_psnr", cause, fix, metrics=metrics)
    return metrics


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
