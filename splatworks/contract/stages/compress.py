"""Compression: a splat to the smallest scene that looks the same, and a web page that shows it."""

from dataclasses import dataclass
from typing import Annotated, Literal

from splatworks.contract.parameters import Range
from splatworks.contract.stage import Column, Figure, Stage

Order = Literal["auto", "hilbert", "morton", "plas"]


@dataclass(frozen=True, kw_only=True)
class CompressParameters:
    splat: str = ""  # the file to take if input_dir holds several, relative to it
    title: str = ""  # of the web page; default: TRIGGER_EXPERIMENT or the file's name
    # PSNR that the pictures may lose; precision rises until it holds
    max_loss_db: Annotated[float, Range(0.001, 20)] = 0.3
    # the best quality within this many megabytes (10^6 bytes), whatever is lost; 0: no limit
    target_mb: Annotated[float, Range(0, 100_000)] = 0.0
    order: Order = "auto"  # of the splats in the file; auto: the smallest file
    # which way is up in the input; auto: z if a georeference.json of sfm.py is in it, else -y as trainers have it
    up: Literal["auto", "-y", "z", "y", "-z"] = "auto"
    # how the splats are drawn; auto: with Mip-Splatting's filter if the file says that it was trained with it
    rasterize_mode: Literal["auto", "classic", "antialiased"] = "auto"
    # behind the splats, in pictures and on the page; auto: what the file says that it was trained before
    background: Literal["auto", "black", "white"] = "auto"
    prune: bool = False  # drop Gaussians that no picture shows: fainter than 1/255, or far outside the scene
    # leave out the bands of spherical harmonics above this; the report says as cut_db what that costs
    sh_degree: Annotated[int, Range(0, 3)] = 3
    # levels of detail, each with half as many splats as the one before; 1: only the full scene
    levels: Annotated[int, Range(1, 8)] = 3
    # pictures compared before and after, at most: held-out photos, or a ring of cameras without photos
    views: Annotated[int, Range(1, 200)] = 8
    view_size: Annotated[int, Range(64, 4096)] = 640  # longest side of these pictures in pixels
    # which photos training held out (0: none), as in train.py; ignored if its metrics.json is next to the splat
    hold_out_every: Annotated[int, Range(0, 1000)] = 8
    # index of the first of them; -1: half of hold_out_every
    hold_out_first: Annotated[int, Range(-1, 100_000)] = -1
    turntable_frames: Annotated[int, Range(0, 2000)] = 60  # of turntable.mp4; 0: none


STAGE = Stage(
    name="compress",
    title="compression",
    image="ml-python-slim",
    compute_type="cpu",
    timeout_seconds=3600,
    reads=("sfm", "train"),
    parameters=CompressParameters,
    figures=(
        Figure(label="Size", text="{megabytes:.2f} MB", in_subject=True),
        Figure(label="Loss", text="{loss_db:.3f} dB by compression", note="loss_is"),
    ),
    columns=(
        Column(metric="loss_db", heading="loss dB", digits=3, rank=-1),
        Column(metric="megabytes", heading="MB", unit="MB", rank=-1),
    ),
    page="viewer/index.html",
    thumbnail="thumbnail.png",
)
