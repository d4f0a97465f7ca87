"""Compression: splat.ply in; the smallest scene that looks the same, proof that it does, and a web page that shows it.

    python jobs/compress.py --input-dir TRAINED --output-dir OUT

Writes OUT/scene.sog, lod/, viewer/index.html, thumbnail.png, turntable.mp4, report.json, result.json and progress.json.
Exit codes: 0 done; 1 the quality asked for was not reached; 2 the splat or the options are at fault.
"""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal

from splatkit.compress.cleaning import Cleaned, without_broken, without_invisible
from splatkit.compress.levels import levels_of_detail
from splatkit.compress.lod_files import write_levels
from splatkit.compress.precision_steps import STEPS as STEPS_OF_PRECISION
from splatkit.compress.precision_steps import Attempt, within_loss, within_size
from splatkit.compress.quality import Judge, attribute_errors
from splatkit.compress.sog_orders import OrderChoice, in_order
from splatkit.errors import StageError, input_error
from splatkit.formats.sog import META, read_sog
from splatkit.formats.splat_files import READERS, read_splats
from splatkit.options import read_options
from splatkit.splats import Splats, join
from splatkit.stage import Progress, run_stage, write_json
from splatkit.view.rendering import Renderer
from splatkit.view.shots import Shot, framing, held_out_shots, ring, turned_shot
from splatkit.view.turning import UPRIGHT, turned
from splatkit.view.turntable import HEIGHT, WIDTH, write_thumbnail, write_turntable
from splatkit.view.viewer_page import About, first_look, require_viewer, standalone_page, streaming_page

STEPS = {"reading": 5, "views": 15, "encoding": 35, "levels": 20, "page": 5, "turntable": 20}
OUTPUTS = ("scene.sog", "lod", "viewer", "thumbnail.png", "turntable.mp4", "report.json")
GEOREFERENCE = "georeference.json"  # sfm.py writes it with scenes whose z is up
DATASETS = ("sparse", "*/sparse")  # where a COLMAP model lies below its dataset, in the input


@dataclass(frozen=True, kw_only=True)
class CompressOptions:
    input_dir: Path = field(metadata={"environment": True})  # holds splat.ply (or one .ply, .sog or .spz), and photos
    output_dir: Path = field(metadata={"environment": True})  # results go here
    splat: str = ""  # the file to take when input_dir holds several, relative to it
    title: str = ""  # of the web page; default: TRIGGER_EXPERIMENT or the file's name
    max_loss_db: float = 0.3  # PSNR that the pictures may lose; precision rises until it holds
    target_mb: float = 0.0  # the best quality within so many megabytes (10^6 bytes); 0: no limit
    order: OrderChoice = "auto"  # of the splats in the file; auto: what is smallest
    # which way is up in the input; auto: z where a georeference.json of sfm.py lies in it, else -y as trainers have it
    up: Literal["auto", "-y", "z", "y", "-z"] = "auto"
    prune: bool = False  # drop Gaussians that no picture shows: fainter than 1/255, or far outside the scene
    sh_degree: int = 3  # leave out the bands of spherical harmonics above this
    levels: int = 3  # of detail, each with half as many splats as the one before; 1: none but the whole
    views: int = 8  # compared before and after, at most: held-out photos, or a ring of cameras without photos
    view_size: int = 640  # longest side of these pictures in pixels
    hold_out_every: int = 8  # which photos training held out, as in train.py
    hold_out_first: int = -1  # index of the first of them; -1: half of hold_out_every
    turntable_frames: int = 60  # of turntable.mp4; 0: none

    def __post_init__(self) -> None:
        ranges = {
            "max_loss_db": (0.001, 20), "target_mb": (0, 100_000), "sh_degree": (0, 3), "levels": (1, 8),
            "views": (1, 200), "view_size": (64, 4096), "hold_out_every": (1, 1000),
            "hold_out_first": (-1, 100_000), "turntable_frames": (0, 2000),
        }  # fmt: skip
        for name, (least, most) in ranges.items():
            if not least <= getattr(self, name) <= most:
                raise ValueError(f"{name} is {getattr(self, name)}; allowed is {least} to {most}")


def main(arguments: Sequence[str]) -> int:
    try:
        options = read_options(CompressOptions, (__doc__ or "").splitlines()[0], arguments)
    except StageError as problem:
        print(f"compress: {problem}\n          {problem.fix}", file=sys.stderr)
        return problem.exit_code
    return run_stage("compress", options.output_dir, lambda: compress(options))


def compress(options: CompressOptions) -> dict[str, Any]:
    """The metrics of result.json. Raises StageError for a bad splat, or a loss that no precision keeps small enough."""
    started = time.monotonic()
    clear_output(options.output_dir)
    progress = Progress("compress", options.output_dir, STEPS)
    progress.begin("reading", "reading the splat")
    path = find_splat(options)
    source = read_splats(path)
    require_viewer()
    cleaned = clean(source, options, progress)
    turn = UPRIGHT[find_up(options)]
    splats = turned(cleaned.splats, turn)
    with tempfile.TemporaryDirectory(prefix="compress-") as folder:
        shots = find_shots(options, splats, turn, Path(folder), progress)
        progress.begin("views", "rendering the original", len(shots))
        judge = Judge(splats, shots, lambda done, total: progress.update(done, total, "comparing pictures"))
        attempt = encode(options, splats, judge, progress)
        attempt.encoded.files.write_bundle(options.output_dir / "scene.sog")
        levels = write_detail(options, attempt, judge, progress)
    result = read_sog(options.output_dir / "scene.sog")
    deliver(options, options.title or os.environ.get("TRIGGER_EXPERIMENT") or path.stem, result, progress)
    report = {
        "source": {"file": path.name, "bytes": _size(path), "splats": len(source), "sh_degree": source.sh_degree},
        "dropped": cleaned.dropped,
        "turn": turn.tolist(),  # scene.sog = turn * splat.ply
        **described(attempt, result, options.output_dir / "scene.sog"),
        "levels": levels,
        "seconds": progress.seconds,
    }
    write_json(options.output_dir / "report.json", report)
    progress.finish()
    metrics = summary(report, attempt, time.monotonic() - started)
    if not attempt.held:
        lost = f"{attempt.quality.loss_db:.3f} dB are lost at the finest precision"
        fix = "scene.sog is there at its finest. Give a larger --max-loss-db to accept it."
        raise StageError("quality_not_held", f"{lost}; {options.max_loss_db:g} are allowed", fix, metrics=metrics)
    return metrics


def find_splat(options: CompressOptions) -> Path:
    """Raises StageError (input_error) when the folder has none, or several and nothing says which."""
    folder = options.input_dir
    if folder.is_file():
        return folder
    if options.splat:
        chosen = folder / options.splat
        if not chosen.resolve().is_relative_to(folder.resolve()) or not chosen.exists():
            raise input_error("no_splat", f"there is no {options.splat} in {folder}", "Correct --splat.")
        return chosen
    for name in ("splat.ply", "*/splat.ply"):
        if found := sorted(folder.glob(name)):
            return found[0]
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in READERS or path.name == META)
    if len(found) == 1:
        return found[0]
    if not found:
        cause = f"{folder} holds no splat.ply, nor another file of {', '.join(READERS)}"
        raise input_error("no_splat", cause, "Give the output folder of train.py as --input-dir.")
    names = ", ".join(str(path.relative_to(folder)) for path in found[:5])
    raise input_error("several_splats", f"{folder} holds {len(found)} splats: {names}", "Choose one with --splat.")


def clean(splats: Splats, options: CompressOptions, progress: Progress) -> Cleaned:
    cleaned = without_broken(splats)
    if options.prune:
        pruned = without_invisible(cleaned.splats)
        cleaned = Cleaned(pruned.splats, {**cleaned.dropped, **pruned.dropped})
    for reason, count in cleaned.dropped.items():
        progress.say(f"{count:,} of {len(splats):,} splats dropped: {reason}")
    return cleaned


def find_up(options: CompressOptions) -> str:
    if options.up != "auto":
        return options.up
    places = [options.input_dir / GEOREFERENCE, *options.input_dir.glob(f"*/{GEOREFERENCE}")]
    return "z" if any(place.is_file() for place in places) else "-y"


def find_shots(options: CompressOptions, splats: Splats, turn: Any, work: Path, progress: Progress) -> list[Shot]:
    """Held-out photos where the input has a COLMAP dataset, else cameras around the scene."""
    datasets = [p.parent for pattern in DATASETS for p in sorted(options.input_dir.glob(pattern)) if p.is_dir()]
    if options.input_dir.is_dir() and datasets:
        every, first = options.hold_out_every, options.hold_out_first
        first = every // 2 if first < 0 else first
        shots = held_out_shots(datasets[0], work, every, first, options.view_size, options.views)
        if not shots:
            cause = f"{datasets[0].name} has no photo number {first}, the first held out"
            raise input_error("no_held_out_photos", cause, "Give --hold-out-every and --hold-out-first as in training.")
        progress.say(f"judged by {len(shots)} held-out photos of {datasets[0].name}")
        return [turned_shot(shot, turn) for shot in shots]
    progress.say(f"judged by {options.views} views around the scene, as the input has no photos")
    return ring(framing(splats), options.views, options.view_size, options.view_size * 3 // 4)


def encode(options: CompressOptions, splats: Splats, judge: Judge, progress: Progress) -> Attempt:
    progress.begin("encoding", "encoding")
    splats = splats.with_sh_degree(min(splats.sh_degree, options.sh_degree))
    splats = in_order(splats, options.order, progress.say)
    if options.target_mb:
        attempt = within_size(splats, judge, round(options.target_mb * 1e6), "given", progress.say)
    else:
        attempt = within_loss(splats, judge, options.max_loss_db, "given", progress.say)
    if attempt.step != "usual":
        progress.say(f"precision is {attempt.step}, to keep within the limit")
    return attempt


def write_detail(options: CompressOptions, attempt: Attempt, judge: Judge, progress: Progress) -> list[dict[str, Any]]:
    """The levels of detail as streamed SOG, and what each is worth."""
    progress.begin("levels", "merging splats")
    levels = levels_of_detail(attempt.encoded.kept, options.levels)
    folder = options.output_dir / "lod"
    between = partial(progress.update, message="writing levels of detail")
    sizes = write_levels(folder, levels, STEPS_OF_PRECISION[attempt.step], between)
    described = []
    for number, level in enumerate(levels):
        size = sum(bytes_ for name, bytes_ in sizes.items() if name.startswith(f"{number}_"))
        written = join([read_sog(part) for part in sorted(folder.glob(f"{number}_*"))])
        described.append({"level": number, "splats": len(level), "bytes": size, **judge.compare(written).summary})
    return described


def deliver(options: CompressOptions, title: str, splats: Splats, progress: Progress) -> None:
    """The page with the scene inside, the page that streams, the thumbnail and the turntable."""
    progress.begin("page", "writing the web page")
    frame = framing(splats)
    shot = ring(frame, 1, WIDTH, HEIGHT)[0]
    look = first_look(shot, frame.centre, frame.radius)
    bundle = options.output_dir / "scene.sog"
    about = About(title, len(splats), bundle.stat().st_size, datetime.now(UTC).strftime("%Y-%m-%d"))
    viewer = options.output_dir / "viewer"
    write_text(viewer / "index.html", standalone_page(about, look, bundle.read_bytes()))
    write_text(viewer / "stream.html", streaming_page(about, look, "../lod/lod-meta.json", "../scene.sog"))
    renderer = Renderer(splats)
    write_thumbnail(options.output_dir / "thumbnail.png", renderer, shot)
    if options.turntable_frames:
        progress.begin("turntable", "filming", options.turntable_frames)
        between = partial(progress.update, message="filming the turntable")
        write_turntable(options.output_dir / "turntable.mp4", renderer, frame, options.turntable_frames, between)


def described(attempt: Attempt, result: Splats, bundle: Path) -> dict[str, Any]:
    return {
        "splats": len(result),
        "bytes": {"scene.sog": bundle.stat().st_size, **attempt.encoded.files.sizes},
        "precision": attempt.step,
        "merged": attempt.merged,
        "quality": attempt.quality.as_json(),
        "attributes": attribute_errors(attempt.encoded.kept, result),
    }


def summary(report: dict[str, Any], attempt: Attempt, seconds: float) -> dict[str, Any]:
    size, before = report["bytes"]["scene.sog"], report["source"]["bytes"]
    return {
        "splats": report["splats"],
        "dropped": sum(report["dropped"].values()),
        "megabytes": round(size / 1e6, 3),
        "times_smaller": round(before / size, 2),
        "bytes_per_splat": round(size / report["splats"], 2),
        "precision": attempt.step,
        **attempt.quality.summary,
        "levels": len(report["levels"]),
        "seconds": round(seconds, 1),
    }


def clear_output(folder: Path) -> None:
    """An earlier run's results must not be taken for this one's."""
    for name in OUTPUTS:
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def write_text(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(content)
    beside.replace(path)


def _size(path: Path) -> int:
    """Of an unbundled SOG: all its files."""
    return sum(p.stat().st_size for p in path.parent.iterdir()) if path.name == META else path.stat().st_size


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
