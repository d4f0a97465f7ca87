"""What a training leaves for people: tables, plots, renders beside photos, a fly-through."""

import csv
import json
import math
from collections.abc import Callable, Sequence
from itertools import chain, count
from pathlib import Path

import av
import numpy as np
import torch
from PIL import Image
from scipy.interpolate import CubicSpline
from scipy.spatial.transform import Rotation
from torch import Tensor

from splatkit.stage import write_json
from splatkit.stage_files import METRICS, SPLAT
from splatkit.threads import cores
from splatkit.train.training import Training
from splatkit.whole_files import whole_file
from splatworks.contract.output_folder import mark_in, remove

BESIDE = b"splatworks: photo, render"  # the mark of such pictures
FRAMES_PER_SECOND, FLYTHROUGH_WIDTH, STOPS = 24, 960, 12
# The last one marks the others as ours: if removing them is interrupted, they are still known.
RESULTS = (SPLAT, "flythrough.mp4", "preview.jpg", "loss.png", "psnr.png", "metrics.csv", METRICS)
MARK = {"gaussians", "steps", "backend", "held_out"}  # are in each metrics.json of this stage
CSV_COLUMNS = ("step", "seconds", "psnr", "psnr_corrected", "ssim", "lpips", "loss", "gaussians")


def clear_results(folder: Path) -> None:
    """Remove an earlier training's results, so that no failure looks like its success; other files stay."""
    if mark_in(folder / METRICS).keys() >= MARK:
        remove(folder / name for name in RESULTS)


def write_history(folder: Path, training: Training) -> None:
    """metrics.csv and the two plots."""
    with (folder / "metrics.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, CSV_COLUMNS, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(training.history)
    write_plots(folder, training)


def write_plots(folder: Path, training: Training) -> None:
    # Only here: matplotlib takes a second to import.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = [row for row in training.history if "psnr" in row]
    plots = [
        (
            "loss.png",
            "step",
            "loss",
            np.array(training.watch.steps),
            np.asarray(training.watch.losses),
            True,
        )
    ]
    if rows:
        values = np.array([row["psnr"] for row in rows])
        plots.append(
            (
                "psnr.png",
                "seconds of training",
                "held-out PSNR, dB",
                np.array([r["seconds"] for r in rows]),
                values,
                False,
            )
        )
    for name, across, up, x, y, logarithmic in plots:
        figure = Figure(figsize=(7, 4), dpi=120, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        axes.plot(x, y, linewidth=0.5 if logarithmic else 1.5, marker=None if logarithmic else ".")
        if logarithmic and len(y) > 20:
            window = max(1, len(y) // 50)
            axes.plot(x[window - 1 :], np.convolve(y, np.ones(window) / window, "valid"), linewidth=1.8)
        if logarithmic:
            axes.set_yscale("log")
        axes.set_xlabel(across)
        axes.set_ylabel(up)
        axes.grid(alpha=0.3)
        figure.savefig(folder / name)


def write_metrics(folder: Path, metrics: dict[str, object]) -> None:
    write_json(folder / METRICS, metrics)


def emit_metrics(values: dict[str, float], dimensions: dict[str, str]) -> None:
    """One line in CloudWatch's embedded metric format: the log group turns it into metrics, at no cost of a request."""
    units = {"StepsPerSecond": "Count/Second", "Gaussians": "Count", "Seconds": "Seconds"}
    definitions = [{"Name": name, "Unit": units.get(name, "None")} for name in values]
    directive = {"Namespace": "Splatworks", "Dimensions": [list(dimensions)], "Metrics": definitions}
    import time

    record = {"_aws": {"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": [directive]}, **dimensions, **values}
    print(json.dumps(record), flush=True)


def save_beside(path: Path, render: Tensor, photo: Tensor) -> None:
    """Photo on the left, render on the right."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(to_bytes(torch.cat([photo, render], 1))).save(path, quality=90, comment=BESIDE)


def names_beside(photos: Sequence[str]) -> list[str]:
    """A file name for each photo: a__1.jpg for a/1.jpg, and a__1.png.jpg for a/1.png where both are there."""
    names: list[str] = []
    taken: set[str] = set()  # in lower case: not all file systems tell a.jpg from A.jpg
    for photo in photos:
        flat = photo.replace("/", "__")
        candidates = chain((Path(flat).stem, flat), (f"{flat}_{number}" for number in count(2)))
        name = next(candidate for candidate in candidates if candidate.lower() not in taken)
        taken.add(name.lower())
        names.append(f"{name}.jpg")
    return names


def clear_beside(folder: Path) -> None:
    """Removes what an earlier training has left in its output, and nothing else."""
    for path in folder.glob("*.jpg"):
        try:
            with Image.open(path) as image:
                ours = image.info.get("comment") == BESIDE
        except OSError:  # no picture
            continue
        if ours:
            path.unlink()


def to_bytes(image: Tensor) -> np.ndarray:
    return np.asarray((image.clamp(0, 1) * 255 + 0.5).to(torch.uint8).cpu().numpy())


@torch.no_grad()
def write_preview(path: Path, training: Training) -> None:
    """The middle photo's view, at up to 640 pixels; all ranks render it, the first writes."""
    index = len(training.scene.views) // 2
    camera, intrinsics, width, height = _lens(training, index, 640)
    image = training.render_from(camera, intrinsics, width, height, background=training.backdrop).image
    if not training.ranks.first:
        return
    with whole_file(path) as beside:
        Image.fromarray(to_bytes(image)).save(beside, "JPEG", quality=88)


@torch.no_grad()
def write_flythrough(path: Path, training: Training, seconds: float, on_frame: Callable[[int, int], None]) -> None:
    """A smooth flight past some of the photos' places, H.264 so that every browser plays it."""
    frames = max(2, round(seconds * FRAMES_PER_SECOND))
    poses = flight([v.camera_from_world for v in training.scene.views], frames)
    _, intrinsics, width, height = _lens(training, len(training.scene.views) // 2, FLYTHROUGH_WIDTH)
    width, height = width - width % 2, height - height % 2
    faststart = {"movflags": "faststart"}
    with whole_file(path) as beside, av.open(str(beside), "w", format="mp4", options=faststart) as container:
        stream = container.add_stream("libx264", rate=FRAMES_PER_SECOND, options={"crf": "20", "preset": "fast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.thread_count = cores()
        for number, pose in enumerate(poses):
            camera = torch.tensor(pose, dtype=torch.float32)
            image = training.render_from(camera, intrinsics, width, height, background=training.backdrop).image
            container.mux(stream.encode(av.VideoFrame.from_ndarray(to_bytes(image), format="rgb24")))
            on_frame(number + 1, frames)
        container.mux(stream.encode())


def flight(poses: Sequence[np.ndarray], frames: int) -> list[np.ndarray]:
    """A closed spline through up to STOPS of the cameras, evenly spaced in the order of their names."""
    chosen = [poses[i] for i in np.linspace(0, len(poses) - 1, min(STOPS, len(poses))).round().astype(int)]
    centres = np.array([-pose[:3, :3].T @ pose[:3, 3] for pose in chosen])
    quats = Rotation.from_matrix([pose[:3, :3] for pose in chosen]).as_quat()
    for i in range(1, len(quats)):
        quats[i] *= math.copysign(1, float(quats[i] @ quats[i - 1]))  # the short way round
    keys = np.column_stack([centres, quats])
    back = keys[0].copy()
    back[3:] *= math.copysign(1, float(keys[-1, 3:] @ keys[0, 3:]))
    turned = not np.allclose(back, keys[0])  # a closed spline must end in the very numbers it began with
    spline = CubicSpline(
        np.arange(len(keys) + 1), np.vstack([keys, back]), bc_type="not-a-knot" if turned else "periodic"
    )
    path = []
    for at in np.linspace(0, len(keys), frames, endpoint=False):
        value = spline(at)
        pose = np.eye(4)
        pose[:3, :3] = Rotation.from_quat(value[3:]).as_matrix()
        pose[:3, 3] = -pose[:3, :3] @ value[:3]
        path.append(pose)
    return path


def _lens(training: Training, index: int, largest: int) -> tuple[Tensor, Tensor, int, int]:
    """Camera, intrinsics, width and height of photo `index` shrunk to `largest` pixels on its longest side."""
    view = training.scene.views[index]
    scale = min(1.0, largest / max(view.width, view.height))
    width, height = max(2, round(view.width * scale)), max(2, round(view.height * scale))
    lens = view.intrinsics * np.array([[width / view.width], [height / view.height], [1.0]])
    camera = torch.tensor(view.camera_from_world, dtype=torch.float32)
    return camera, torch.tensor(lens, dtype=torch.float32), width, height
