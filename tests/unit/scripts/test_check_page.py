"""scripts/check_page.py: a page that shows the scene passes, and nothing else does."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scripts.check_page import NoBrowserError, PageError, check_page

PAGE = """<!doctype html><html data-scene="{state}"><style>body{{margin:0}}</style>
<img src="data:image/png;base64,{picture}" width="160" height="120"><div id="problem">no WebGL</div>{more}</html>"""


@pytest.fixture
def thumbnail(tmp_path: Path) -> Path:
    """Darker at the top, so that it is not the same when turned over."""
    rows = np.linspace(0, 255, 120).astype(np.uint8)
    Image.fromarray(np.broadcast_to(rows[:, None, None], (120, 160, 3)).copy()).save(tmp_path / "thumbnail.png")
    return tmp_path / "thumbnail.png"


def page(folder: Path, picture: Image.Image, state: str = "loaded", more: str = "") -> Path:
    content = io.BytesIO()
    picture.save(content, "png")
    path = folder / "scene.html"
    path.write_text(PAGE.format(state=state, picture=base64.b64encode(content.getvalue()).decode(), more=more))
    return path


def checked(made: Path, thumbnail: Path) -> float:
    try:
        return check_page(made, thumbnail, made.with_name("seen.png"))
    except NoBrowserError as reason:
        pytest.skip(str(reason))


def test_a_page_that_shows_the_scene_passes(tmp_path: Path, thumbnail: Path) -> None:
    assert checked(page(tmp_path, Image.open(thumbnail)), thumbnail) > 40


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"turned": True}, "does not show the scene"),
        ({"state": "failed"}, "no WebGL"),
        ({"more": '<script src="http://127.0.0.1:9/viewer.js"></script>'}, "asks for http://127.0.0.1:9/viewer.js"),
        ({"more": "<script>throw new Error('a fault of the script')</script>"}, "a fault of the script"),
    ],
)
def test_what_is_wrong_with_a_page_is_said(
    tmp_path: Path, thumbnail: Path, changed: dict[str, object], words: str
) -> None:
    picture = Image.open(thumbnail)
    if changed.pop("turned", False):
        picture = picture.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    with pytest.raises(PageError, match=words):
        checked(page(tmp_path, picture, **changed), thumbnail)  # type: ignore[arg-type]
