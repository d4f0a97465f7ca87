"""The files as others see them: PlayCanvas' converter, SuperSplat Viewer in the page, and Spark."""

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from peers import MODULES, SIZE, chromium, need, page_of, screenshot, served, splat_transform, wait_for_scene
from sample_splats import ball

from splatkit.compress import lod_files
from splatkit.compress.levels import levels_of_detail
from splatkit.compress.lod_files import read_level, write_levels
from splatkit.compress.sog_encoder import Precision, encode_sog
from splatkit.formats.paletted import own_palette
from splatkit.formats.ply import read_ply, write_ply
from splatkit.formats.sog import read_sog
from splatkit.splats import Floats, Splats, join
from splatkit.view.rendering import Renderer, psnr
from splatkit.view.shots import FIELD_OF_VIEW, Shot, framing, ring
from splatkit.view.viewer_page import (
    VIEWER,
    About,
    FirstLook,
    first_look,
    write_standalone_page,
    write_streaming_page,
)

SAME_PICTURE = 20.0  # dB; rasterizers differ in their blur and edges, another view or a wrong axis is below 15


PHONE = {
    "viewport": {"width": 390, "height": 844},
    "device_scale_factor": 2,
    "has_touch": True,
    "is_mobile": True,
    "user_agent": "Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0 Mobile",
}


def first_shot(splats: Splats, size: dict[str, int] = SIZE) -> tuple[Shot, FirstLook]:
    need(VIEWER, "make viewer")
    frame = framing(splats)
    shot = ring(frame, 1, size["width"], size["height"])[0]
    return shot, first_look(shot, frame.centre, frame.radius)


def expected(splats: Splats, size: dict[str, int] = SIZE) -> tuple[Floats, FirstLook]:
    shot, look = first_shot(splats, size)
    return Renderer(own_palette(splats), splats.on_white).render(shot), look


def assert_same_picture(seen: Floats, wanted: Floats) -> None:
    assert psnr(seen, wanted) > SAME_PICTURE
    # Turned over, the scene must not match as well: what passes above is this view, not any view.
    assert psnr(seen, wanted) > psnr(seen[::-1], wanted) + 3


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def coloured(shiny_scene: Splats) -> Splats:
    """Clearly not symmetric: its upper half is taken away on one side."""
    return asymmetric(shiny_scene)


def asymmetric(splats: Splats) -> Splats:
    return splats.take(~((splats.means[:, 1] < 0) & (splats.means[:, 0] > 0)))


def few_per_leaf(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a small scene's levels have the tree and the several files of a large one."""
    monkeypatch.setattr(lod_files, "LEAF_SPLATS", 600)
    monkeypatch.setattr(lod_files, "FILE_SPLATS", 1500)


def assert_same_attributes(ours: Splats, theirs: Splats) -> None:
    for name in Splats.ARRAYS:
        one, other = (getattr(side, name).clip(-13, 13) for side in (ours, theirs))
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=2e-4, err_msg=name)


@pytest.mark.parametrize("degree", [0, 1, 3])
def test_the_peer_decodes_what_we_decode(tmp_path: Path, degree: int) -> None:
    files = encode_sog(ball(5000, degree), Precision()).files
    files.write_bundle(tmp_path / "scene.sog")
    splat_transform(tmp_path / "scene.sog", tmp_path / "peer.ply")
    peer = read_ply(tmp_path / "peer.ply")
    assert peer.sh_degree == degree
    assert_same_attributes(files.decode().expanded, peer)


def test_the_peer_decodes_every_file_of_the_levels(
    tmp_path: Path, shiny_scene: Splats, monkeypatch: pytest.MonkeyPatch
) -> None:
    few_per_leaf(monkeypatch)
    write_levels(tmp_path / "lod", levels_of_detail(shiny_scene, 3), Precision(), lambda number: None)
    names = json.loads((tmp_path / "lod" / "lod-meta.json").read_text())["filenames"]
    assert len(names) > 5 and {name[0] for name in names} == set("012")
    parts = [read_sog(tmp_path / "lod" / name) for name in names]
    splat_transform(*[tmp_path / "lod" / name for name in names], tmp_path / "peer.ply")  # one behind the other
    assert_same_attributes(join(parts), read_ply(tmp_path / "peer.ply"))


@pytest.mark.parametrize("form", ["compressed.ply", "spz"])
def test_we_decode_what_the_peer_encodes(tmp_path: Path, shiny_scene: Splats, form: str) -> None:
    from splatkit.formats.splat_files import read_splats

    write_ply(tmp_path / "scene.ply", shiny_scene)
    splat_transform(tmp_path / "scene.ply", tmp_path / f"scene.{form}")
    splat_transform(tmp_path / f"scene.{form}", tmp_path / "peer.ply")
    ours, theirs = read_splats(tmp_path / f"scene.{form}"), read_ply(tmp_path / "peer.ply")
    for name in set(Splats.ARRAYS) - {"quats"}:
        one, other = (getattr(side, name).clip(-13, 13) for side in (ours, theirs))
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=2e-4, err_msg=name)
    np.testing.assert_allclose(np.abs((ours.quats * theirs.quats).sum(axis=1)), 1, atol=1e-4)


def test_the_page_shows_the_scene_from_a_file_and_loads_nothing_else(
    tmp_path: Path, browser: Any, coloured: Splats
) -> None:
    wanted, look = expected(coloured)
    encode_sog(coloured, Precision()).files.write_bundle(tmp_path / "scene.sog")
    about = About('A <b>"title"</b>', len(coloured), 1234567, "2026-01-31")
    write_standalone_page(tmp_path / "index.html", about, look, tmp_path / "scene.sog")
    with page_of(browser) as page:
        requests: list[str] = []
        page.on("request", lambda request: requests.append(request.url))
        page.goto(f"file://{tmp_path}/index.html?webgl&noui&noanim")
        wait_for_scene(page)
        assert_same_picture(screenshot(page, tmp_path / "seen.png"), wanted)
        assert page.title() == 'A <b>"title"</b>'
        assert page.locator("#about h1").inner_html() == 'A &lt;b&gt;"title"&lt;/b&gt;'
        assert "1.2 MB" in (page.locator("#about p").text_content() or "")
        with page.expect_download() as download:
            page.evaluate_handle("document.getElementById('download')").as_element().evaluate("link => link.click()")
        assert Path(download.value.path()).read_bytes() == (tmp_path / "scene.sog").read_bytes()
    assert [url for url in requests if not url.startswith(("blob:", "data:"))] == [requests[0]]


def test_the_page_draws_with_the_filter_that_training_used(tmp_path: Path, browser: Any, coloured: Splats) -> None:
    """Of splats thinner than a pixel, which the filter makes fainter."""
    thin = replace(coloured, scales=coloured.scales - 2.5)
    filtered = replace(thin, antialiased=True)
    wanted, look = expected(filtered)
    seen = {}
    for splats in (thin, filtered):
        encode_sog(splats, Precision()).files.write_bundle(tmp_path / "scene.sog")
        about = About("thin", len(splats), 1, "2026-01-31", splats.antialiased)
        write_standalone_page(tmp_path / "index.html", about, look, tmp_path / "scene.sog")
        with page_of(browser) as page:
            page.goto(f"file://{tmp_path}/index.html?webgl&noui&noanim")
            wait_for_scene(page)
            seen[splats.antialiased] = screenshot(page, tmp_path / "seen.png")
    assert psnr(seen[True], wanted) > psnr(seen[True], expected(thin)[0]) + 5
    assert seen[False].mean() > 1.3 * seen[True].mean()


def test_the_page_shows_a_scene_before_white_that_was_trained_there(
    tmp_path: Path, browser: Any, coloured: Splats
) -> None:
    scene = replace(coloured, on_white=True)
    wanted, look = expected(scene)
    encode_sog(scene, Precision()).files.write_bundle(tmp_path / "scene.sog")
    about = About("white", len(scene), 1, "2026-01-31", on_white=True)
    write_standalone_page(tmp_path / "index.html", about, look, tmp_path / "scene.sog")
    with page_of(browser) as page:
        page.goto(f"file://{tmp_path}/index.html?webgl&noui&noanim")
        wait_for_scene(page)
        seen = screenshot(page, tmp_path / "seen.png")
    assert_same_picture(seen, wanted)
    assert psnr(seen, expected(coloured)[0]) < 10, "before black it looks otherwise"


def test_the_page_fits_a_phone_says_what_it_shows_and_turns_by_touch(
    tmp_path: Path, browser: Any, coloured: Splats
) -> None:
    wanted, look = expected(coloured, PHONE["viewport"])
    encode_sog(coloured, Precision()).files.write_bundle(tmp_path / "scene.sog")
    about = About("Town hall in the evening", len(coloured), 1234567, "2026-01-31")
    write_standalone_page(tmp_path / "index.html", about, look, tmp_path / "scene.sog")
    with page_of(browser, **PHONE) as page:
        page.goto(f"file://{tmp_path}/index.html?webgl&noanim")
        wait_for_scene(page)
        assert page.evaluate("[innerWidth, document.documentElement.scrollWidth]") == [390, 390]
        facts = f"Town hall in the evening {len(coloured):,} splats · 1.2 MB · 2026-01-31 · Download"
        assert " ".join(page.locator("#about").inner_text().split()) == facts
        for control in ("#about", "#download", ".sse-orbitCamera", ".sse-settings", ".sse-enterFullscreen"):
            assert_within_reach(page, control)
        viewer = json.loads(VIEWER.read_text())
        assert viewer["licence"].strip() in page.content() and viewer["version"] in page.content()
        page.add_style_tag(content="#about, .sse-ui, .sse-ui * { visibility: hidden !important }")
        seen = screenshot(page, tmp_path / "seen.png")
        assert_same_picture(seen, wanted)
        drag(page, (150, 450), (260, 450))
        page.wait_for_timeout(1000)
        assert psnr(screenshot(page, tmp_path / "turned.png"), seen) < SAME_PICTURE


def assert_within_reach(page: Any, selector: str) -> None:
    """Wholly on the screen and on top of what is there: a finger finds it."""
    box = page.locator(selector).bounding_box()
    assert box and box["x"] >= 0 and box["x"] + box["width"] <= 390, selector
    assert box["y"] >= 0 and box["y"] + box["height"] <= 844, selector
    page.locator(selector).click(trial=True, timeout=5000)


def drag(page: Any, start: tuple[int, int], end: tuple[int, int]) -> None:
    """Of one finger."""
    session = page.context.new_cdp_session(page)
    steps = [(start[0] + (end[0] - start[0]) * i // 4, start[1] + (end[1] - start[1]) * i // 4) for i in range(5)]
    for number, (x, y) in enumerate(steps):
        touch = {"type": "touchMove" if number else "touchStart", "touchPoints": [{"x": x, "y": y}]}
        session.send("Input.dispatchTouchEvent", touch)
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


class Gate:
    """Keeps requests waiting until it is opened."""

    def __init__(self) -> None:
        self._waiting: list[Any] | None = []

    def pass_or_hold(self, route: Any) -> None:
        route.continue_() if self._waiting is None else self._waiting.append(route)

    def open(self) -> None:
        waiting, self._waiting = self._waiting or [], None
        for route in waiting:
            route.continue_()


def test_the_streaming_page_shows_the_coarsest_level_first_and_then_the_finest(
    tmp_path: Path, browser: Any, coloured: Splats, monkeypatch: pytest.MonkeyPatch
) -> None:
    few_per_leaf(monkeypatch)
    wanted, look = expected(coloured)
    write_levels(tmp_path / "lod", levels_of_detail(coloured, 3), Precision(), lambda number: None)
    assert "children" in json.loads((tmp_path / "lod" / "lod-meta.json").read_text())["tree"]
    coarsest = Renderer(read_level(tmp_path / "lod", 2)).render(first_shot(coloured)[0])
    about = About("streamed", len(coloured), 1, "2026-01-31")
    write_streaming_page(tmp_path / "viewer" / "stream.html", about, look, "../lod/lod-meta.json", "../scene.sog")
    with served(tmp_path) as address, page_of(browser) as page:
        requests: list[str] = []
        page.on("request", lambda request: requests.append(request.url))
        gate = Gate()
        page.route(re.compile("/lod/[01]_"), gate.pass_or_hold)
        page.goto(f"{address}/viewer/stream.html?webgl&noui&noanim")
        wait_for_scene(page)
        seen = screenshot(page, tmp_path / "coarse.png")
        assert_same_picture(seen, coarsest)
        assert psnr(seen, coarsest) > psnr(seen, wanted) + 3
        gate.open()
        for _ in range(60):  # until what it fetches now is drawn
            page.wait_for_timeout(500)
            seen = screenshot(page, tmp_path / "fine.png")
            if psnr(seen, wanted) > psnr(seen, coarsest) + 3:
                break
        assert_same_picture(seen, wanted)
        assert psnr(seen, wanted) > psnr(seen, coarsest) + 3
        fetched = {url.split("/lod/")[1] for url in requests if url.endswith("/quats.webp")}
        assert fetched >= {f"{path.name}/quats.webp" for path in (tmp_path / "lod").glob("[02]_*")}
        assert all(url.startswith((address, "blob:", "data:")) for url in requests)


def test_a_page_without_webgl_says_so(tmp_path: Path, browser: Any, coloured: Splats) -> None:
    _, look = first_shot(coloured)
    (tmp_path / "scene.sog").write_bytes(encode_sog(coloured, Precision()).files.pictures["quats.webp"])
    write_standalone_page(tmp_path / "index.html", About("t", 1, 1, "2026-01-31"), look, tmp_path / "scene.sog")
    with page_of(browser) as page:
        page.add_init_script("HTMLCanvasElement.prototype.getContext = () => null;")  # what a browser without it does
        page.goto(f"file://{tmp_path}/index.html?webgl")
        wait_for_scene(page, "failed")
        assert "cannot be shown" in page.locator("#problem").inner_text()


SPARK_PAGE = """<!doctype html><style>body{margin:0}</style>
<script type="importmap">
{"imports": {"three": "./three/build/three.module.js", "three/addons/": "./three/examples/jsm/"}}
</script>
<script type="module">
import * as THREE from "three";
import { SparkRenderer, SplatMesh } from "./spark/dist/spark.module.js";
const renderer = new THREE.WebGLRenderer({ preserveDrawingBuffer: true });
renderer.setSize(innerWidth, innerHeight);
document.body.append(renderer.domElement);
const scene = new THREE.Scene();
scene.add(new SparkRenderer({ renderer }));
const [eye, target] = [@EYE@, @TARGET@];
const vertical = 2 * Math.atan(Math.tan(@FOV@ * Math.PI / 360) * innerHeight / innerWidth) * 180 / Math.PI;
const camera = new THREE.PerspectiveCamera(vertical, innerWidth / innerHeight, 0.01, 1000);
camera.position.set(...eye);
camera.lookAt(...target);
let mesh = null;
window.show = async (url) => {
    if (mesh) scene.remove(mesh);
    mesh = new SplatMesh({ url });
    mesh.rotation.z = Math.PI;
    scene.add(mesh);
    await mesh.initialized;
    let frames = 0;
    await new Promise((shown) => renderer.setAnimationLoop(() => {
        renderer.render(scene, camera);
        if (++frames === 15) shown();
    }));
};
document.documentElement.dataset.scene = "loaded";
</script>"""


def test_spark_shows_the_same_scenes(tmp_path: Path, browser: Any) -> None:
    shutil.copytree(need(MODULES / "@sparkjsdev" / "spark" / "dist"), tmp_path / "spark" / "dist")
    (tmp_path / "three").symlink_to(need(MODULES / "three"))
    scenes = [asymmetric(ball(5000, degree)) for degree in (0, 1, 3)]  # all of the same shape
    shot, look = first_shot(scenes[0])
    away = look.radius / np.sin(np.arctan(np.tan(np.radians(FIELD_OF_VIEW / 2)) * SIZE["height"] / SIZE["width"]))
    flip = np.array([-1, -1, 1])
    target = np.array(look.target) * flip
    eye = target + away * np.array(look.towards) * flip
    text = SPARK_PAGE.replace("@EYE@", str(eye.tolist())).replace("@TARGET@", str(target.tolist()))
    (tmp_path / "index.html").write_text(text.replace("@FOV@", str(FIELD_OF_VIEW)))
    with served(tmp_path) as address, page_of(browser) as page:
        page.goto(f"{address}/index.html")
        wait_for_scene(page)
        for splats in scenes:
            name = f"{splats.sh_degree}.sog"
            encode_sog(splats, Precision()).files.write_bundle(tmp_path / name)
            page.evaluate("name => show(name)", name)
            seen = screenshot(page, tmp_path / "seen.png")
            wanted, plain = (Renderer(own_palette(each)).render(shot) for each in (splats, splats.with_sh_degree(0)))
            assert_same_picture(seen, wanted)
            assert not splats.sh_degree or psnr(seen, wanted) > psnr(seen, plain) + 3
        levels = list(levels_of_detail(scenes[0], 3))
        write_levels(tmp_path / "lod", levels, Precision(), lambda number: None)
        for number, level in enumerate(levels):
            # Spark reads SOG in bundles only: the level's files as one.
            files = tmp_path / "lod" / f"{number}_0"
            packed = Path(shutil.make_archive(str(tmp_path / f"level_{number}"), "zip", files))
            page.evaluate("name => show(name)", packed.rename(packed.with_suffix(".sog")).name)
            seen = screenshot(page, tmp_path / "seen.png")
            assert_same_picture(seen, Renderer(own_palette(level)).render(shot))
