"""Structure from motion: a folder of photos in; undistorted photos, a COLMAP model and a report on its quality out.

    python jobs/sfm.py --input-dir PHOTOS --output-dir OUT

Writes OUT/images/, OUT/sparse/0/ (PINHOLE, binary), georeference.json, report.json, report.html, result.json and
progress.json. Exit codes: 0 done; 2 the photos or the options are at fault; 75 interrupted, run again to go on.
"""

import hashlib
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from splatkit.cameras import CameraGroup, CameraMode, CameraModel, camera_groups
from splatkit.colmap import run_step, usable_threads
from splatkit.database import Checkpoint, count_rows, verified_pairs
from splatkit.errors import INPUT_ERROR, StageError, input_error
from splatkit.gates import Gate, Limits, judge
from splatkit.georeference import georeference, local_positions
from splatkit.mapping import Mapper, Model, map_photos
from splatkit.matching import Graph, Method, Pair, Plan, components, plan_pairs, repair_pairs
from splatkit.options import read_options
from splatkit.photos import LeftOut, Photo, collect
from splatkit.report import build_report, write_report
from splatkit.stage import Progress, run_stage, write_json
from splatkit.undistorted import write_undistorted

MIN_PHOTOS = 3
OURS = "georeference.json"  # written before images/ and sparse/: where it lies, those two are an earlier run's
STEPS = {"photos": 8, "features": 30, "matching": 30, "mapping": 25, "undistorting": 7}

# (max_image_size, max_features, first_octave). Octave 0 instead of -1 saves most of the time, and on three real sets
# it registered every photo that octave -1 does; 8192 features held sets together that 4096 split.
QUALITY = {"fast": (1200, 4096, 0), "normal": (2400, 8192, 0), "high": (3200, 12288, -1)}


@dataclass(frozen=True, kw_only=True)
class SfmOptions:
    input_dir: Path = field(metadata={"environment": True})  # photos and zip files of photos, in folders as they come
    output_dir: Path = field(metadata={"environment": True})  # results go here
    # where the database of features and matches is kept for a rerun to go on from; default: OUT.checkpoint beside OUT
    checkpoint_dir: Path | None = field(default=None, metadata={"environment": True})
    quality: Literal["fast", "normal", "high"] = "normal"  # sets the three below
    max_image_size: int = 0  # longest side in pixels at which features are sought; 0: by quality
    max_features: int = 0  # features per photo; 0: by quality
    first_octave: int | None = None  # -1 also looks at the photo enlarged twice: finer and four times slower
    max_images: int = 0  # use at most so many photos, evenly chosen; 0: all
    camera_mode: CameraMode = "auto"  # auto: one camera per device, focal length and size
    camera_model: CameraModel = "auto"  # auto: SIMPLE_RADIAL, and OPENCV from 100 photos of a camera
    matching: Method = "auto"  # auto: all pairs of small sets, GPS neighbours, or the order of the names
    neighbours: int = 16  # photos that each is compared with, in spatial matching
    overlap: int = 10  # photos that each is compared with, in sequential matching
    mapper: Mapper = "auto"  # auto: global, and incremental where that leaves photos out or bends the focal length
    output_image_size: int = 0  # longest side of the undistorted photos in pixels; 0: as the photos
    threads: int = 0  # 0: as many as the machine gives
    force: bool = False  # go on although a gate fails; the report still says so
    min_registered: float = 0.7  # gate: share of the photos that must be placed
    max_reprojection_error: float = 1.5  # gate: mean, in pixels
    min_track_length: float = 2.5  # gate: photos that see a point, mean
    min_points_per_photo: int = 60  # gate: median
    min_angle: float = 2.0  # gate: degrees between the views of a point, median
    max_focal_drift: float = 1.6  # gate: times longer or shorter than EXIF says
    max_gps_residual: float = 10.0  # gate: metres, median

    def __post_init__(self) -> None:
        at_least = {"max_images": 0, "max_image_size": 0, "max_features": 0, "output_image_size": 0, "threads": 0}
        for name, least in {**at_least, "neighbours": 2, "overlap": 1}.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}; allowed is {least} or more")
        if 0 < self.max_images < MIN_PHOTOS:
            raise ValueError(f"max_images is {self.max_images}; allowed is 0 or {MIN_PHOTOS} or more")
        if not 0 <= self.min_registered <= 1:
            raise ValueError(f"min_registered is {self.min_registered}; allowed is 0 to 1")
        if self.first_octave is not None and not -1 <= self.first_octave <= 3:
            raise ValueError(f"first_octave is {self.first_octave}; allowed is -1 to 3")

    @property
    def feature_settings(self) -> dict[str, int]:
        size, features, octave = QUALITY[self.quality]
        return {
            "max_image_size": self.max_image_size or size,
            "max_features": self.max_features or features,
            "first_octave": octave if self.first_octave is None else self.first_octave,
        }

    @property
    def limits(self) -> Limits:
        return Limits(**{name: getattr(self, name) for name in Limits.__dataclass_fields__})


def main(arguments: Sequence[str]) -> int:
    try:
        options = read_options(SfmOptions, (__doc__ or "").splitlines()[0], arguments)
    except StageError as problem:
        print(f"sfm: {problem.cause}\n     {problem.fix}", file=sys.stderr)
        return problem.exit_code
    return run_stage("sfm", options.output_dir, lambda: reconstruct(options))


def reconstruct(options: SfmOptions) -> dict[str, Any]:
    """The metrics of result.json. Raises StageError where the photos do not make a model that can be trusted."""
    clear_output(options)
    progress = Progress("sfm", options.output_dir, STEPS)
    log = options.output_dir / "logs" / "colmap.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="sfm-") as folder:
        work = Path(folder)
        photos, left_out = find_photos(options, work, progress)
        groups = camera_groups(photos, options.camera_mode, options.camera_model)
        checkpoint, database = open_database(options, work, photos, groups, progress)
        try:
            extract_features(options, work, groups, database, checkpoint, log, progress)
            places = local_positions(photos)
            plan, graph = match_photos(options, work, photos, places, database, checkpoint, log, progress)
        finally:
            checkpoint.save(database)
        model = build_model(options, work, photos, groups, graph, database, log, progress)
        place = georeference(model.reconstruction, [p.name for p in photos], places)
        gates = judge(model, len(photos), _priors(groups), place, options.limits)
        write_json(options.output_dir / OURS, place.as_json())
        progress.begin("undistorting", "undistorting photos")
        request = {"max_size": options.output_image_size or -1, "threads": usable_threads(options.threads)}
        write_undistorted(model.reconstruction, work / "photos", work, options.output_dir, request, log)
        progress.finish()
        report = build_report(photos, left_out, groups, plan, graph, model, place, gates, progress.seconds)
    write_report(report, model, options.output_dir)
    return conclude(report, gates, options.force, progress)


def clear_output(options: SfmOptions) -> None:
    """Removes what an earlier run left, so that no failure looks like its success."""
    source, output = options.input_dir.resolve(), options.output_dir.resolve()
    results = [output / "images", output / "sparse"]
    if output.is_relative_to(source) or any(source.is_relative_to(folder) for folder in results):
        cause = f"the output folder {output} and the input folder {source} lie in each other"
        raise input_error("bad_option", cause, "Give an output folder elsewhere.")
    strangers = [folder for folder in results if folder.exists() and not (output / OURS).exists()]
    if strangers:
        cause = f"{strangers[0]} exists and no earlier run of this stage wrote it"
        raise input_error("bad_option", cause, "Give another output folder, or move it away.")
    for folder in results:
        shutil.rmtree(folder, ignore_errors=True)
    for name in ("report.json", "report.html", OURS):
        (output / name).unlink(missing_ok=True)


def find_photos(options: SfmOptions, work: Path, progress: Progress) -> tuple[list[Photo], list[LeftOut]]:
    if not options.input_dir.is_dir():
        raise input_error("no_input", f"{options.input_dir} is not a folder", "Give the folder with the photos.")
    progress.begin("photos", "reading photos")
    photos, left_out = collect(
        options.input_dir, work, options.max_images, lambda done, total: progress.update(done, total, "reading photos")
    )
    progress.say(f"{len(photos)} photos" + (f", {len(left_out)} files left out" if left_out else ""))
    if len(photos) < MIN_PHOTOS:
        first = "; ".join(f"{item.source}: {item.reason}" for item in left_out[:5])
        cause = f"{len(photos)} usable photos in the input, at least {MIN_PHOTOS} are needed"
        fix = "Give overlapping photos as JPEG, PNG, TIFF or WebP, in folders or zip files."
        raise input_error("too_few_photos", f"{cause}. Left out: {first}" if first else cause, fix)
    return photos, left_out


def open_database(
    options: SfmOptions, work: Path, photos: list[Photo], groups: list[CameraGroup], progress: Progress
) -> tuple[Checkpoint, Path]:
    """An earlier run's database is used when it comes from the same photos and the same settings of features."""
    fingerprint: dict[str, object] = {
        "photos": hashlib.sha256(json.dumps([(p.name, p.sha256) for p in photos]).encode()).hexdigest(),
        "cameras": hashlib.sha256(json.dumps([asdict(group) for group in groups]).encode()).hexdigest(),
        "pycolmap": version("pycolmap"),
        **options.feature_settings,
    }
    beside = options.output_dir.with_name(f"{options.output_dir.resolve().name}.checkpoint")
    checkpoint, database = Checkpoint(options.checkpoint_dir or beside, fingerprint), work / "database.db"
    if checkpoint.restore(database):
        progress.say(
            f"going on from a checkpoint: {count_rows(database, 'descriptors')} photos and "
            f"{count_rows(database, 'two_view_geometries')} pairs are done already"
        )
    return checkpoint, database


def extract_features(
    options: SfmOptions,
    work: Path,
    groups: list[CameraGroup],
    database: Path,
    checkpoint: Checkpoint,
    log: Path,
    progress: Progress,
) -> None:
    total = sum(len(group.names) for group in groups)
    progress.begin("features", "finding features", total)
    if count_rows(database, "descriptors") == total:
        return

    def watch() -> None:
        progress.update(count_rows(database, "descriptors"), total, "finding features")
        checkpoint.save_now_and_then(database)

    request = {
        "database": str(database),
        "images": str(work / "photos"),
        "groups": [asdict(group) for group in groups],
        "threads": usable_threads(options.threads),
        **options.feature_settings,
    }
    run_step("features", request, log, on_poll=watch)


def match_photos(
    options: SfmOptions,
    work: Path,
    photos: list[Photo],
    places: tuple[Any, Any] | None,
    database: Path,
    checkpoint: Checkpoint,
    log: Path,
    progress: Progress,
) -> tuple[Plan, Graph]:
    plan = plan_pairs(options.matching, places and places[0], len(photos), options.neighbours, options.overlap)
    progress.begin("matching", "matching photos", len(plan.pairs))
    progress.say(f"{plan.method} matching, {len(plan.pairs)} pairs: {plan.why}")
    numbers = {photo.name: number for number, photo in enumerate(photos)}

    def compare(pairs: list[Pair], before: int) -> Graph:
        listed = work / "pairs.txt"
        listed.write_text("".join(f"{photos[i].name} {photos[j].name}\n" for i, j in pairs))
        total = before + len(pairs)

        def watch() -> None:
            progress.update(min(total, count_rows(database, "two_view_geometries")), total, "matching photos")
            checkpoint.save_now_and_then(database)

        request = {"database": str(database), "pairs": str(listed), "threads": usable_threads(options.threads)}
        run_step("matching", request, log, on_poll=watch)
        links = [(numbers[a], numbers[b], n) for a, b, n in verified_pairs(database)]
        return Graph(total, links, components(len(photos), [(i, j) for i, j, _ in links]))

    graph = compare(plan.pairs, 0)
    if len(graph.parts) > 1 and (more := repair_pairs(graph.parts, plan.pairs, len(photos))):
        progress.say(f"the photos fall into {len(graph.parts)} parts: comparing {len(more)} more pairs across them")
        graph = compare(more, len(plan.pairs))
    return plan, graph


def build_model(
    options: SfmOptions,
    work: Path,
    photos: list[Photo],
    groups: list[CameraGroup],
    graph: Graph,
    database: Path,
    log: Path,
    progress: Progress,
) -> Model:
    progress.begin("mapping", "placing cameras")
    request = {
        "database": str(database),
        "images": str(work / "photos"),
        "output": str(work / "models"),
        "threads": usable_threads(options.threads),
        "photos": len(photos),
    }
    connected = len(graph.parts[0])
    model = map_photos(
        options.mapper,
        request,
        connected,
        _priors(groups),
        log,
        progress.say,
        lambda done, total: progress.update(done, total, "placing cameras"),
    )
    if model is None:
        cause = f"no three photos fit together; the largest group that shares features has {connected} of {len(photos)}"
        fix = "Photos need 70 % overlap, sharp texture and a camera that moves sideways between them."
        raise input_error("no_model", cause, fix)
    return model


def conclude(report: dict[str, Any], gates: list[Gate], force: bool, progress: Progress) -> dict[str, Any]:
    metrics: dict[str, Any] = report["metrics"]
    failed = [gate for gate in gates if not gate.passed]
    for gate in failed:
        progress.say(f"{'warning' if force else 'failed'}: {gate.cause}. {gate.fix}")
    if failed and not force:
        raise StageError(
            f"gate_{failed[0].name}",
            "; ".join(gate.cause for gate in failed),
            f"{failed[0].fix} To go on regardless: force.",
            exit_code=INPUT_ERROR,
            metrics=metrics,
        )
    progress.say(
        f"{metrics['registered']} of {metrics['photos']} photos placed, {metrics['points']} points, "
        f"{metrics['reprojection_error_px']:.2f} px"
    )
    return metrics


def _priors(groups: list[CameraGroup]) -> dict[str, float]:
    return {name: group.focal_prior for group in groups if group.focal_prior for name in group.names}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
