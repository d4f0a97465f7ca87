"""Download a pipeline run into a folder: the page, each stage's files, an index."""

from __future__ import annotations

import html
import json
import shutil
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from splatworks.contract.keys import RESULT, RUN

PAGE = "scene.html"
CONNECTIONS = 8

# Path below the folder, what it is; those that are there are listed.
CONTENTS = (
    (PAGE, "the scene: opens in any browser, needs no network"),
    ("scene/compress/thumbnail.png", "its picture"),
    ("scene/compress/scene.sog", "the scene as a file for viewers and engines"),
    ("scene/compress/report.json", "what compression made smaller, and what it lost"),
    ("scene/compress/turntable.mp4", "a walk around it"),
    ("scene/train/splat.ply", "the splat as it was trained, for editors"),
    ("scene/train/metrics.json", "how well it shows the photos that training never saw"),
    ("scene/train/held_out", "those photos, each beside its rendering"),
    ("scene/train/flythrough.mp4", "a flight through it"),
    ("scene/sfm/report.html", "how well the photos fit together, one by one"),
    ("scene/sfm/sparse/0", "the COLMAP model that every trainer reads"),
    ("scene/sfm/images", "the undistorted photos"),
    (f"scene/{RUN}", "the run as the dispatcher planned it"),
    ("emails", "every e-mail that the platform sent"),
    ("survey", "the rendered photos, and the exact poses they were taken from"),
    ("aws", "the embedded AWS: Terraform's working folder"),
)
FIGURES = (
    ("sfm", "registered", "photos placed"),
    ("train", "psnr", "dB PSNR"),
    ("train", "gaussians", "Gaussians"),
    ("compress", "megabytes", "MB"),
)

INDEX = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 3rem auto; padding: 0 1rem; color: #222 }}
img {{ max-width: 100%; border-radius: 6px }}
td {{ padding: .2rem 1rem .2rem 0; vertical-align: top; overflow-wrap: anywhere }}
</style></head><body>
<h1>{title}</h1>
<p>{summary}</p>
{picture}<table>
{rows}
</table>
</body></html>
"""


def download_run(s3: Any, bucket: str, prefix: str, folder: Path) -> None:
    """Download `prefix` (runs/<project>/<run>/) to folder/scene, and copy its page to `folder`."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    keys = [item["Key"] for page in pages for item in page.get("Contents", [])]

    def fetch(key: str) -> None:
        path = folder / "scene" / key.removeprefix(prefix)
        path.parent.mkdir(parents=True, exist_ok=True)
        s3.download_file(bucket, key, str(path))

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        list(pool.map(fetch, keys))
    made = folder / "scene" / "compress" / "viewer" / "index.html"
    if made.is_file():
        shutil.copyfile(made, folder / PAGE)


def write_index(folder: Path, run_id: str, ended: str) -> Path:
    """Write index.html, which lists the results. `ended`: a sentence."""
    rows = [
        f'<tr><td><a href="{html.escape(path)}">{html.escape(path)}</a></td><td>{html.escape(what)}</td></tr>'
        for path, what in CONTENTS
        if (folder / path).exists()
    ]
    thumbnail = "scene/compress/thumbnail.png"
    shown = (folder / PAGE).is_file() and (folder / thumbnail).is_file()
    picture = f'<p><a href="{PAGE}"><img src="{thumbnail}" alt="the scene"></a></p>\n' if shown else ""
    summary = " ".join([ended, ", ".join(figures(folder))]).strip()
    index = folder / "index.html"
    index.write_text(
        INDEX.format(title=html.escape(run_id), summary=html.escape(summary), picture=picture, rows="\n".join(rows))
    )
    return index


def figures(folder: Path) -> Iterable[str]:
    for stage, name, unit in FIGURES:
        path = folder / "scene" / stage / RESULT
        value = json.loads(path.read_text())["metrics"].get(name) if path.is_file() else None
        if value is not None:
            yield f"{value:,.2f} {unit}" if isinstance(value, float) else f"{value:,} {unit}"
