"""Gates: is the model good enough to pay for the next machine? Each failure says the cause and the fix."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from splatkit.georeference import Georeference
from splatkit.mapping import Model, focal_drift, mean_error, median_triangulation_angle, observations


@dataclass(frozen=True, kw_only=True)
class Limits:
    min_registered: float
    max_reprojection_error: float
    min_track_length: float
    min_points_per_photo: int
    min_angle: float
    max_focal_drift: float
    max_gps_residual: float


@dataclass(frozen=True)
class Gate:
    name: str
    value: float | None  # None: cannot be measured on this set, so it cannot fail
    limit: str
    passed: bool
    cause: str  # empty when passed
    fix: str

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def judge(model: Model, photos: int, priors: Mapping[str, float], place: Georeference, limits: Limits) -> list[Gate]:
    reconstruction = model.reconstruction
    share = len(model.registered) / photos
    return [
        _at_least(
            "registered",
            share,
            limits.min_registered,
            f"only {len(model.registered)} of {photos} photos could be placed",
            "Take more overlapping photos (70 % and more), leave out blurred ones and ones of other places.",
        ),
        _at_most(
            "reprojection_error",
            mean_error(reconstruction),
            limits.max_reprojection_error,
            "points and photos disagree by {value:.2f} pixels on average",
            "Leave out blurred photos and moving subjects; a zoom or focus that changed needs camera_mode per_photo.",
        ),
        _at_least(
            "track_length",
            float(reconstruction.compute_mean_track_length()),
            limits.min_track_length,
            "a point is seen by {value:.1f} photos on average",
            "Take photos with more overlap: every place should be in at least three.",
        ),
        _at_least(
            "points_per_photo",
            float(np.median(list(observations(reconstruction).values()))),
            limits.min_points_per_photo,
            "half of the photos see fewer than {value:.0f} points",
            "Sharper photos, more light, subjects with texture; quality high finds more points.",
        ),
        _at_least(
            "triangulation_angle",
            median_triangulation_angle(reconstruction),
            limits.min_angle,
            "points are seen from nearly one direction ({value:.1f} degrees apart)",
            "Move sideways between photos: turning on the spot or walking straight ahead shows no depth.",
        ),
        _at_most(
            "focal_drift",
            focal_drift(reconstruction, priors),
            limits.max_focal_drift,
            "the solved focal length is {value:.1f} times off what EXIF says: a bent model, or EXIF of an edited photo",
            "Add photos tilted by 20 to 40 degrees or from another height; a rolling shutter needs a slower flight. If "
            "EXIF is wrong, raise max_focal_drift.",
        ),
        _at_most(
            "gps_residual",
            float(np.median(list(place.residuals.values()))) if place.residuals else None,
            limits.max_gps_residual,
            "the cameras lie {value:.1f} metres from their GPS places",
            "Check the GPS of the photos; if it is known to be poor, raise max_gps_residual; else the model is bent.",
        ),
    ]


def _at_least(name: str, value: float | None, limit: float, cause: str, fix: str) -> Gate:
    return _gate(name, value, f"at least {limit:g}", value is None or value >= limit, cause, fix)


def _at_most(name: str, value: float | None, limit: float, cause: str, fix: str) -> Gate:
    return _gate(name, value, f"at most {limit:g}", value is None or value <= limit, cause, fix)


def _gate(name: str, value: float | None, limit: str, passed: bool, cause: str, fix: str) -> Gate:
    told = None if value is None else round(value, 4)
    return Gate(
        name, told, limit, passed, "" if passed else f"{cause.format(value=value)} ({limit})", "" if passed else fix
    )
