"""Opens a scene's page in a headless Chromium and checks that it shows the scene, from its one file and nothing else.

    python scripts/check_page.py demo-output/scene.html --like demo-output/scene/compress/thumbnail.png

Needs playwright (`make test` installs it) and a Chromium or Chrome on the PATH; renders in software, without a GPU.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SOFTWARE = ("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--no-sandbox")
PHONE = (390, 844)  # CSS pixels
LOADED = 180_000  # milliseconds until the page says that it shows the scene
SAME_PICTURE = 18.0  # dB; rasterizers differ in their blur and edges, another view or a wrong axis is below 15
UPSIDE_DOWN = 3.0  # dB that the picture must match better than when it is turned over


class PageError(Exception):
    """What is wrong with the page."""


class NoBrowserError(Exception):
    pass


def check_page(page: Path, like: Path, screenshot: Path) -> float:
    """PSNR in dB between the page's first picture and `like`, the scene's thumbnail; PageError where that is low."""
    with Image.open(like) as picture:
        wanted = picture.convert("RGB")
    requests, problems = open_page(page, wanted.size, screenshot)
    if problems:
        raise PageError(f"{page} reports {problems[0]}")
    elsewhere = [url for url in requests[1:] if not url.startswith(("blob:", "data:"))]
    if elsewhere:
        raise PageError(f"{page} asks for {elsewhere[0]}; it must need nothing but itself")
    with Image.open(screenshot) as picture:
        seen = picture.convert("RGB")
    alike, turned = psnr(seen, wanted), psnr(seen.transpose(Image.Transpose.FLIP_TOP_BOTTOM), wanted)
    if alike < SAME_PICTURE or alike < turned + UPSIDE_DOWN:
        raise PageError(f"{page} does not show the scene: {alike:.1f} dB from {like}, {turned:.1f} dB upside down")
    return alike


def open_page(page: Path, size: tuple[int, int], screenshot: Path) -> tuple[list[str], list[str]]:
    """All URLs that the page asked for, and the errors of its scripts."""
    requests: list[str] = []
    problems: list[str] = []
    with browser_page(size) as view:
        view.on("request", lambda request: requests.append(request.url))
        view.on("pageerror", lambda error: problems.append(str(error)))
        view.goto(f"{page.resolve().as_uri()}?webgl&noui&noanim")
        view.wait_for_selector("html[data-scene]", state="attached", timeout=LOADED)
        if view.get_attribute("html", "data-scene") != "loaded":
            problems.append(view.locator("#problem").inner_text())
        view.wait_for_timeout(1000)
        view.screenshot(path=screenshot)
    return requests, problems


@contextmanager
def browser_page(size: tuple[int, int], arguments: Sequence[str] = SOFTWARE) -> Iterator[Any]:
    """Playwright's page of a headless Chromium; NoBrowserError where one of the two is missing."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        raise NoBrowserError("playwright is not installed: scripts/setup.sh test") from error
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        raise NoBrowserError("there is no browser: apt-get install chromium")
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=list(arguments))
        try:
            yield browser.new_context(viewport={"width": size[0], "height": size[1]}).new_page()
        finally:
            browser.close()


def width_on_a_phone(page: Path) -> int:
    """In CSS pixels, of a page that is shown 390 wide: more than that scrolls sideways."""
    with browser_page(PHONE) as view:
        view.goto(page.resolve().as_uri())
        return int(view.evaluate("document.documentElement.scrollWidth"))


def psnr(one: Image.Image, other: Image.Image) -> float:
    first, second = (np.asarray(picture, np.float64) / 255 for picture in (one, other))
    return float(-10 * np.log10(max(np.square(first - second).mean(), 1e-10)))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("page", type=Path)
    parser.add_argument("--like", type=Path, required=True, help="the scene's thumbnail, which the page must show")
    parser.add_argument("--screenshot", type=Path, help="where to put what the browser shows")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        screenshot = arguments.screenshot or Path(folder) / "seen.png"
        try:
            alike = check_page(arguments.page, arguments.like, screenshot)
        except (PageError, NoBrowserError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    print(f"{arguments.page} shows the scene: {alike:.1f} dB from its thumbnail")
    return 0


if __name__ == "__main__":
    sys.exit(main())
