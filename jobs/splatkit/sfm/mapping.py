"""From matches to a model: global or incremental, and never but the largest."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pycolmap

from splatkit.sfm.colmap import StepError, run_step
from splatkit.sfm.geometry_facts import focal_drift, mean_error
from splatworks.contract.stages.sfm import Mapper

MIN_POINTS = 10  # of photos that only turned, COLMAP may make cameras without a point
GOOD_SHARE = 0.9  # of the connected photos; below it the other mapper is tried too


@dataclass(frozen=True)
class FocalPriors:
    """What EXIF says of the focal lengths, and how far a model may lie from it."""

    pixels: Mapping[str, float]  # by photo name, for those that tell
    max_drift: float  # times longer or shorter; beyond it a model is taken for bent

    def fit(self, model: pycolmap.Reconstruction) -> bool:
        drift = focal_drift(model, self.pixels)
        return drift is None or drift <= self.max_drift


@dataclass(frozen=True)
class Model:
    method: str
    reconstruction: pycolmap.Reconstruction
    others: tuple[tuple[str, ...], ...]  # photos of the smaller models, which do not hold together with this one

    @property
    def registered(self) -> list[str]:
        images = self.reconstruction.images
        return sorted(images[i].name for i in self.reconstruction.reg_image_ids())


def map_photos(
    mapper: Mapper,
    request: dict[str, Any],
    connected: int,
    priors: FocalPriors,
    log: Path,
    say: Callable[[str], None],
    on_progress: Callable[[int, int], None],
) -> Model | None:
    """The best model, or None when no photos fit together.

    connected: photos in the largest part of the match graph.
    Global mapping goes first: on three real sets it took a third less time than incremental mapping or as much, and
    kept whole what that split in two. What the largest model leaves out is offered to it once more.
    """
    methods = ["global", "incremental"] if mapper == "auto" else [mapper]
    models: list[Model] = []
    for method in methods:
        try:
            model = _map(method, request, log, on_progress)
        except StepError as problem:
            if problem.code == "out_of_memory" or (method == methods[-1] and not models):
                raise
            say(f"{method} mapping: {problem.cause}")
            continue
        if model is None:
            say(f"{method} mapping fitted no photos together")
            continue
        models.append(model)
        say(f"{method} mapping: {len(model.registered)} photos, {mean_error(model.reconstruction):.2f} px")
        if len(model.registered) >= GOOD_SHARE * connected and priors.fit(model.reconstruction):
            break
    best = max(models, key=lambda model: _rank(model, priors), default=None)
    if best is None or len(best.registered) >= connected:
        return best
    return _with_the_rest(best, request, priors, log, say, on_progress)


def _with_the_rest(
    model: Model,
    request: dict[str, Any],
    priors: FocalPriors,
    log: Path,
    say: Callable[[str], None],
    on_progress: Callable[[int, int], None],
) -> Model:
    """Photos that the model left out, also those of the smaller models, are offered to it one by one."""
    start = Path(request["output"]) / "largest"
    shutil.rmtree(start, ignore_errors=True)
    start.mkdir(parents=True)
    model.reconstruction.write(start)
    try:
        grown = _map("incremental", {**request, "model": str(start)}, log, on_progress, folder="grown")
    except StepError as problem:
        say(f"the rest of the photos: {problem.cause}")
        return model
    if grown is None or _rank(grown, priors)[:2] <= _rank(model, priors)[:2]:
        return model
    say(f"{len(grown.registered) - len(model.registered)} more photos were placed in the largest model")
    taken = set(grown.registered)
    others = tuple(rest for other in model.others if (rest := tuple(name for name in other if name not in taken)))
    return Model(f"{model.method}, then incremental", grown.reconstruction, others)


def _map(
    method: str,
    request: dict[str, Any],
    log: Path,
    on_progress: Callable[[int, int], None],
    *,
    folder: str = "",
) -> Model | None:
    output = Path(request["output"]) / (folder or method)
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    alive = (lambda: on_progress(0, 0)) if method == "global" else None  # global mapping counts nothing itself
    step, asked = f"{method}_mapping", {**request, "output": str(output)}
    run_step(step, asked, log, on_progress=on_progress, on_poll=alive)
    return largest_model(method, output)


def largest_model(method: str, folder: Path) -> Model | None:
    """Never "model 0": COLMAP numbers models in the order it found them, and the first may be a fragment."""
    found = [pycolmap.Reconstruction(path) for path in sorted(folder.iterdir()) if (path / "images.bin").exists()]
    found = [model for model in found if model.num_points3D() >= MIN_POINTS]
    found.sort(key=lambda model: (model.num_reg_images(), model.num_points3D()), reverse=True)
    if not found or found[0].num_reg_images() < 3:
        return None
    taken = set(Model(method, found[0], ()).registered)
    others = []
    for model in found[1:]:
        own = tuple(name for name in Model(method, model, ()).registered if name not in taken)
        taken |= set(own)
        if own:
            others.append(own)
    return Model(method, found[0], tuple(others))


def _rank(model: Model, priors: FocalPriors) -> tuple[bool, int, float]:
    return priors.fit(model.reconstruction), len(model.registered), -mean_error(model.reconstruction)
