"""Structure from motion against pycolmap's own defaults on the same photos, in the same run."""

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pycolmap

from bench.table import Row
from local.survey.photos import Survey, render_survey
from splatkit.sfm.georeference import robust_similarity

REPOSITORY = Path(__file__).parents[1]
SHARED = REPOSITORY.parent / "shared" / "data" / "photos"
DEFAULTS = "pycolmap defaults: full size, all pairs, incremental"
PEER_SECONDS = 1200  # the defaults are given no more; then their time is a lower bound, and the rest unknown
FLIGHTS = (25, 50, 100, 200)  # photos of the rendered survey whose matching cost is compared


def rows() -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="sfm-bench-") as folder:
        work = Path(folder)
        survey = render_survey(work / "survey")
        sets = {"survey of 24": survey.photos}
        sets |= {path.name: path / "images" for path in sorted(SHARED.glob("*")) if (path / "images").is_dir()}
        table = [row for name, photos in sets.items() for row in _against_defaults(name, photos, work / name)]
        table += _against_truth(survey, work / "survey of 24")
        table += [_scale_with_noise(work / "noisy")]
        for name, photos in sets.items():
            table += _quality(name, photos, work / name)
        return table + _growth(work)


def _against_defaults(name: str, photos: Path, work: Path) -> list[Row]:
    report, seconds = _ours(photos, work / "ours")
    peer_registered, peer_error, peer_seconds = _defaults(photos, work / "defaults")
    metrics = report["metrics"]
    return [
        Row(f"sfm {name}: wall time", seconds, peer_seconds, "s", "at most 0.5 times", DEFAULTS),
        Row(
            f"sfm {name}: photos placed", metrics["registered"], peer_registered, "photos", "at least 1 times", DEFAULTS
        ),
        Row(
            f"sfm {name}: reprojection error",
            metrics["reprojection_error_px"],
            peer_error,
            "px",
            "at most 1.1 times",
            DEFAULTS,
        ),
    ]


def _ours(photos: Path, output: Path, *options: str) -> tuple[dict[str, dict[str, float]], float]:
    """--force: a set that fails a gate still has a time and an error."""
    command = [sys.executable, str(REPOSITORY / "jobs" / "sfm.py"), "--input-dir", str(photos), "--output-dir"]
    started = time.monotonic()
    subprocess.run([*command, str(output), "--force", *options], check=True, capture_output=True)
    return json.loads((output / "report.json").read_text()), time.monotonic() - started


def _defaults(photos: Path, work: Path) -> tuple[float, float, float]:
    work.mkdir(parents=True)
    code = (
        "import pycolmap, sys; from pathlib import Path; photos, work = map(Path, sys.argv[1:])\n"
        "pycolmap.extract_features(work / 'db', photos, camera_mode=pycolmap.CameraMode.SINGLE)\n"
        "pycolmap.match_exhaustive(work / 'db')\n"
        "models = pycolmap.incremental_mapping(work / 'db', photos, work)\n"
        "pycolmap.undistort_images(work / 'undistorted', work / '0', photos) if models else None\n"
    )
    started = time.monotonic()
    command = [sys.executable, "-c", code, str(photos), str(work)]
    with contextlib.suppress(subprocess.TimeoutExpired):
        subprocess.run(command, check=True, capture_output=True, timeout=PEER_SECONDS)
    seconds = time.monotonic() - started
    best = _largest(work)
    if best is None:
        return float("nan"), float("nan"), seconds
    return best.num_reg_images(), best.compute_mean_reprojection_error(), seconds


def _largest(work: Path) -> pycolmap.Reconstruction | None:
    models = [pycolmap.Reconstruction(path.parent) for path in work.glob("[0-9]*/images.bin")]
    return max(models, key=lambda model: int(model.num_reg_images()), default=None)


def _against_truth(survey: Survey, work: Path) -> list[Row]:
    """The runs of _against_defaults once more, beside the exact poses."""
    ours = _pose_errors(pycolmap.Reconstruction(work / "ours" / "sparse" / "0"), survey)
    peer_model = _largest(work / "defaults")
    peer = _pose_errors(peer_model, survey) if peer_model else (float("nan"), float("nan"))
    return [
        Row("sfm survey of 24: rotation error, median", ours[0], peer[0], "degrees", "ours under 0.1", DEFAULTS),
        Row("sfm survey of 24: position error, median", ours[1], peer[1], "% of extent", "ours under 0.2", DEFAULTS),
    ]


def _pose_errors(model: pycolmap.Reconstruction, survey: Survey) -> tuple[float, float]:
    """Degrees, and percent of the extent, after the similarity that fits best."""
    truth = {pose.name: pose for pose in survey.poses}
    images = [model.images[i] for i in model.reg_image_ids()]
    exact = np.array([truth[image.name].centre for image in images])
    fitted, distances = robust_similarity(np.array([image.projection_center() for image in images]), exact)
    found = np.array([image.cam_from_world().rotation.matrix() for image in images]) @ fitted.rotation.matrix().T
    cosines = (np.einsum("nij,nij->n", found, np.array([truth[i.name].cam_from_world for i in images])) - 1) / 2
    extent = np.linalg.norm(np.ptp(exact, axis=0))
    return float(np.degrees(np.median(np.arccos(cosines.clip(-1, 1))))), float(
        100 * np.median(distances) / float(extent)
    )


def _scale_with_noise(work: Path) -> Row:
    survey = render_survey(work, gps_noise_m=1.0)
    _ours(survey.photos, work / "ours")
    model = pycolmap.Reconstruction(work / "ours" / "sparse" / "0")
    truth = {pose.name: pose.centre for pose in survey.poses}
    images = [model.images[i] for i in model.reg_image_ids()]
    centres = np.array([image.projection_center() for image in images])
    exact, _ = robust_similarity(centres, np.array([truth[image.name] for image in images]))
    return Row(
        "sfm survey, GPS noise of 1 m: scale", 1 / float(exact.scale), 1.0, "times", "0.99 to 1.01", "the exact poses"
    )


def _quality(name: str, photos: Path, work: Path) -> list[Row]:
    """--quality high beside normal, of the run before."""
    normal = json.loads((work / "ours" / "report.json").read_text())["metrics"]
    report, _ = _ours(photos, work / "high", "--quality", "high")
    high = report["metrics"]
    return [
        Row(f"sfm {name}, high: {what}", high[key], normal[key], unit, "", "quality normal")
        for key, what, unit in [
            ("seconds", "wall time", "s"),
            ("registered", "photos placed", "photos"),
            ("reprojection_error_px", "reprojection error", "px"),
            ("points", "points", "points"),
        ]
    ]


def _growth(work: Path) -> list[Row]:
    """Matching time and pairs of flights with GPS, each beside the flight of half its photos."""
    cost: dict[int, tuple[float, float]] = {}
    for photos in FLIGHTS:
        survey = render_survey(work / f"flight-{photos}", photos=photos, width=480, height=320)
        plain = ("--matching", "spatial", "--align-patches", "false")  # what comes after matching is not compared
        report, _ = _ours(survey.photos, work / f"flight-{photos}" / "ours", *plain)
        cost[photos] = (report["seconds"]["matching"], report["metrics"]["pairs_compared"])
    return [
        Row(
            f"sfm {large} photos with GPS: {what}",
            cost[large][k],
            cost[half][k],
            unit,
            "at most 2.5 times",
            f"{half} photos",
        )
        for half, large in pairwise(FLIGHTS)
        for k, (what, unit) in enumerate([("matching", "s"), ("pairs compared", "pairs")])
    ]
