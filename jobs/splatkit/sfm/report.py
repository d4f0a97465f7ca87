"""report.json: what came in, what was made of it, how good it is."""

from collections.abc import Sequence
from typing import Any

import pycolmap

from splatkit.sfm.cameras import CameraGroup
from splatkit.sfm.gates import BLURRED, Gate
from splatkit.sfm.geometry_facts import mean_error, observations
from splatkit.sfm.georeference import Georeference
from splatkit.sfm.mapping import Model
from splatkit.sfm.matching import MIN_PART, Graph, MatchingPlan
from splatkit.sfm.parts import parts_apart, told
from splatkit.sfm.photos import LeftOut, Photo, thumbnail_name


def build_report(
    photos: Sequence[Photo],
    left_out: Sequence[LeftOut],
    groups: Sequence[CameraGroup],
    plan: MatchingPlan,
    graph: Graph,
    model: Model,
    place: Georeference,
    gates: Sequence[Gate],
    seconds: dict[str, float],
) -> dict[str, Any]:
    seen, reconstruction = observations(model.reconstruction), model.reconstruction
    apart = parts_apart(model, photos, graph)
    links = {number: 0 for number in range(len(photos))}
    for i, j, _ in graph.links:
        links[i], links[j] = links[i] + 1, links[j] + 1
    metrics = {
        "photos": len(photos),
        "registered": len(seen),
        "left_out": len(left_out),
        "disconnected": sum(map(len, apart)),
        "points": reconstruction.num_points3D(),
        "reprojection_error_px": round(mean_error(reconstruction), 4),
        "track_length": round(float(reconstruction.compute_mean_track_length()), 3),
        "pairs_compared": graph.compared,
        "georeferenced": place.frame == "ENU",
        "seconds": round(sum(seconds.values()), 1),
    }
    return {
        "metrics": metrics,
        "gates": [gate.as_json() for gate in gates],
        "warnings": _warnings(left_out, graph, photos, model, place),
        "seconds": seconds,
        "matching": {
            "method": plan.method,
            "why": plan.why,
            "pairs": graph.compared,
            "linked": len(graph.links),
            "links": [list(link) for link in graph.links],
        },
        "parts": [[photos[i].source for i in part] for part in graph.parts],
        "parts_apart": apart,
        "mapping": {"method": model.method, "smaller_models": [list(names) for names in model.others]},
        "cameras": _cameras(groups, reconstruction),
        "georeference": place.as_json(),
        "photos": [
            {
                "name": photo.name,
                "source": photo.source,
                "thumbnail": f"thumbnails/{thumbnail_name(photo.name)}",
                "mask": photo.mask or None,
                "blur": photo.blur,
                "blurred": photo.blur > BLURRED,
                "registered": photo.name in seen,
                "points": seen.get(photo.name, 0),
                "linked_photos": links[number],
                "gps_residual_m": place.residuals.get(photo.name),
            }
            for number, photo in enumerate(photos)
        ],
        "left_out": [{"source": item.source, "reason": item.reason} for item in left_out],
        "versions": {"pycolmap": pycolmap.__version__},
    }


def _cameras(groups: Sequence[CameraGroup], reconstruction: pycolmap.Reconstruction) -> list[dict[str, Any]]:
    solved = {image.name: reconstruction.cameras[image.camera_id] for image in reconstruction.images.values()}
    told = []
    for group in groups:
        camera = next((solved[name] for name in group.names if name in solved), None)
        told.append(
            {
                "model": group.model,
                "width": group.width,
                "height": group.height,
                "photos": len(group.names),
                "focal_exif_px": group.focal_prior and round(group.focal_prior, 2),
                "focal_px": camera and round(float(camera.mean_focal_length()), 2),
                "parameters": camera and [round(float(p), 6) for p in camera.params],
            }
        )
    return told


def _warnings(
    left_out: Sequence[LeftOut], graph: Graph, photos: Sequence[Photo], model: Model, place: Georeference
) -> list[str]:
    found = []
    if left_out:
        found.append(f"{len(left_out)} files were left out, first {left_out[0].source}: {left_out[0].reason}")
    if apart := parts_apart(model, photos, graph):
        found.append(f"{1 + len(apart)} parts that do not hold together; not used are {told(apart)}")
    if strays := [photos[i].source for part in graph.parts[1:] if len(part) < MIN_PART for i in part]:
        found.append(f"{len(strays)} photos connect to no others: {', '.join(strays[:8])}")
    if blurred := [photo.source for photo in photos if photo.blur > BLURRED]:
        found.append(f"{len(blurred)} photos are blurred: {', '.join(blurred[:8])}")
    if unplaced := [photo.source for photo in photos if photo.name not in model.registered]:
        found.append(f"{len(unplaced)} photos could not be placed: {', '.join(unplaced[:8])}")
    if place.frame != "ENU":
        found.append(f"not georeferenced: {place.why}")
    return found
