"""The options of jobs/sfm.py."""

from dataclasses import dataclass

from splatkit.sfm.gates import Limits
from splatworks.contract.parameters import Folders
from splatworks.contract.stages.sfm import SfmParameters

# (max_image_size, max_features, first_octave, max_orientations). Measured: docs/decisions/structure-from-motion.md
QUALITY = {"fast": (1200, 4096, 0, 1), "normal": (2400, 6000, 0, 1), "high": (3200, 12288, -1, 2)}


@dataclass(frozen=True, kw_only=True)
class SfmOptions(SfmParameters, Folders):
    @property
    def feature_settings(self) -> dict[str, int]:
        size, features, octave, orientations = QUALITY[self.quality]
        return {
            "max_image_size": self.max_image_size or size,
            "max_features": self.max_features or features,
            "first_octave": octave if self.first_octave is None else self.first_octave,
            "max_orientations": orientations,
        }

    @property
    def limits(self) -> Limits:
        return Limits(**{name: getattr(self, name) for name in Limits.__dataclass_fields__})
