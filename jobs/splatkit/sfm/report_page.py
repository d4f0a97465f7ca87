"""report.html: the report for people, in one file beside the thumbnails that it shows."""

from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pycolmap

from splatkit.sfm.mapping import Model
from splatkit.stage import write_json
from splatkit.stage_files import REPORT

TOP_VIEW_POINTS = 4000
TOP_VIEW_SIZE = 640
GRAPH_LINES = 5000  # the strongest links drawn
STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem;color:#222}
table{border-collapse:collapse;margin:.5rem 0 1.5rem}td,th{padding:.2rem .8rem .2rem 0;text-align:left;
border-bottom:1px solid #ddd;vertical-align:top}svg{background:#f6f6f3;border-radius:6px;max-width:100%;height:auto}
img{height:3.5rem;border-radius:3px;display:block}.bad{color:#b3261e;font-weight:600}.good{color:#1b6e3c}
.warn{background:#fff4dd;border-left:4px solid #d98e04;padding:.6rem 1rem .6rem 2rem;border-radius:4px}
.wide{overflow-x:auto}
.views{display:flex;flex-wrap:wrap;gap:1rem}.views figure{margin:0;flex:1 1 18rem}figcaption{color:#555}"""


def write_report(report: dict[str, Any], model: Model, folder: Path) -> None:
    write_json(folder / REPORT, report)
    (folder / "report.html").write_text(_page(report, model), encoding="utf-8")


def _page(report: dict[str, Any], model: Model) -> str:
    warnings = "".join(f"<li>{escape(text)}</li>" for text in report["warnings"])
    numbers = _table(["", ""], [[name.replace("_", " "), value] for name, value in report["metrics"].items()])
    left_out = _table(["file", "reason"], [[item["source"], item["reason"]] for item in report["left_out"]])
    matching = report["matching"]
    view = _View(model.reconstruction)
    return f"""<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Structure from motion</title><style>{STYLE}</style>
<h1>Structure from motion</h1>{_verdict(report)}{f'<ul class="warn">{warnings}</ul>' if warnings else ""}
<div class="views">
<figure>{view.points()}<figcaption>From above: points and cameras, {_axes(report)}</figcaption></figure>
<figure>{view.links(report)}<figcaption>Match graph: {matching["linked"]} of {matching["pairs"]} compared pairs share
features ({escape(matching["method"])}: {escape(matching["why"])})</figcaption></figure></div>
<h2>Gates</h2>{_gates(report)}<h2>Numbers</h2>{numbers}<h2>Photos</h2>{_photos(report)}
{f"<h2>Left out</h2>{left_out}" if report["left_out"] else ""}</html>
"""


def _verdict(report: dict[str, Any]) -> str:
    failed = [gate for gate in report["gates"] if not gate["passed"]]
    metrics = report["metrics"]
    if not failed:
        told = f"{metrics['registered']} of {metrics['photos']} photos placed; all gates passed."
        return f'<p class="good">{escape(told)}</p>'
    return "".join(f'<p><span class="bad">{escape(g["cause"])}.</span> {escape(g["fix"])}</p>' for g in failed)


def _axes(report: dict[str, Any]) -> str:
    return "north is up" if report["georeference"]["frame"] == "ENU" else "direction and scale are arbitrary"


def _gates(report: dict[str, Any]) -> str:
    rows = []
    for gate in report["gates"]:
        verdict = "not measurable" if gate["value"] is None else "ok" if gate["passed"] else "failed"
        rows.append([gate["name"].replace("_", " "), gate["value"], gate["limit"], verdict, gate["fix"]])
    return _table(["gate", "measured", "allowed", "", "what to do"], rows)


def _photos(report: dict[str, Any]) -> str:
    heads = ["", "photo", "placed", "points", "linked photos", "metres from GPS", "blur"]
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    rows = []
    for photo in report["photos"]:
        gps = photo["gps_residual_m"]
        cells = [
            f'<img loading="lazy" alt="" src="{escape(photo["thumbnail"], quote=True)}">',
            escape(photo["source"]) + (" (masked)" if photo["mask"] else ""),
            "yes" if photo["registered"] else '<span class="bad">no</span>',
            str(photo["points"]),
            str(photo["linked_photos"]),
            "" if gps is None else f"{gps:.2f}",
            f'<span class="bad">{photo["blur"]:.2f}</span>' if photo["blurred"] else f"{photo['blur']:.2f}",
        ]
        rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    return f'<div class="wide"><table><tr>{head}</tr>{"".join(rows)}</table></div>'


def _table(heads: list[str], rows: list[list[Any]]) -> str:
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    cells = ["".join(f"<td>{escape('' if cell is None else str(cell))}</td>" for cell in row) for row in rows]
    return f'<div class="wide"><table><tr>{head}</tr>{"".join(f"<tr>{row}</tr>" for row in cells)}</table></div>'


class _View:
    """The model from above, east to the right and north up, fitted into a square."""

    def __init__(self, reconstruction: pycolmap.Reconstruction) -> None:
        points = list(reconstruction.points3D.values())
        self._points = points[:: max(1, len(points) // TOP_VIEW_POINTS)]
        places = np.array([point.xyz[:2] for point in self._points])
        registered = [reconstruction.images[i] for i in reconstruction.reg_image_ids()]
        self._cameras = {image.name: image.projection_center()[:2] for image in registered}
        centres = np.array(list(self._cameras.values()))
        self._low = np.minimum(np.quantile(places, 0.01, axis=0), centres.min(axis=0))
        self._high = np.maximum(np.quantile(places, 0.99, axis=0), centres.max(axis=0))
        self._scale = (TOP_VIEW_SIZE - 20) / max(float((self._high - self._low).max()), 1e-9)

    def points(self) -> str:
        dots = []
        for point in self._points:
            place = point.xyz[:2]
            if (place >= self._low).all() and (place <= self._high).all():
                x, y = self._spot(place)
                colour = ",".join(str(int(c)) for c in point.color)
                dots.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="2" height="2" fill="rgb({colour})"/>')
        return self._drawing("".join(dots) + self._circles())

    def links(self, report: dict[str, Any]) -> str:
        """Lines between cameras that share features, stronger for more; photos without a place are listed elsewhere."""
        names = [photo["name"] for photo in report["photos"]]
        links = sorted(report["matching"]["links"], key=lambda link: link[2])[-GRAPH_LINES:]
        most = max((link[2] for link in links), default=1)
        lines = []
        for i, j, matches in links:
            if names[i] in self._cameras and names[j] in self._cameras:
                x1, y1 = self._spot(self._cameras[names[i]])
                x2, y2 = self._spot(self._cameras[names[j]])
                strength = 0.08 + 0.8 * (matches / most) ** 0.5
                ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
                lines.append(f'<line {ends} stroke="#1f5fa8" stroke-opacity="{strength:.2f}"/>')
        return self._drawing("".join(lines) + self._circles())

    def _circles(self) -> str:
        drawn = []
        for name, place in self._cameras.items():
            x, y = self._spot(place)
            title = f"<title>{escape(name)}</title>"
            drawn.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="#c22" stroke="#fff">{title}</circle>')
        return "".join(drawn)

    def _spot(self, place: np.ndarray) -> tuple[float, float]:
        x, y = (place - self._low) * self._scale
        return 10 + float(x), 10 + float((self._high - self._low)[1] * self._scale - y)

    def _drawing(self, content: str) -> str:
        width, height = (self._high - self._low) * self._scale + 20
        return f'<svg viewBox="0 0 {width:.0f} {height:.0f}" xmlns="http://www.w3.org/2000/svg">{content}</svg>'
