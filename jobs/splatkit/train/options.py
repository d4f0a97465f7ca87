"""The options of train.py, with three presets beneath them."""

from dataclasses import dataclass

from splatworks.contract.parameters import Folders
from splatworks.contract.stages.train import Preset, TrainParameters

# What 0 (or "preset") stands for. A draft is minutes on a CPU; standard is the papers' length; high takes its time.
PRESETS: dict[Preset, dict[str, float]] = {
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
SCALE_WEIGHT = 0.01  # with mcmc, as in its paper


@dataclass(frozen=True, kw_only=True)
class TrainOptions(TrainParameters, Folders):
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
