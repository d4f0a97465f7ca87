"""Compression: splat.ply in; the smallest scene that looks the same, proof that it does, and a web page that shows it.

    python jobs/compress.py --input-dir TRAINED --output-dir OUT

Writes OUT/scene.sog, lod/, viewer/index.html, thumbnail.png, turntable.mp4, report.json, result.json and progress.json.
Exit codes: 0 done; 1 the quality asked for was not reached; 2 the splat or the options are at fault.
"""

import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from splatkit.compress.allocator import return_large_blocks
from splatkit.compress.cleaning import require_readable, without_broken, without_invisible
from splatkit.compress.inputs import find_splat, held_out_by_training, is_z_up, size_of
from splatkit.compress.levels import levels_of_detail
from splatkit.compress.lod_files import INDEX_FILE, read_level, write_levels
from splatkit.compress.options import CompressOptions
from splatkit.compress.outputs import MADE_BY, clear_output, results_in
from splatkit.compress.precision_steps import STEPS as STEPS_OF_PRECISION
from splatkit.compress.precision_steps import Encoding, within_loss, within_size
from splatkit.compress.quality import Judge, attribute_errors
from splatkit.compress.sog_orders import order_of
from splatkit.errors import StageError
from splatkit.formats.colmap_dataset import dataset_in
from splatkit.formats.paletted import Paletted, own_palette
from splatkit.formats.sog import open_sog
from splatkit.formats.splat_files import read_splats
from splatkit.formats.spool import release, spooled, taken
from splatkit.splats import Splats
from splatkit.stage import Progress, stage_command, write_json
from splatkit.stage_files import REPORT
from splatkit.view.rendering import Renderer
from splatkit.view.shots import HoldOut, Shot, framing, held_out_shots, photographed_from, ring, shot_from, turned_shot
from splatkit.view.turning import UPRIGHT, turned
from splatkit.view.turntable import HEIGHT, WIDTH, write_thumbnail, write_turntable
from splatkit.view.viewer_page import About, first_look, require_viewer, write_standalone_page, write_streaming_page
from splatworks.contract.stages.compress import STAGE

STEPS = {"reading": 5, "views": 15, "encoding": 35, "levels": 20, "page": 5, "turntable": 20}
SCENE, PAGE, THUMBNAIL, TURNTABLE = "scene.sog", "viewer/index.html", "thumbnail.png", "turntable.mp4"


def main(arguments: Sequence[str]) -> int:
    return stage_command(STAGE, CompressOptions, compress, (__doc__ or "").splitlines()[0], arguments)


def compress(options: CompressOptions) -> dict[str, Any]:
    """The metrics of result.json. Raises StageError for a bad splat, or a loss that no precision keeps small enough."""
    started = time.monotonic()
    return_large_blocks()
    path = find_splat(options.input_dir, options.splat, results_in(options.input_dir, options.output_dir))
    require_viewer()
    clear_output(options.output_dir, path)
    progress = Progress(STAGE.name, options.output_dir, STEPS)
    progress.begin("reading", "reading the splat")
    with tempfile.TemporaryDirectory(prefix=f"{STAGE.name}-") as work:
        report, judge, levels = encode(options, path, Path(work), progress)
        report["levels"] = write_detail(options, levels, report["precision"], judge, progress)
    result = open_sog(options.output_dir / SCENE)
    deliver(options, options.title or os.environ.get("TRIGGER_EXPERIMENT") or path.stem, result, judge, progress)
    report["seconds"] = progress.seconds
    write_json(options.output_dir / REPORT, report)
    progress.finish()
    metrics = summary(report, time.monotonic() - started)
    if not report["held"] and not options.target_mb:
        raise not_held(options, report, metrics)
    return metrics


def not_held(options: CompressOptions, report: dict[str, Any], metrics: dict[str, Any]) -> StageError:
    lost = f"{report['quality']['loss_db']:.3f} dB are lost at the {report['precision']} precision"
    cut = f" beside {report['cut_db']:.3f} that sh_degree and prune take" if report["cut_db"] else ""
    fix = "scene.sog is there all the same. Give a larger --max-loss-db to accept it."
    return StageError("quality_not_held", f"{lost}; {options.max_loss_db:g} are allowed{cut}", fix, metrics=metrics)


def encode(
    options: CompressOptions, path: Path, work: Path, progress: Progress
) -> tuple[dict[str, Any], Judge, Iterator[Splats]]:
    """Writes the scene; returns its report, its judge and its levels of detail, which alone still hold the splats."""
    whole, facts = prepared(options, path, work, progress)
    shots, photos = find_shots(options, path, whole, np.array(facts["turn"]), work, progress)
    progress.begin("views", "rendering the original", len(shots))
    judge = Judge(whole, shots, lambda done, total: progress.update(done, total, "comparing pictures"), photos)
    release(whole.shN)
    splats = cut(options, whole, facts, work, progress)
    cut_db = 0.0 if splats is whole else judge.compare(own_palette(splats)).loss_db
    del whole
    progress.begin("encoding", "encoding")
    encoding = within_limits(options, splats, judge, cut_db, progress)
    encoded = encoding.encoded
    require_readable(len(encoded.order), encoded.visible, sum(encoded.files.sizes.values()))
    write_json(options.output_dir / REPORT, facts)  # before the scene: see clear_output
    encoded.files.write_bundle(options.output_dir / SCENE)
    report = {
        **facts,
        "splats": len(encoded.order),
        "bytes": {SCENE: (options.output_dir / SCENE).stat().st_size, **encoded.files.sizes},
        "precision": encoding.step,
        "held": encoding.quality.loss_db - cut_db <= options.max_loss_db,
        "cut_db": round(cut_db, 4),  # of the loss: what sh_degree and prune alone take, as was asked for
        "merged": encoding.merged,
        "quality": encoding.quality.as_json(),
        "invisible": len(encoded.order) - encoded.visible,  # in the file, but with nothing besides their place in it
        "attributes": attribute_errors(
            encoded.source, encoded.order[: encoded.visible], open_sog(options.output_dir / SCENE)
        ),
    }
    release(encoded.source.shN)
    return report, judge, levels_of_detail(encoded.source, options.levels)


def within_limits(
    options: CompressOptions, splats: Splats, judge: Judge, cut_db: float, progress: Progress
) -> Encoding:
    """The size that was asked for, else the loss."""
    order = partial(order_of, order=options.order, say=progress.say)
    if not options.target_mb:
        encoding = within_loss(splats, judge, options.max_loss_db, order, progress.say, cut_db)
    else:
        encoding = within_size(splats, judge, round(options.target_mb * 1e6), order, progress.say)
        if encoding.quality.loss_db - cut_db > options.max_loss_db:
            lost = f"{encoding.quality.loss_db:.3f} dB are lost, more than the {options.max_loss_db:g} of --max-loss-db"
            progress.say(f"{lost}: --target-mb goes before it")
    if encoding.step != "usual":
        progress.say(f"precision is {encoding.step}, to keep within the limit")
    return encoding


def prepared(options: CompressOptions, path: Path, work: Path, progress: Progress) -> tuple[Splats, dict[str, Any]]:
    """The whole scene, which all results are judged by, and the report's facts about it."""
    source = read_splats(path)
    if options.rasterize_mode != "auto":
        source = replace(source, antialiased=options.rasterize_mode == "antialiased")
    if options.background != "auto":
        source = replace(source, on_white=options.background == "white")
    source = spooled(source, work / "read")
    cleaned = without_broken(source)
    release(source.shN)
    say_dropped(cleaned.dropped, len(source), progress)
    turn = UPRIGHT[find_up(options)]
    splats = spooled(turned(cleaned.splats, turn), work / "prepared")
    release(source.shN)
    return splats, {
        **MADE_BY,
        "source": {
            "file": path.name, "bytes": size_of(path), "splats": len(source), "sh_degree": source.sh_degree
        },
        "dropped": cleaned.dropped,
        "rasterize_mode": "antialiased" if source.antialiased else "classic",
        "background": "white" if source.on_white else "black",
        "turn": turn.tolist(),  # scene.sog = turn * splat.ply
    }  # fmt: skip


def cut(options: CompressOptions, splats: Splats, facts: dict[str, Any], work: Path, progress: Progress) -> Splats:
    """What the options leave of the scene; the very same where they leave all of it."""
    rows, gone = without_invisible(splats) if options.prune else (np.arange(len(splats)), {})
    say_dropped(gone, facts["source"]["splats"], progress)
    facts["dropped"] |= gone
    if len(rows) == len(splats) and splats.sh_degree <= options.sh_degree:
        return splats
    return spooled(taken(splats.with_sh_degree(min(splats.sh_degree, options.sh_degree)), rows), work / "cut")


def say_dropped(dropped: dict[str, int], count: int, progress: Progress) -> None:
    for reason, gone in dropped.items():
        progress.say(f"{gone:,} of {count:,} splats dropped: {reason}")


def find_up(options: CompressOptions) -> str:
    if options.up != "auto":
        return options.up
    return "z" if is_z_up(options.input_dir) else "-y"


def find_shots(
    options: CompressOptions, path: Path, splats: Splats, turn: Any, work: Path, progress: Progress
) -> tuple[list[Shot], str]:
    """Photos where the input has a COLMAP dataset, and what they are; else cameras around the scene."""
    dataset = dataset_in(options.input_dir)
    if dataset is None:
        progress.say(f"judged by {options.views} views around the scene, as the input has no photos")
        return ring(framing(splats), options.views, options.view_size, options.view_size * 3 // 4), ""
    every, first = options.hold_out_every, options.hold_out_first
    names = held_out_by_training(path)
    trained_on = not names and (names is not None or not every)
    chosen = HoldOut(tuple(names or ()), every, every // 2 if first < 0 else first)
    held_out = HoldOut((), 1, 0) if trained_on else chosen  # of what training saw any photo will do
    shots = held_out_shots(dataset, work, held_out, options.view_size, options.views)
    if trained_on:
        progress.say(f"judged by {len(shots)} training photos of {dataset.name}, as training held none out")
    else:
        progress.say(f"judged by {len(shots)} held-out photos of {dataset.name}")
    return [turned_shot(shot, turn) for shot in shots], "training photos" if trained_on else "photos"


def write_detail(
    options: CompressOptions, levels: Iterator[Splats], precision: str, judge: Judge, progress: Progress
) -> list[dict[str, Any]]:
    """The levels of detail as streamed SOG, and what each is worth."""
    progress.begin("levels", "merging splats")
    folder = options.output_dir / "lod"

    def between(number: int) -> None:
        progress.update(number, options.levels, "writing levels of detail")

    written = write_levels(folder, levels, STEPS_OF_PRECISION[precision], between)
    return [
        {"level": number, **facts, **judge.compare(read_level(folder, number)).summary}
        for number, facts in enumerate(written)
    ]


def deliver(options: CompressOptions, title: str, scene: Paletted, judge: Judge, progress: Progress) -> None:
    """The page with the scene inside, the page that streams, the thumbnail and the turntable."""
    progress.begin("page", "writing the web page")
    frame = framing(scene.splats)
    azimuth, elevation = photographed_from(frame, judge.shots)
    shot = shot_from(frame, azimuth, elevation, WIDTH, HEIGHT)
    look = first_look(shot, frame.centre, frame.radius)
    bundle = options.output_dir / SCENE
    today = datetime.now(UTC).strftime("%Y-%m-%d")
    about = About(title, len(scene), bundle.stat().st_size, today, scene.splats.antialiased, judge.on_white)
    write_standalone_page(options.output_dir / PAGE, about, look, bundle)
    write_streaming_page(
        options.output_dir / "viewer" / "stream.html", about, look, f"../lod/{INDEX_FILE}", "../scene.sog"
    )
    renderer = Renderer(scene, judge.on_white)
    write_thumbnail(options.output_dir / THUMBNAIL, renderer, shot)
    if options.turntable_frames:
        progress.begin("turntable", "filming", options.turntable_frames)
        between = partial(progress.update, message="filming the turntable")
        write_turntable(options.output_dir / TURNTABLE, renderer, frame, options.turntable_frames, azimuth, between)


def summary(report: dict[str, Any], seconds: float) -> dict[str, Any]:
    """What an e-mail tells of the scene."""
    size, before = report["bytes"][SCENE], report["source"]["bytes"]
    return {
        "splats": report["splats"],
        "dropped": sum(report["dropped"].values()),
        "bytes": size,
        "megabytes": round(size / 1e6, 3),
        "times_smaller": round(before / size, 2),
        "bytes_per_splat": round(size / report["splats"], 2),
        "precision": report["precision"],
        "held": report["held"],
        **{name: value for name, value in report["quality"].items() if name != "by_view"},
        "levels": len(report["levels"]),
        "scene": SCENE,
        "page": PAGE,
        "thumbnail": THUMBNAIL,
        "seconds": round(seconds, 1),
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
