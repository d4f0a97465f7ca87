"""The options of train.py, with three presets beneath them."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from splatkit.train.backend import DeviceName
from splatkit.train.strategy import StrategyName

Preset = Literal["draft", "standard", "high"]
Background = Literal["black", "white", "random"]
# What 0 (or "preset") stands for. A draft is minutes on a CPU; standard is the papers' length; high takes its time.
PRESETS: dict[str, dict[str, float]] = {
    "draft": {
        "max_steps": 2_500,
        "max_size": 400,
        "sh_degree": 1,
        "cap_max": 60_000,
        "opacity_weight": 0.05,
        "dropout": 0.3,
        "max_scale": 0.2,
    },
    "standard": {
        "max_steps": 30_000,
        "max_size": 1600,
        "sh_degree": 3,
        "cap_max": 1_000_000,
        "opacity_weight": 0.01,
        "max_scale": 0.2,
    },
    "high": {
        "max_steps": 45_000,
        "max_size": 3200,
        "sh_degree": 3,
        "cap_max": 4_000_000,
        "opacity_weight": 0.01,
        "max_scale": 0.2,
    },
}

MOST_SEED, LEAST_CAP = 2**32 - 1, 100
SCALE_WEIGHT = 0.01  # with mcmc, as in its paper


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    input_dir: Path = field(metadata={"environment": True})  # what sfm.py wrote, or any COLMAP dataset
    output_dir: Path = field(metadata={"environment": True})  # results go here
    # where checkpoints are kept for a rerun to go on from; default: OUT.checkpoint beside OUT
    checkpoint_dir: Path | None = field(default=None, metadata={"environment": True})
    # where lpips.pt, a TorchScript LPIPS, may lie
    models_dir: Path | None = field(default=None, metadata={"environment": True})
    preset: Preset = "standard"  # sets every option that is left "by preset"
    device: DeviceName = "auto"  # auto: what COMPUTE_TYPE says, else a GPU where one is
    gpus: int = 0  # to train on, a process for each; 0: all that are visible, and on a CPU one process
    max_steps: int = 0  # optimisation steps; training may stop earlier on a plateau; 0: by preset
    max_size: int = 0  # longest side of the photos in training, pixels; 0: by preset
    sh_degree: int = -1  # of the spherical harmonics, 0 to 3; -1: by preset
    cap_max: int = 0  # most Gaussians; 0: by preset, and by the memory that is free
    strategy: StrategyName = "mcmc"  # mcmc keeps to cap_max; default: grows by gradient, as the first paper
    refine_every: int = 0  # steps between two changes of the set of Gaussians; 0: max_steps / 300
    grow_gradient: float = 0.0002  # strategy default: image-plane gradient above which a Gaussian is split or doubled
    absgrad: bool = False  # strategy default: absolute gradients (AbsGS); wants grow_gradient 0.0008
    min_opacity: float = 0.005  # less opaque Gaussians are removed or moved
    ssim_weight: float = 0.2  # share of 1 - SSIM in the loss; the rest is the mean absolute difference
    opacity_weight: float = -1.0  # regularisation, mean opacity; -1: by preset with mcmc, 0 with default
    scale_weight: float = -1.0  # regularisation, mean scale; -1: 0.01 with mcmc, 0 with default
    coarse_until: float = 0.35  # share of the steps with smaller and blurred photos, in three levels; 0: none
    # share of the Gaussians that are left out of a step, rising to this at the last: what few photos show is then less
    # learnt by heart (DropGaussian, CVPR 2025); -1: by preset
    dropout: float = -1.0
    antialiased: bool = False  # Mip-Splatting's filter: better from afar; the viewer must know of it
    exposure: bool = False  # fit gain and offset per photo, for sets whose camera changed its exposure on the way
    # behind the Gaussians; random: another colour in each step, so that they cover what the photos cover, instead of
    # letting a black background stand for shadows
    background: Background = "random"
    # largest standard deviation of a Gaussian, in distances to the nearest camera; 0: any; -1: by preset
    max_scale: float = -1.0
    sky: bool = False  # add a far dome of Gaussians, for scenes that show the sky
    hold_out_every: int = 8  # every so-many-th photo is for evaluation only; 0: none, all are trained on
    # index of the first of them; -1: half of hold_out_every, as the first photo of a flight shows what no other does;
    # papers and other trainers take 0
    hold_out_first: int = -1
    evaluate_every: int = 0  # steps between two evaluations; 0: max_steps / 20
    plateau_gain: float = 0.05  # dB of held-out PSNR over the window; less than that ends the training; 0: never
    plateau_window: float = 0.15  # share of the steps
    plateau_after: float = 0.9  # share of the steps before which no plateau is believed
    min_psnr: float = 0.0  # gate: a lower held-out PSNR at the end fails the stage, dB; 0: none
    checkpoint_seconds: float = 30.0  # between two checkpoints, or longer where they take over 2 % of the time
    flythrough_seconds: float = 8.0  # length of the mp4; 0: none
    seed: int = 0  # same seed, same result on a CPU
    threads: int = 0  # 0: as many as the machine gives

    def __post_init__(self) -> None:
        least = {"max_steps": 0, "max_size": 0, "sh_degree": -1, "cap_max": 0, "refine_every": 0}
        least |= {"hold_out_every": 0, "hold_out_first": -1, "evaluate_every": 0, "seed": 0, "threads": 0, "gpus": 0}
        positive = {
            "checkpoint_seconds": 0,
            "flythrough_seconds": 0,
            "plateau_gain": 0,
            "grow_gradient": 0,
            "min_psnr": 0,
        }
        for name, minimum in {**least, **positive}.items():
            if getattr(self, name) < minimum:
                raise ValueError(f"{name} is {getattr(self, name)}; allowed is {minimum} or more")
        for name in ("ssim_weight", "coarse_until", "plateau_window", "plateau_after", "min_opacity"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}; allowed is 0 to 1")
        for name, most in {"dropout": 0.9, "max_scale": 10.0, "opacity_weight": 10.0, "scale_weight": 10.0}.items():
            value = getattr(self, name)
            if value != -1 and not 0 <= value <= most:
                raise ValueError(f"{name} is {value}; allowed is 0 to {most:g}, or -1 for the default")
        if self.seed > MOST_SEED:
            raise ValueError(f"seed is {self.seed}; allowed is 0 to {MOST_SEED}")
        if 0 < self.cap_max < LEAST_CAP:
            raise ValueError(f"cap_max is {self.cap_max}; allowed is 0 or {LEAST_CAP} and more")
        if self.sh_degree > 3:
            raise ValueError(f"sh_degree is {self.sh_degree}; allowed is 0 to 3")
        if self.hold_out_every == 1:
            raise ValueError("hold_out_every is 1, which leaves nothing to train on; allowed is 0 or 2 and more")
        if 0 < self.max_size < 64:
            raise ValueError(f"max_size is {self.max_size}; allowed is 0 or 64 and more")

    @property
    def first_held_out(self) -> int:
        return self.hold_out_every // 2 if self.hold_out_first < 0 else self.hold_out_first

    def of_preset(self, name: str) -> int:
        """The option's own value, or the preset's."""
        own = getattr(self, name)
        unset = own < 0 if name == "sh_degree" else own == 0
        return int(PRESETS[self.preset][name] if unset else own)

    def share(self, name: str) -> float:
        own: float = getattr(self, name)
        return own if own >= 0 else PRESETS[self.preset].get(name, 0.0)

    def weight(self, name: str) -> float:
        own: float = getattr(self, name)
        if own >= 0 or self.strategy != "mcmc":
            return max(own, 0.0)
        return PRESETS[self.preset].get(name, SCALE_WEIGHT)
