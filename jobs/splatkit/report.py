"""report.json for programs, report.html for people: what came in, what was made of it, how good it is."""

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pycolmap

from splatkit.cameras import CameraGroup
from splatkit.gates import Gate
from splatkit.georeference import Georeference
from splatkit.mapping import Model, mean_error, observations
from splatkit.matching import Graph, Plan
from splatkit.photos import LeftOut, Photo
from splatkit.stage import write_json

TOP_VIEW_POINTS = 4000
TOP_VIEW_SIZE = 640


def build_report(
    photos: Sequence[Photo],
    left_out: Sequence[LeftOut],
    groups: Sequence[CameraGroup],
    plan: Plan,
    graph: Graph,
    model: Model,
    place: Georeference,
    gates: Sequence[Gate],
    seconds: dict[str, float],
) -> dict[str, Any]:
    seen, reconstruction = observations(model.reconstruction), model.reconstruction
    links = {number: 0 for number in range(len(photos))}
    for i, j, _ in graph.links:
        links[i], links[j] = links[i] + 1, links[j] + 1
    metrics = {
        "photos": len(photos),
        "registered": len(seen),
        "left_out": len(left_out),
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
        "matching": {"method": plan.method, "why": plan.why, "pairs": graph.compared, "linked": len(graph.links)},
        "parts": [[photos[i].source for i in part] for part in graph.parts],
        "mapping": {"method": model.method, "smaller_models": [list(names) for names in model.others]},
        "cameras": _cameras(groups, reconstruction),
        "georeference": place.as_json(),
        "photos": [
            {
                "name": photo.name,
                "source": photo.source,
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
    if len(graph.parts) > 1:
        alone = [photos[i].source for part in graph.parts[1:] for i in part]
        found.append(f"{len(alone)} photos do not connect to the others: {', '.join(alone[:8])}")
    if model.others:
        names = [name for other in model.others for name in other]
        found.append(f"{len(names)} photos made models of their own, which are not used: {', '.join(names[:8])}")
    if place.frame != "ENU":
        found.append(f"not georeferenced: {place.why}")
    return found


def write_report(report: dict[str, Any], model: Model, folder: Path) -> None:
    write_json(folder / "report.json", report)
    (folder / "report.html").write_text(_page(report, model), encoding="utf-8")


def _page(report: dict[str, Any], model: Model) -> str:
    gates = _table(
        ["gate", "measured", "allowed", "", "what to do"],
        [[g["name"], g["value"], g["limit"], "ok" if g["passed"] else "failed", g["fix"]] for g in report["gates"]],
    )
    photos = _table(
        ["photo", "placed", "points", "linked photos", "metres from GPS"],
        [
            [
                p["source"],
                "yes" if p["registered"] else "no",
                p["points"],
                p["linked_photos"],
                _metres(p["gps_residual_m"]),
            ]
            for p in report["photos"]
        ],
    )
    left_out = _table(["file", "reason"], [[item["source"], item["reason"]] for item in report["left_out"]])
    warnings = "".join(f"<li>{escape(text)}</li>" for text in report["warnings"])
    metrics = _table(["", ""], [[name.replace("_", " "), value] for name, value in report["metrics"].items()])
    return f"""<!doctype html><meta charset="utf-8"><title>Structure from motion</title>
<style>body{{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}}
table{{border-collapse:collapse;margin:.5rem 0 1.5rem}}td,th{{padding:.2rem .8rem .2rem 0;text-align:left;
border-bottom:1px solid #ddd;vertical-align:top}}svg{{background:#f6f6f3;border-radius:6px;max-width:100%}}</style>
<h1>Structure from motion</h1>{f"<ul>{warnings}</ul>" if warnings else ""}
<h2>Top view</h2>{_top_view(model.reconstruction)}
<h2>Gates</h2>{gates}<h2>Numbers</h2>{metrics}<h2>Photos</h2>{photos}
{f"<h2>Left out</h2>{left_out}" if report["left_out"] else ""}
"""


def _table(heads: list[str], rows: list[list[Any]]) -> str:
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    cells = ["".join(f"<td>{escape('' if cell is None else str(cell))}</td>" for cell in row) for row in rows]
    return f"<table><tr>{head}</tr>{''.join(f'<tr>{row}</tr>' for row in cells)}</table>"


def _metres(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _top_view(reconstruction: pycolmap.Reconstruction) -> str:
    """Points and cameras from above, east to the right."""
    points = list(reconstruction.points3D.values())
    points = points[:: max(1, len(points) // TOP_VIEW_POINTS)]
    places = np.array([point.xyz[:2] for point in points])
    centres = np.array([reconstruction.images[i].projection_center()[:2] for i in reconstruction.reg_image_ids()])
    low = np.minimum(np.quantile(places, 0.01, axis=0), centres.min(axis=0))
    high = np.maximum(np.quantile(places, 0.99, axis=0), centres.max(axis=0))
    scale = (TOP_VIEW_SIZE - 20) / max(float((high - low).max()), 1e-9)

    def spot(xy: np.ndarray) -> tuple[float, float]:
        return 10 + (xy[0] - low[0]) * scale, 10 + (high[1] - xy[1]) * scale

    dots = []
    for point, xy in zip(points, places, strict=True):
        if (xy >= low).all() and (xy <= high).all():
            x, y = spot(xy)
            red, green, blue = (int(c) for c in point.color)
            dots.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="2" height="2" fill="rgb({red},{green},{blue})"/>')
    for centre in centres:
        x, y = spot(centre)
        dots.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="#c22" stroke="#fff"/>')
    width, height = (high - low) * scale + 20
    return f'<svg width="{width:.0f}" height="{height:.0f}" xmlns="http://www.w3.org/2000/svg">{"".join(dots)}</svg>'
