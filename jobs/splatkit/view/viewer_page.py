"""The web page of a scene: one file with viewer and scene inside, or one that streams the levels of detail."""

import base64
import html
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from splatkit.errors import StageError
from splatkit.view.shots import FIELD_OF_VIEW, Shot
from splatkit.whole_files import whole_file

FOLDER = Path(__file__).parents[2] / "viewer"
VIEWER = FOLDER / "supersplat-viewer.json"  # written by vendor.py
PIECE = 3 << 18  # bytes; a multiple of three, so that pieces of base64 join
EFFECTS_OFF: dict[str, Any] = {
    "sharpness": {"enabled": False, "amount": 0},
    "bloom": {"enabled": False, "intensity": 0.1, "blurLevel": 2},
    "grading": {"enabled": False, "brightness": 1, "contrast": 1, "saturation": 1, "tint": [1, 1, 1]},
    "vignette": {"enabled": False, "intensity": 0.5, "inner": 0.3, "outer": 0.75, "curvature": 1},
    "fringing": {"enabled": False, "intensity": 0.5},
}


@dataclass(frozen=True)
class FirstLook:
    """In the scene's own axes; the page turns them into the viewer's and moves back until the sphere fits."""

    target: tuple[float, float, float]
    towards: tuple[float, float, float]  # unit vector from the target to the camera
    radius: float


@dataclass(frozen=True)
class About:
    title: str
    splats: int
    size: int  # bytes of the SOG
    date: str
    antialiased: bool = False  # see Splats
    on_white: bool = False


def first_look(shot: Shot, target: Any, radius: float) -> FirstLook:
    towards = (shot.eye - target) / float(((shot.eye - target) ** 2).sum()) ** 0.5
    return FirstLook(tuple(map(float, target)), tuple(map(float, towards)), radius)  # type: ignore[arg-type]


def write_standalone_page(path: Path, about: About, look: FirstLook, scene: Path) -> None:
    """Works from a file and behind one presigned URL."""
    _write(path, _page(about, look, {"CONNECT": "blob: data:", "DOWNLOAD": "#"}, None), scene)


def write_streaming_page(path: Path, about: About, look: FirstLook, content_url: str, download: str) -> None:
    """Must be served, with what `content_url` names beside it."""
    links = {"CONNECT": "'self' blob: data:", "DOWNLOAD": html.escape(download)}
    _write(path, _page(about, look, links, content_url), None)


def require_viewer() -> None:
    """Raises StageError before any work is done for a page that could not be written."""
    if not VIEWER.is_file():
        raise StageError(
            "no_viewer",
            f"{VIEWER.name} does not lie beside the stages: the web page cannot be made without it",
            "Run `make viewer`, then `terraform apply` to upload it, and publish the message again.",
        )


def _page(about: About, look: FirstLook, links: dict[str, str], content_url: str | None) -> tuple[str, str]:
    """What stands before the scene, and what behind."""
    viewer = json.loads(VIEWER.read_text())
    settings = {**_settings(look), "antialiased": about.antialiased}
    settings["background"] = {"color": [1, 1, 1] if about.on_white else [0, 0, 0]}
    if content_url:
        settings["contentUrl"] = content_url
    parts = {
        **links,
        "TITLE": html.escape(about.title),
        "FACTS": html.escape(f"{about.splats:,} splats · {about.size / 1e6:.1f} MB · {about.date}"),
        "FILE": html.escape(f"{re.sub(r'[^A-Za-z0-9._-]+', '-', about.title).strip('-.') or 'scene'}.sog"),
        "VIEWER": f"{viewer['package']} {viewer['version']}",
        "LICENCE": viewer["licence"].strip().replace("--", "- -"),
        "STYLE": viewer["style"].replace("</", "<\\/"),
        "SETTINGS": json.dumps(settings, allow_nan=False).replace("<", "\\u003c"),
        "SCRIPT": viewer["script_gzip_base64"],
    }
    before, behind = (FOLDER / "page.html").read_text().split("@@SCENE@@")
    # In one pass: nothing filled in is filled again.
    filled = [re.sub(r"@@([A-Z]+)@@", lambda match: parts[match[1]], text) for text in (before, behind)]
    return filled[0], filled[1]


def _write(path: Path, page: tuple[str, str], scene: Path | None) -> None:
    """In pieces, as a scene may be large; appears under its name when it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as beside, beside.open("wb") as file:
        file.write(page[0].encode())
        if scene:
            with scene.open("rb") as content:
                while piece := content.read(PIECE):
                    file.write(base64.b64encode(piece))
        file.write(page[1].encode())


def _settings(look: FirstLook) -> dict[str, Any]:
    """Of SuperSplat Viewer, which turns scenes half round about z so that y points up."""
    return {
        "version": 2,
        "tonemapping": "none",
        "highPrecisionRendering": False,
        "postEffectSettings": EFFECTS_OFF,
        "animTracks": [],
        "annotations": [],
        "startMode": "default",
        "camera": {
            "target": _turned(look.target),
            "towards": _turned(look.towards),
            "radius": look.radius,
            "fov": FIELD_OF_VIEW,
        },
    }


def _turned(vector: tuple[float, float, float]) -> list[float]:
    x, y, z = vector
    return [round(-x, 6), round(-y, 6), round(z, 6)]
