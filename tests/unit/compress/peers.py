"""Other people's programs that must agree with ours; where one is missing the test says so, and is skipped."""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
from PIL import Image

from scripts import check_page
from splatkit.splats import Floats
from tests.optional_programs import need_program

ROOT = Path(__file__).parents[3]
MODULES = ROOT / "build" / "peers" / "node_modules"
SIZE = {"width": 640, "height": 480}


def splat_transform(*arguments: Path | str) -> None:
    """PlayCanvas' converter. `-g cpu`, as no test needs a GPU."""
    program = need(MODULES / "@playcanvas" / "splat-transform" / "bin" / "cli.mjs")
    need_program("node")
    subprocess.run(["node", program, "-q", "-w", *arguments, "-g", "cpu"], check=True, timeout=300)


def need(path: Path, how: str = "make peers, which needs npm (apt-get install npm)") -> Path:
    if not path.exists():
        pytest.skip(f"needs {path.relative_to(ROOT)}, which is not there: {how}")
    return path


@contextmanager
def chromium() -> Iterator[Any]:
    """One browser for many pages: its start costs more than most of them."""
    with ExitStack() as stack:
        try:
            page = stack.enter_context(check_page.browser_page((SIZE["width"], SIZE["height"])))
        except check_page.NoBrowserError as error:
            pytest.skip(str(error))
        yield page.context.browser


@contextmanager
def page_of(browser: Any, **context: Any) -> Iterator[Any]:
    """A page that shares nothing with others of the browser."""
    opened = browser.new_context(**{"viewport": SIZE} | context)
    try:
        yield opened.new_page()
    finally:
        opened.close()


def wait_for_scene(page: Any, state: str = "loaded") -> None:
    page.wait_for_selector(f"html[data-scene={state}]", state="attached", timeout=120_000)
    page.wait_for_timeout(1000)  # until what was loaded is drawn


@contextmanager
def served(folder: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def screenshot(page: Any, path: Path) -> Floats:
    """[height, width, 3] of the window, in CSS pixels."""
    page.screenshot(path=path, scale="css")
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"), np.float32) / np.float32(255)
