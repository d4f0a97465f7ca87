"""Scenes for the tests: made ones, and the real ones where they lie beside the checkout."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import compress
import pytest
from sample_splats import ball

from splatkit.splats import Splats

STAND_IN = Path(__file__).with_name("stand_in_viewer.json")
QUICK = ("--turntable-frames", "4", "--views", "3", "--view-size", "160")
Run = Callable[..., tuple[int, dict[str, Any]]]
REAL = Path(__file__).parents[4] / "shared" / "data" / "splats"


@pytest.fixture(scope="session")
def scene() -> Splats:
    return ball(6000)


@pytest.fixture(scope="session")
def shiny_scene() -> Splats:
    return ball(5000, degree=3)


@pytest.fixture(scope="session")
def real_splats() -> Path:
    """Real captures, which are too large for the repository."""
    if not REAL.is_dir():
        pytest.skip(
            f"needs {REAL}/playbot_lod1_sog, too large for the repository: examples/assets/splats/playbot/1_0 "
            "of https://github.com/playcanvas/engine"
        )
    return REAL


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The whole stage from in/ to out/, with a stand-in for the web viewer, which test_viewers.py looks at itself."""

    def run(*arguments: str) -> tuple[int, dict[str, Any]]:
        folders = ["--input-dir", str(tmp_path / "in"), "--output-dir", str(tmp_path / "out")]
        code = compress.main([*folders, *QUICK, *arguments])
        return code, json.loads((tmp_path / "out" / "result.json").read_text())

    monkeypatch.setattr("splatkit.view.viewer_page.VIEWER", STAND_IN)
    (tmp_path / "in").mkdir()
    return run
