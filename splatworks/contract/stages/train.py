"""Training: photos with poses to 3D Gaussians."""

from dataclasses import dataclass
from typing import Annotated, Literal

from splatworks.contract.parameters import Range
from splatworks.contract.stage import Column, Figure, Stage

MAX_SEED = 2**32 - 1

Preset = Literal["draft", "standard", "high"]
Device = Literal["auto", "cpu", "cuda"]
Strategy = Literal["default", "mcmc"]
Background = Literal["black", "white", "random"]
Share = Annotated[float, Range(0, 1)]
Weight = Annotated[float, Range(0, 10, also=(-1,))]
Steps = Annotated[int, Range(0, 10_000_000)]


@dataclass(frozen=True, kw_only=True)
class TrainParameters:
    preset: Preset = "standard"  # sets every option that is left "by preset"
    device: Device = "auto"  # auto: what COMPUTE_TYPE says, else a GPU if there is one
    # GPUs to train on, a process for each; 0: all that are visible, and on a CPU one process
    gpus: Annotated[int, Range(0, 64)] = 0
    max_steps: Steps = 0  # optimisation steps; training may stop earlier on a plateau; 0: by preset
    # longest side of the photos in training, pixels; 0: by preset
    max_size: Annotated[int, Range(64, 65_535, also=(0,))] = 0
    sh_degree: Annotated[int, Range(0, 3, also=(-1,))] = -1  # of the spherical harmonics; -1: by preset
    # Gaussians at most; 0: by preset, and by the memory that is free
    cap_max: Annotated[int, Range(100, 100_000_000, also=(0,))] = 0
    strategy: Strategy = "mcmc"  # mcmc keeps to cap_max; default: grows by gradient, as the first paper
    refine_every: Steps = 0  # steps between two changes of the set of Gaussians; 0: max_steps / 300
    # strategy default: image-plane gradient above which a Gaussian is split or doubled
    grow_gradient: Annotated[float, Range(0, 1000)] = 0.0002
    absgrad: bool = False  # strategy default: absolute gradients (AbsGS); wants grow_gradient 0.0008
    min_opacity: Share = 0.005  # less opaque Gaussians are removed or moved
    ssim_weight: Share = 0.2  # share of 1 - SSIM in the loss; the rest is the mean absolute difference
    opacity_weight: Weight = -1.0  # regularisation, mean opacity; -1: by preset with mcmc, 0 with default
    scale_weight: Weight = -1.0  # regularisation, mean scale; -1: 0.01 with mcmc, 0 with default
    coarse_until: Share = 0.35  # share of the steps with smaller and blurred photos, in three levels; 0: none
    # share of the Gaussians that are left out of a step, rising to this at the last: what few photos show is then less
    # learnt by heart (DropGaussian, CVPR 2025); -1: by preset
    dropout: Annotated[float, Range(0, 0.9, also=(-1,))] = -1.0
    antialiased: bool = False  # Mip-Splatting's filter: better from afar; the viewer must know of it
    exposure: bool = False  # fit gain and offset per photo, for sets whose camera changed its exposure on the way
    # behind the Gaussians; random: another colour in each step, so that they cover what the photos cover, instead of
    # letting a black background stand for shadows
    background: Background = "random"
    # largest standard deviation of a Gaussian, in distances to the nearest camera; 0: any; -1: by preset
    max_scale: Weight = -1.0
    sky: bool = False  # add a far dome of Gaussians, for scenes that show the sky
    # hold out every n-th photo for evaluation; 0: none, all are trained on
    hold_out_every: Annotated[int, Range(2, 1_000_000, also=(0,))] = 8
    # index of the first of them; -1: half of hold_out_every, as the first photo of a flight shows what no other does;
    # papers and other trainers take 0
    hold_out_first: Annotated[int, Range(0, 1_000_000, also=(-1,))] = -1
    evaluate_every: Steps = 0  # steps between two evaluations; 0: max_steps / 20
    # dB of held-out PSNR over the window; a smaller gain ends the training; 0: never
    plateau_gain: Annotated[float, Range(0, 100)] = 0.05
    plateau_window: Share = 0.15  # share of the steps
    plateau_after: Share = 0.9  # share of the steps before which no plateau is believed
    # gate: a lower held-out PSNR at the end fails the stage, dB; 0: none
    min_psnr: Annotated[float, Range(0, 100)] = 0.0
    # between two checkpoints, or longer if they take over 2 % of the time
    checkpoint_seconds: Annotated[float, Range(0, 86_400)] = 30.0
    flythrough_seconds: Annotated[float, Range(0, 600)] = 8.0  # length of the mp4; 0: none
    seed: Annotated[int, Range(0, MAX_SEED)] = 0  # same seed, same result on a CPU
    threads: Annotated[int, Range(0, 1024)] = 0  # 0: as many as the machine gives


STAGE = Stage(
    name="train",
    title="training",
    image="ml-python",
    compute_type="gpu",
    timeout_seconds=6 * 3600,
    reads=("sfm",),
    parameters=TrainParameters,
    presets={"draft": {"preset": "draft"}, "standard": {"preset": "standard"}, "high": {"preset": "high"}},
    figures=(
        Figure(label="PSNR", text="{psnr:.2f} dB", in_subject=True),
        Figure(label="Gaussians", text="{gaussians:,}"),
    ),
    columns=(
        Column(metric="psnr", heading="PSNR", unit="dB", rank=1),
        Column(metric="gaussians", heading="Gaussians", digits=0),
    ),
)
