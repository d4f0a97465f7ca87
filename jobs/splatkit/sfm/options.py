"""The options of jobs/sfm.py."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from splatkit.sfm.cameras import CameraMode, CameraModel
from splatkit.sfm.gates import Limits
from splatkit.sfm.mapping import Mapper
from splatkit.sfm.matching import Method

MIN_PHOTOS = 3

# (max_image_size, max_features, first_octave, max_orientations). Measured: docs/decisions/structure-from-motion.md
QUALITY = {"fast": (1200, 4096, 0, 1), "normal": (2400, 6000, 0, 1), "high": (3200, 12288, -1, 2)}


@dataclass(frozen=True, kw_only=True)
class SfmOptions:
    # photos, videos, and zip files of them, in folders as they come; a folder masks/ in it holds masks
    input_dir: Path = field(metadata={"environment": True})
    output_dir: Path = field(metadata={"environment": True})  # results go here
    # where the database of features and matches is kept for a rerun to go on from; default: OUT.checkpoint beside OUT
    checkpoint_dir: Path | None = field(default=None, metadata={"environment": True})
    quality: Literal["fast", "normal", "high"] = "normal"  # sets the three below
    max_image_size: int = 0  # longest side in pixels at which features are sought; 0: by quality
    max_features: int = 0  # features per photo; 0: by quality
    first_octave: int | None = None  # -1 also looks at the photo enlarged twice: finer and four times slower
    max_images: int = 0  # use at most so many photos and frames, evenly chosen; 0: all
    video_frames: int = 150  # frames taken from a video at most
    camera_mode: CameraMode = "auto"  # auto: one camera per device, focal length and size
    camera_model: CameraModel = "auto"  # auto: SIMPLE_RADIAL, and OPENCV from 100 photos of a camera
    matching: Method = "auto"  # auto: all pairs of small sets, GPS neighbours, or the order of the names
    neighbours: int = 16  # photos that each is compared with, in spatial matching
    overlap: int = 10  # photos that each is compared with, in sequential matching
    mapper: Mapper = "auto"  # auto: global, and incremental where that leaves photos out or bends the focal length
    align_patches: bool = True  # move keypoints to where the photos agree to a fraction of a pixel
    output_image_size: int = 0  # longest side of the undistorted photos in pixels; 0: as the photos
    threads: int = 0  # 0: as many as the machine gives
    force: bool = False  # go on although a gate fails; the report still says so
    min_registered: float = 0.7  # gate: share of the photos that must be placed
    max_reprojection_error: float = 1.5  # gate: mean, in pixels
    min_track_length: float = 2.5  # gate: photos that see a point, mean
    min_points_per_photo: int = 60  # gate: median
    min_angle: float = 2.0  # gate: degrees between the views of a point, median
    max_forward: float = 0.95  # gate: share of the way between neighbours that leads straight ahead, median
    max_turned: float = 0.8  # gate: share of the pairs of photos that differ by a rotation alone
    # gate: times longer or shorter than EXIF says; the mapper too takes a model beyond it for bent
    max_focal_drift: float = 1.6
    max_field_of_view: float = 130.0  # gate: degrees along the longer side
    max_gps_residual: float = 10.0  # gate: metres, median
    # gate: what a motion while a photo is read out explains of its error, in thousandths of its longer side, median
    max_row_motion: float = 0.3
    max_disconnected: float = 0.1  # gate: share of the photos that hold together, but not with the largest part
    max_blurred: float = 0.4  # gate: share of the photos that are blurred

    def __post_init__(self) -> None:
        at_least = {"max_images": 0, "max_image_size": 0, "max_features": 0, "output_image_size": 0, "threads": 0}
        for name, least in {**at_least, "neighbours": 2, "overlap": 1, "video_frames": MIN_PHOTOS}.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}; allowed is {least} or more")
        if 0 < self.max_images < MIN_PHOTOS:
            raise ValueError(f"max_images is {self.max_images}; allowed is 0 or {MIN_PHOTOS} or more")
        for name in ("min_registered", "max_blurred", "max_disconnected", "max_forward", "max_turned"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}; allowed is 0 to 1")
        if self.first_octave is not None and not -1 <= self.first_octave <= 3:
            raise ValueError(f"first_octave is {self.first_octave}; allowed is -1 to 3")

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
