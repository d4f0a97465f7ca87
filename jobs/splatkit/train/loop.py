"""The training loop: steps, evaluations, checkpoints, and when it ends."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from splatkit.errors import StageError, StopRequested
from splatkit.stage import Progress
from splatkit.train.backend import out_of_memory
from splatkit.train.checkpoint import save_checkpoint
from splatkit.train.evaluation import mean_scores, score_views
from splatkit.train.loss_watch import DivergedError
from splatkit.train.options import TrainOptions
from splatkit.train.outputs import emit_metrics, write_preview
from splatkit.train.training import Training
from splatworks.contract.stages.train import STAGE

CHECKPOINT_SHARE = 0.02  # of the time may go into checkpoints
BROKEN_SHARE = 0.01  # of the Gaussians may be not finite: the splat is written without them


def optimise(training: Training, folder: Path, identity: str, progress: Progress) -> None:
    """Straight down: evaluate when due, stop on a plateau, save when due or asked to stop, take a step.

    Ranks decide together: what one does alone, the others wait for. folder and identity: of the checkpoints.
    """
    options, ranks, total = training.options, training.ranks, training.max_steps
    every = options.evaluate_every or max(1, total // 20)
    progress.begin("training", "training", total)
    saver = Saver(training, folder, identity, progress)
    with stop_signal() as stop, stopwatch(training) as watch:

        def stop_if_asked() -> None:
            if ranks.any(bool(stop)):
                with watch.paused():
                    saver.save()
                raise StopRequested

        evaluated_at = training.history[-1]["step"] if training.history else -every
        while True:
            if training.updates % training.backend.look_every == 0:
                stop_if_asked()
                if ranks.any(saver.due):
                    with watch.paused():
                        saver.save(preview=options.output_dir / "preview.jpg")
            if evaluation_due(training, every, evaluated_at):
                with watch.paused():
                    evaluate(training, stop_if_asked)
                evaluated_at = training.step
            # Also right after a restart: what had stopped for this must not continue.
            if training.step == evaluated_at and ranks.any(plateau(training, options)):
                progress.say(f"held-out PSNR no longer rises: stopping at step {training.step} of {total}")
                break
            if training.step >= total:
                break
            take_step(training, folder, progress)
    if not saver.save():
        cause = f"{training.broken()} Gaussians are not finite at step {training.step}"
        raise diverged(training, DivergedError(cause), folder)


def evaluation_due(training: Training, every: int, evaluated_at: float) -> bool:
    step = training.step
    return step > evaluated_at and (step // every > evaluated_at // every or step >= training.max_steps)


def take_step(training: Training, folder: Path, progress: Progress) -> None:
    try:
        training.train_step()
    except DivergedError as problem:
        raise diverged(training, problem, folder) from problem
    total = training.max_steps
    progress.update(min(training.step, total), total, progress_line(training))


class Saver:
    """Checkpoints at the set interval, or less often where they would take too much of the time."""

    def __init__(self, training: Training, folder: Path, identity: str, progress: Progress) -> None:
        self._training, self._folder, self._identity, self._progress = training, folder, identity, progress
        self._at = time.monotonic() + training.options.checkpoint_seconds

    @property
    def due(self) -> bool:
        return time.monotonic() >= self._at and not self._training.watch.suspect

    def save(self, preview: Path | None = None) -> bool:
        """False, and the checkpoints before are left as they are, where this one would be of no use."""
        begun, sizes = time.monotonic(), self._training.ranks.sizes(self._training.count)
        broken = self._training.broken()
        if broken > BROKEN_SHARE * sum(sizes):
            self._at = begun + self._training.options.checkpoint_seconds
            self._progress.say(f"{broken} Gaussians are not finite: no checkpoint of step {self._training.step}")
            return False
        state = {**self._training.state(), "fingerprint": self._identity}
        if self._training.ranks.first:
            save_checkpoint(self._folder, self._training.step, state)
        if preview:
            self._show(preview)
        spent = time.monotonic() - begun
        self._training.saving += spent
        self._at = time.monotonic() + max(self._training.options.checkpoint_seconds, spent / CHECKPOINT_SHARE)
        return True

    def _show(self, preview: Path) -> None:
        try:
            write_preview(preview, self._training)
        except RuntimeError as problem:
            if not out_of_memory(problem) or self._training.ranks.count > 1:  # the others wait for this one
                raise
            self._progress.say("the GPU's memory is full: no preview this time")


class Stopwatch:
    def __init__(self, training: Training) -> None:
        self._training, self._started = training, time.monotonic()
        self._pauses = 0  # one within another: a checkpoint within an evaluation

    def stop(self) -> None:
        self._training.seconds += time.monotonic() - self._started

    @contextmanager
    def paused(self) -> Iterator[None]:
        if not self._pauses:
            self.stop()
        self._pauses += 1
        yield
        self._pauses -= 1
        self._started = time.monotonic()


@contextmanager
def stopwatch(training: Training) -> Iterator[Stopwatch]:
    """Adds what passes to training.seconds, evaluations and checkpoints left out."""
    watch = Stopwatch(training)
    yield watch
    watch.stop()


def progress_line(training: Training) -> str:
    last = next((row for row in reversed(training.history) if "psnr" in row), None)
    quality = f", {last['psnr']:.2f} dB" if last else ""
    return f"training {training.count * training.ranks.count} Gaussians{quality}"


def evaluate(training: Training, between: Callable[[], None]) -> None:
    """One more row of the history."""
    gaussians = sum(training.ranks.sizes(training.count))
    row: dict[str, float] = {"step": training.step, "seconds": round(training.seconds, 3), "gaussians": gaussians}
    if training.watch.losses:
        recent = training.watch.losses[-50:]
        row["loss"] = sum(recent) / len(recent)
    row |= mean_scores(score_views(training, training.held_out, photos=training.photos, between=between))
    training.history.append(row)
    # On the platform, where the log group understands it.
    if training.step and training.ranks.first and os.environ.get("RUN_ID"):
        figures = {"Loss": row["loss"], "Gaussians": float(gaussians), "Step": float(training.step)}
        figures["StepsPerSecond"] = training.step / max(training.seconds, 1e-6)
        if "psnr" in row:
            figures["PSNR"] = row["psnr"]
        emit_metrics({k: round(v, 5) for k, v in figures.items()}, {"Stage": STAGE.name})


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
