"""Structure from motion: a folder of photos in; undistorted photos, a COLMAP model and a report on its quality out.

    python jobs/sfm.py --input-dir PHOTOS --output-dir OUT

Writes OUT/images/, OUT/masks/ (where masks came in), OUT/sparse/0/ (PINHOLE, binary), OUT/thumbnails/,
georeference.json, report.json, report.html, result.json and progress.json. Exit codes: 0 done; 2 the photos or the
options are at fault; 75 interrupted, run again to go on.
"""

import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from splatkit.errors import StageError, input_error
from splatkit.output_folder import removable_results
from splatkit.sfm.cameras import camera_groups
from splatkit.sfm.colmap import usable_threads
from splatkit.sfm.gates import Gate, judge
from splatkit.sfm.georeference import georeference, local_positions
from splatkit.sfm.options import SfmOptions
from splatkit.sfm.report import build_report
from splatkit.sfm.report_page import write_report
from splatkit.sfm.steps import (
    SfmRun,
    build_model,
    extract_features,
    find_photos,
    match_photos,
    open_database,
    sharpen_keypoints,
)
from splatkit.sfm.undistorted import write_masks, write_undistorted
from splatkit.stage import Progress, stage_command, write_json
from splatkit.stage_files import GEOREFERENCE, REPORT
from splatworks.contract.exit_codes import ExitCode
from splatworks.contract.output_folder import holds, remove
from splatworks.contract.stages.sfm import STAGE

# The last one is written before the others, and marks them as ours.
RESULTS = ("images", "sparse", "masks", "thumbnails", REPORT, "report.html", GEOREFERENCE)
STEPS = {"photos": 8, "features": 30, "matching": 30, "mapping": 20, "aligning": 5, "undistorting": 7}


def main(arguments: Sequence[str]) -> int:
    return stage_command(STAGE, SfmOptions, reconstruct, (__doc__ or "").splitlines()[0], arguments)


def reconstruct(options: SfmOptions) -> dict[str, Any]:
    """The metrics of result.json. Raises StageError where the photos do not make a model that can be trusted."""
    clear_output(options)
    log = options.output_dir / "logs" / "colmap.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{STAGE.name}-") as folder:
        progress = Progress(STAGE.name, options.output_dir, STEPS)
        run = SfmRun(options, Path(folder), progress, log)
        photos, left_out = find_photos(run)
        groups = camera_groups(photos, options.camera_mode, options.camera_model)
        places = local_positions(photos)
        checkpoint = open_database(run, photos, groups)
        try:
            focals = extract_features(run, groups, checkpoint)
            plan, graph = match_photos(run, photos, places, checkpoint)
        finally:
            checkpoint.save(run.database)
        model = build_model(run, photos, graph, focals)
        if options.align_patches:
            model = sharpen_keypoints(run, model)
        place = georeference(model.reconstruction, [p.name for p in photos], places)
        gates = judge(model, photos, graph, focals, place, options.limits)
        write_json(options.output_dir / GEOREFERENCE, place.as_json())
        progress.begin("undistorting", "undistorting photos")
        size = options.output_image_size or -1
        request = {"max_size": size, "threads": usable_threads(options.threads)}
        write_undistorted(model.reconstruction, run.work / "photos", run.work, options.output_dir, request, log)
        masked = {photo.name: photo.mask for photo in photos}
        write_masks(model.reconstruction, run.work / "masks", masked, options.output_dir, size)
        shutil.move(run.work / "thumbnails", options.output_dir / "thumbnails")
        progress.finish()
        report = build_report(photos, left_out, groups, plan, graph, model, place, gates, progress.seconds)
    write_report(report, model, options.output_dir)
    return conclude(report, gates, options.force, progress)


def clear_output(options: SfmOptions) -> None:
    """Remove an earlier run's results, so that no failure looks like its success."""
    source, output = options.input_dir, options.output_dir
    if holds(source, output):
        cause = f"the output folder {output} is in the input folder {source}"
        raise input_error("output_in_input", cause, "Give an output folder elsewhere.")
    results = [output / name for name in RESULTS]
    remove(removable_results(results, lambda _: (output / GEOREFERENCE).exists(), [source]))


def conclude(report: dict[str, Any], gates: list[Gate], force: bool, progress: Progress) -> dict[str, Any]:
    metrics: dict[str, Any] = {**report["metrics"], "warnings": report["warnings"]}
    failed = [gate for gate in gates if not gate.passed]
    for gate in failed:
        progress.say(f"{'warning' if force else 'failed'}: {gate.cause}. {gate.fix}")
    if failed and not force:
        raise StageError(
            f"gate_{failed[0].name}",
            "; ".join(gate.cause for gate in failed),
            f"{failed[0].fix} To go on regardless: force.",
            exit_code=ExitCode.INPUT_ERROR,
            metrics=metrics,
        )
    progress.say(
        f"{metrics['registered']} of {metrics['photos']} photos placed, {metrics['points']} points, "
        f"{metrics['reprojection_error_px']:.2f} px"
    )
    return metrics


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
