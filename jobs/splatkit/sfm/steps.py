"""The steps of jobs/sfm.py in order: photos, features, matching, mapping, finer keypoints."""

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pycolmap

from splatkit.errors import StageError, input_error
from splatkit.sfm.cameras import CameraGroup
from splatkit.sfm.colmap import StepError, run_step, usable_threads
from splatkit.sfm.database import Checkpoint, count_rows, known_focals, verified_pairs
from splatkit.sfm.exif import Position
from splatkit.sfm.gates import MOVE_SIDEWAYS, TURNED
from splatkit.sfm.mapping import FocalPriors, Model, map_photos, mean_error
from splatkit.sfm.matching import Graph, MatchingPlan, Pair, components, plan_pairs, repair_pairs, tried_enough
from splatkit.sfm.options import SfmOptions
from splatkit.sfm.patches import align_observations
from splatkit.sfm.photos import LeftOut, Photo, collect
from splatkit.sfm.rotation import share_turned_of_matches
from splatkit.stage import Progress, checkpoint_folder
from splatworks.contract.stages.sfm import MIN_PHOTOS

NAMED = 5  # of the files that were left out, in the error where too few are left
MAX_CHANGE = 1.5  # times the error before; an adjustment that ends worse is not taken
SCREENED_BY = 1000  # of the largest features; pairs that have few of them in common are not compared in full
ALIKE_FROM = 6  # of those; the pairs that this loses on three real sets have at most 90 matches in full
# Photos that each is compared with in full, whatever it has in common with them; and one that is like fewer than two.
AT_LEAST_WITH = (5, 20)
KEPT = 0.7  # of the points; nor one that loses more of them


@dataclass(frozen=True)
class SfmRun:
    options: SfmOptions
    work: Path  # scratch: photos/, masks/, database.db, models/
    progress: Progress
    log: Path  # of pycolmap

    @property
    def database(self) -> Path:
        return self.work / "database.db"

    @property
    def request(self) -> dict[str, Any]:
        """What every step of pycolmap is told."""
        return {
            "database": str(self.database),
            "images": str(self.work / "photos"),
            "threads": usable_threads(self.options.threads),
        }


def find_photos(run: SfmRun) -> tuple[list[Photo], list[LeftOut]]:
    options, progress = run.options, run.progress
    if not options.input_dir.is_dir():
        raise input_error("no_input", f"{options.input_dir} is not a folder", "Give the folder with the photos.")
    progress.begin("photos", "reading photos")
    photos, left_out = collect(
        options.input_dir,
        run.work,
        options.max_images,
        options.video_frames,
        progress.update,
        usable_threads(options.threads),
    )
    masked = sum(1 for photo in photos if photo.mask)
    told = [f"{len(left_out)} files left out"] * bool(left_out) + [f"{masked} masks"] * bool(masked)
    progress.say(", ".join([f"{len(photos)} photos", *told]))
    if len(photos) < MIN_PHOTOS:
        first = "; ".join(f"{item.source}: {item.reason}" for item in left_out[:NAMED])
        if len(left_out) > NAMED:
            first += f"; and {len(left_out) - NAMED} more"
        cause = f"{len(photos)} usable photos in the input, at least {MIN_PHOTOS} are needed"
        fix = "Give overlapping photos as JPEG, PNG, TIFF, WebP or HEIC, or a video, in folders or zip files."
        raise input_error("too_few_photos", f"{cause}. Left out: {first}" if first else cause, fix)
    return photos, left_out


def open_database(run: SfmRun, photos: list[Photo], groups: list[CameraGroup]) -> Checkpoint:
    """An earlier run's database is used when it comes from the same photos and the same settings of features."""
    options = run.options
    fingerprint: dict[str, object] = {
        "photos": hashlib.sha256(json.dumps([(p.name, p.sha256) for p in photos]).encode()).hexdigest(),
        "cameras": hashlib.sha256(json.dumps([asdict(group) for group in groups]).encode()).hexdigest(),
        "pycolmap": version("pycolmap"),
        **options.feature_settings,
    }
    checkpoint = Checkpoint(checkpoint_folder(options.output_dir, options.checkpoint_dir), fingerprint)
    if checkpoint.restore(run.database):
        run.progress.say(
            f"going on from a checkpoint: {count_rows(run.database, 'descriptors')} photos and "
            f"{count_rows(run.database, 'two_view_geometries')} pairs are done already"
        )
    return checkpoint


def extract_features(run: SfmRun, groups: list[CameraGroup], checkpoint: Checkpoint) -> dict[str, float]:
    """Fills the database; returns what is known beforehand of the focal length, in pixels, by photo."""
    total = sum(len(group.names) for group in groups)
    run.progress.begin("features", "finding features", total)

    def watch() -> None:
        run.progress.update(count_rows(run.database, "descriptors"), total, "finding features")
        checkpoint.save_now_and_then(run.database)

    if count_rows(run.database, "descriptors") < total:
        masks = run.work / "masks"
        request = {
            **run.request,
            **run.options.feature_settings,
            "groups": [asdict(group) for group in groups],
            "masks": str(masks) if masks.exists() else "",
        }
        run_step("features", request, run.log, on_poll=watch)
    return known_focals(run.database)


def match_photos(
    run: SfmRun, photos: list[Photo], places: tuple[np.ndarray, Position] | None, checkpoint: Checkpoint
) -> tuple[MatchingPlan, Graph]:
    options, progress = run.options, run.progress
    frames_only = all(photo.video for photo in photos)
    positions = places[0] if places else None
    plan = plan_pairs(options.matching, positions, len(photos), options.neighbours, options.overlap, frames_only)
    progress.begin("matching", "matching photos", len(plan.pairs))
    progress.say(f"{plan.method} matching, {len(plan.pairs)} pairs: {plan.why}")
    graph = _compare(run, photos, plan.pairs, Graph(0, [], []), checkpoint, SCREENED_BY)
    if len(graph.parts) > 1 and (more := repair_pairs(graph.parts, tried_enough(graph, plan.pairs), len(photos))):
        progress.say(f"the photos fall into {len(graph.parts)} parts: comparing {len(more)} more pairs across them")
        graph = _compare(run, photos, more, graph, checkpoint, 0)
    return plan, graph


def _compare(
    run: SfmRun, photos: list[Photo], pairs: list[Pair], before: Graph, checkpoint: Checkpoint, screened_by: int
) -> Graph:
    listed, done_before, total = run.work / "pairs.txt", count_rows(run.database, "two_view_geometries"), len(pairs)
    listed.write_text("".join(f"{photos[i].name} {photos[j].name}\n" for i, j in pairs))

    def watch() -> None:
        done = count_rows(run.database, "two_view_geometries") - done_before
        run.progress.update(min(done, total), total, "matching photos")
        checkpoint.save_now_and_then(run.database)

    def known_total(_: int, alike: int) -> None:
        nonlocal total
        total = alike

    request = {**run.request, "pairs": str(listed), "coarse": str(run.work / "coarse.db")}
    request |= {"screened_by": screened_by, "alike_from": ALIKE_FROM, "at_least_with": AT_LEAST_WITH}
    in_full = run_step("matching", request, run.log, on_progress=known_total, on_poll=watch)["compared"]
    numbers = {photo.name: number for number, photo in enumerate(photos)}
    links = [(numbers[a], numbers[b], n) for a, b, n in verified_pairs(run.database)]
    parts = components(len(photos), [(i, j) for i, j, _ in links])
    full = before.in_full | {(numbers[a], numbers[b]) for a, b in in_full}
    return Graph(before.compared + len(pairs), links, parts, full)


def build_model(run: SfmRun, photos: list[Photo], graph: Graph, focals: Mapping[str, float]) -> Model:
    run.progress.begin("mapping", "placing cameras")
    request = {**run.request, "output": str(run.work / "models"), "photos": len(photos)}
    connected = len(graph.parts[0])
    model = map_photos(
        run.options.mapper,
        request,
        connected,
        FocalPriors(focals, run.options.max_focal_drift),
        run.log,
        run.progress.say,
        lambda done, total: run.progress.update(done, total, "placing cameras"),
    )
    if model is None:
        raise _no_model(run, connected, len(photos))
    return model


def _no_model(run: SfmRun, connected: int, photos: int) -> StageError:
    turned = share_turned_of_matches(run.database)
    if turned is not None and turned > run.options.max_turned:
        return input_error("turned_on_the_spot", TURNED.format(value=turned), MOVE_SIDEWAYS)
    cause = f"no three photos fit together; the largest group that shares features has {connected} of {photos}"
    fix = "Photos need 70 % overlap, sharp texture and a camera that moves sideways between them."
    return input_error("no_model", cause, fix)


def sharpen_keypoints(run: SfmRun, model: Model) -> Model:
    """The model with its keypoints aligned between the photos, and all of it adjusted to them."""
    run.progress.begin("aligning", "aligning patches")
    before = mean_error(model.reconstruction)
    finer = pycolmap.Reconstruction(model.reconstruction)
    moved, total = align_observations(
        finer,
        run.work / "photos",
        usable_threads(run.options.threads),
        lambda done, all_: run.progress.update(done, all_, "aligning patches"),
    )
    folder, target = run.work / "aligned", run.work / "adjusted"
    for each in (folder, target):
        shutil.rmtree(each, ignore_errors=True)
        each.mkdir()
    finer.write(folder)
    try:
        run_step("adjust", {**run.request, "model": str(folder), "output": str(target)}, run.log)
    except StepError as problem:
        run.progress.say(f"keypoints stay where they were: {problem.cause}")
        return model
    adjusted = pycolmap.Reconstruction(target)
    after = mean_error(adjusted)
    run.progress.say(f"{moved} of {total} keypoints aligned: {before:.3f} px became {after:.3f} px")
    lost = adjusted.num_points3D() < KEPT * model.reconstruction.num_points3D()
    if lost or adjusted.num_reg_images() < model.reconstruction.num_reg_images() or after > MAX_CHANGE * before:
        run.progress.say("keypoints stay where they were: the adjustment did not hold")
        return model
    return Model(model.method, adjusted, model.others)
