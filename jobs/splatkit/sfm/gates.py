"""Gates: is the model good enough to pay for the next machine? Each failure says the cause and the fix."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pycolmap

from splatkit.sfm.geometry_facts import (
    focal_drift,
    mean_error,
    median_triangulation_angle,
    observations,
    share_ahead,
    widest_view,
)
from splatkit.sfm.georeference import Georeference
from splatkit.sfm.mapping import Model
from splatkit.sfm.matching import Graph
from splatkit.sfm.parts import parts_apart, told
from splatkit.sfm.photos import Photo
from splatkit.sfm.rotation import share_turned
from splatkit.sfm.shutter import row_disagreement

# Of preparation.blurriness: sharp photos of four sets had at most 0.39, the same blurred by two pixels at least 0.55.
BLURRED = 0.55
TURNED = "the camera turned on the spot: {value:.0%} of the pairs of photos differ by a rotation alone"
MOVE_SIDEWAYS = "Move sideways between photos, by a tenth of the distance to the subject; panoramas hold no depth."
AHEAD_ANGLES = 3.0  # times min_angle: points seen that far apart are well placed, wherever the camera went


@dataclass(frozen=True, kw_only=True)
class Limits:
    min_registered: float
    max_reprojection_error: float
    min_track_length: float
    min_points_per_photo: int
    min_angle: float
    max_focal_drift: float
    max_field_of_view: float
    max_forward: float
    max_turned: float
    max_blurred: float
    max_gps_residual: float
    max_row_motion: float
    max_disconnected: float


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


def judge(
    model: Model,
    photos: Sequence[Photo],
    graph: Graph,
    focals: Mapping[str, float],
    place: Georeference,
    limits: Limits,
) -> list[Gate]:
    """focals: what is known beforehand of the focal length, in pixels, by photo. The gravest gates come first."""
    return [
        *_of_the_set(model, photos, graph, limits),
        *_of_the_lens(model.reconstruction, focals, place, limits),
        *_of_the_way(model, photos, graph, focals, limits),
        *_of_the_points(model.reconstruction, limits),
    ]


def _of_the_set(model: Model, photos: Sequence[Photo], graph: Graph, limits: Limits) -> list[Gate]:
    placed, blurred = len(model.registered), sum(photo.blur > BLURRED for photo in photos)
    apart = parts_apart(model, photos, graph)
    return [
        _at_most(
            "disconnected",
            sum(map(len, apart)) / len(photos),
            limits.max_disconnected,
            f"the photos fall into {1 + len(apart)} parts; the one of {placed} of {len(photos)} photos is used, "
            f"apart lie {told(apart)}".replace("{", "{{").replace("}", "}}"),
            "Take photos that lead from one part to the other, each overlapping the next by 70 %; mask what moved or "
            "was rearranged between them; or give each part as a job of its own. To go on with the largest part alone, "
            "raise max_disconnected.",
        ),
        _at_least(
            "registered",
            placed / len(photos),
            limits.min_registered,
            f"only {placed} of {len(photos)} photos could be placed",
            "Take more overlapping photos (70 % and more), leave out blurred ones and ones of other places.",
        ),
        _at_most(
            "blurred",
            blurred / len(photos),
            limits.max_blurred,
            f"{blurred} of {len(photos)} photos are blurred",
            "Hold still or fly slower, with more light or a shorter exposure; leave out the photos that report.html "
            "calls blurred. If the subject itself is soft, raise max_blurred.",
        ),
    ]


def _of_the_lens(
    reconstruction: pycolmap.Reconstruction, focals: Mapping[str, float], place: Georeference, limits: Limits
) -> list[Gate]:
    return [
        _at_most(
            "focal_drift",
            focal_drift(reconstruction, focals),
            limits.max_focal_drift,
            "the solved focal length is {value:.1f} times off what EXIF says: a bent model, or EXIF of an edited photo",
            "Add photos tilted by 20 to 40 degrees or from another height; a rolling shutter needs a slower flight. If "
            "EXIF is wrong, raise max_focal_drift.",
        ),
        _at_most(
            "field_of_view",
            widest_view(reconstruction),
            limits.max_field_of_view,
            "the solved lens sees {value:.0f} degrees: a bent model, as of a rolling shutter or photos from one height",
            "Add photos tilted by 20 to 40 degrees or from another height, fly slower, keep the EXIF in the photos. "
            "For a real fisheye lens give camera_model OPENCV and raise max_field_of_view.",
        ),
        _at_most(
            "rolling_shutter",
            row_disagreement(reconstruction),
            limits.max_row_motion,
            "the rows of the photos disagree by {value:.2f} thousandths of the photo's side, as of a rolling shutter "
            "on a camera that moves or turns while it reads a photo out",
            "Fly slower or stop for each photo, damp vibrations, use a shorter readout (photos instead of video, a "
            "mechanical or global shutter); leave out the photos of gusts and turns.",
        ),
        _at_most(
            "gps_residual",
            float(np.median(list(place.residuals.values()))) if place.residuals else None,
            limits.max_gps_residual,
            "the cameras lie {value:.1f} metres from their GPS places",
            "Check the GPS of the photos; if it is known to be poor, raise max_gps_residual; else the model is bent.",
        ),
    ]


def _of_the_way(
    model: Model, photos: Sequence[Photo], graph: Graph, focals: Mapping[str, float], limits: Limits
) -> list[Gate]:
    angle = median_triangulation_angle(model.reconstruction)
    pairs = [(photos[i].name, photos[j].name) for i, j, _ in graph.links]
    # Straight ahead is harmless where the lens is known and points pass by close to the camera, as along a street.
    harmless = focals and angle >= AHEAD_ANGLES * limits.min_angle
    return [
        _at_most(
            "turned_on_the_spot",
            share_turned(model.reconstruction, pairs, focals),
            limits.max_turned,
            TURNED,
            MOVE_SIDEWAYS,
        ),
        _at_least(
            "triangulation_angle",
            angle,
            limits.min_angle,
            "points are seen from nearly one direction ({value:.1f} degrees apart)",
            "Move sideways between photos: turning on the spot or walking straight ahead shows no depth.",
        ),
        _at_most(
            "straight_ahead",
            None if harmless else share_ahead(model.reconstruction, pairs),
            limits.max_forward,
            "the camera moved along its own view ({value:.0%} of the way), and "
            + (f"points are seen only {angle:.1f} degrees apart" if focals else "no EXIF tells the focal length"),
            "Add photos from the sides, and keep the EXIF in them: a camera that only goes ahead sees no depth in the "
            "middle of the picture.",
        ),
    ]


def _of_the_points(reconstruction: pycolmap.Reconstruction, limits: Limits) -> list[Gate]:
    return [
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
