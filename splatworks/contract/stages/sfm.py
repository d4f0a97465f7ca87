"""Structure from motion: photos to undistorted photos with a COLMAP model."""

from dataclasses import dataclass
from typing import Annotated, Literal

from splatworks.contract.parameters import Range
from splatworks.contract.stage import Figure, Stage

MIN_PHOTOS = 3

CameraMode = Literal["auto", "single", "per_photo"]
CameraModel = Literal["auto", "SIMPLE_PINHOLE", "PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV"]
Matching = Literal["auto", "exhaustive", "spatial", "sequential"]
Mapper = Literal["auto", "global", "incremental"]
Pixels = Annotated[int, Range(64, 65_535, also=(0,))]
Share = Annotated[float, Range(0, 1)]


@dataclass(frozen=True, kw_only=True)
class SfmParameters:
    quality: Literal["fast", "normal", "high"] = "normal"  # sets the three below
    max_image_size: Pixels = 0  # longest side in pixels at which features are extracted; 0: by quality
    max_features: Annotated[int, Range(0, 100_000)] = 0  # features per photo; 0: by quality
    # -1 also looks at the photo enlarged twice: finer and four times slower
    first_octave: Annotated[int | None, Range(-1, 3)] = None
    max_images: Annotated[int, Range(MIN_PHOTOS, 1_000_000, also=(0,))] = 0  # photos and frames, evenly chosen; 0: all
    video_frames: Annotated[int, Range(MIN_PHOTOS, 100_000)] = 150  # frames taken from a video at most
    camera_mode: CameraMode = "auto"  # auto: one camera per device, focal length and size
    camera_model: CameraModel = "auto"  # auto: SIMPLE_RADIAL, and OPENCV from 100 photos of a camera
    matching: Matching = "auto"  # auto: all pairs of small sets, GPS neighbours, or the order of the names
    neighbours: Annotated[int, Range(2, 10_000)] = 16  # photos that each is compared with, in spatial matching
    overlap: Annotated[int, Range(1, 10_000)] = 10  # photos that each is compared with, in sequential matching
    mapper: Mapper = "auto"  # auto: global, and incremental if that leaves photos out or bends the focal length
    align_patches: bool = True  # move keypoints to where the photos agree to a fraction of a pixel
    output_image_size: Pixels = 0  # longest side of the undistorted photos in pixels; 0: as the photos
    threads: Annotated[int, Range(0, 1024)] = 0  # 0: as many as the machine gives
    force: bool = False  # continue although a gate fails; the report still says so
    min_registered: Share = 0.7  # gate: share of the photos that must be registered
    max_reprojection_error: Annotated[float, Range(0, 1000)] = 1.5  # gate: mean, in pixels
    min_track_length: Annotated[float, Range(0, 1000)] = 2.5  # gate: photos that see a point, mean
    min_points_per_photo: Annotated[int, Range(0, 1_000_000)] = 60  # gate: median
    min_angle: Annotated[float, Range(0, 180)] = 2.0  # gate: degrees between the views of a point, median
    max_forward: Share = 0.95  # gate: share of the way between neighbours that leads straight ahead, median
    max_turned: Share = 0.8  # gate: share of the pairs of photos that differ by a rotation alone
    # gate: times longer or shorter than EXIF says; the mapper too takes a model beyond it for bent
    max_focal_drift: Annotated[float, Range(1, 1000)] = 1.6
    max_field_of_view: Annotated[float, Range(0, 360)] = 130.0  # gate: degrees along the longer side
    max_gps_residual: Annotated[float, Range(0, 1_000_000)] = 10.0  # gate: metres, median
    # gate: what a motion while a photo is read out explains of its error, in thousandths of its longer side, median
    max_row_motion: Annotated[float, Range(0, 1000)] = 0.3
    max_disconnected: Share = 0.1  # gate: share of the photos that are connected, but not with the largest part
    max_blurred: Share = 0.4  # gate: share of the photos that are blurred


STAGE = Stage(
    name="sfm",
    title="structure from motion",
    image="ml-python-slim",
    compute_type="cpu",
    timeout_seconds=2 * 3600,
    reads=(),
    parameters=SfmParameters,
    max_inputs=20,
    presets={"draft": {"quality": "fast"}, "standard": {"quality": "normal"}, "high": {"quality": "high"}},
    can_be_swept=False,
    figures=(Figure(label="Photos", text="{registered:,} of {photos:,} registered", in_subject=True),),
)
