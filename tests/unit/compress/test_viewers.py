"""The files as others see them: PlayCanvas' converter, SuperSplat Viewer in the page, and Spark."""

import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from peers import MODULES, SIZE, browser_page, need, screenshot, served, splat_transform

from splatkit.compress.levels import levels_of_detail
from splatkit.compress.lod_files import write_levels
from splatkit.compress.sog_encoder import Precision, encode_sog
from splatkit.formats.paletted import own_palette
from splatkit.formats.ply import read_ply, write_ply
from splatkit.splats import Floats, Splats
from splatkit.view.rendering import Renderer, psnr
from splatkit.view.shots import framing, ring
from splatkit.view.viewer_page import (
    VIEWER,
    About,
    FirstLook,
    first_look,
    write_standalone_page,
    write_streaming_page,
)

SAME_PICTURE = 20.0  # dB; rasterizers differ in their blur and edges, another view or a wrong axis is below 15


def expected(splats: Splats) -> tuple[Floats, FirstLook]:
    need(VIEWER, "make viewer")
    frame = framing(splats)
    shot = ring(frame, 1, SIZE["width"], SIZE["height"])[0]
    return Renderer(own_palette(splats)).render(shot), first_look(shot, frame.centre, frame.radius)


def assert_same_picture(seen: Floats, wanted: Floats) -> None:
    assert psnr(seen, wanted) > SAME_PICTURE
    # Turned over, the scene must not match as well: what passes above is this view, not any view.
    assert psnr(seen, wanted) > psnr(seen[::-1], wanted) + 3


@pytest.fixture(scope="module")
def coloured(shiny_scene: Splats) -> Splats:
    """Clearly not symmetric: its upper half is taken away on one side."""
    means = shiny_scene.means
    return shiny_scene.take(~((means[:, 1] < 0) & (means[:, 0] > 0)))


def test_the_peer_decodes_what_we_decode(tmp_path: Path, shiny_scene: Splats) -> None:
    files = encode_sog(shiny_scene, Precision()).files
    files.write_bundle(tmp_path / "scene.sog")
    splat_transform(tmp_path / "scene.sog", tmp_path / "peer.ply")
    ours, theirs = files.decode().expanded, read_ply(tmp_path / "peer.ply")
    for name in Splats.ARRAYS:
        one, other = (getattr(side, name).clip(-13, 13) for side in (ours, theirs))
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=2e-4, err_msg=name)


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


def test_the_page_shows_the_scene_from_a_file_and_loads_nothing_else(tmp_path: Path, coloured: Splats) -> None:
    wanted, look = expected(coloured)
    encode_sog(coloured, Precision()).files.write_bundle(tmp_path / "scene.sog")
    about = About('A <b>"title"</b>', len(coloured), 1234567, "2026-01-31")
    write_standalone_page(tmp_path / "index.html", about, look, tmp_path / "scene.sog")
    with browser_page() as page:
        requests: list[str] = []
        page.on("request", lambda request: requests.append(request.url))
        page.goto(f"file://{tmp_path}/index.html?webgl&noui&noanim")
        page.wait_for_selector("html[data-scene=loaded]", state="attached", timeout=120_000)
        time.sleep(1)
        assert_same_picture(screenshot(page, tmp_path / "seen.png"), wanted)
        assert page.title() == 'A <b>"title"</b>'
        assert page.locator("#about h1").inner_html() == 'A &lt;b&gt;"title"&lt;/b&gt;'
        assert "1.2 MB" in (page.locator("#about p").text_content() or "")
        with page.expect_download() as download:
            page.evaluate_handle("document.getElementById('download')").as_element().evaluate("link => link.click()")
        assert Path(download.value.path()).read_bytes() == (tmp_path / "scene.sog").read_bytes()
    assert [url for url in requests if not url.startswith(("blob:", "data:"))] == [requests[0]]


def test_the_page_draws_with_the_filter_that_training_used(tmp_path: Path, coloured: Splats) -> None:
    """Of splats thinner than a pixel, which the filter makes fainter."""
    thin = replace(coloured, scales=coloured.scales - 2.5)
    filtered = replace(thin, antialiased=True)
    wanted, look = expected(filtered)
    seen = {}
    for splats in (thin, filtered):
        encode_sog(splats, Precision()).files.write_bundle(tmp_path / "scene.sog")
        about = About("thin", len(splats), 1, "2026-01-31", splats.antialiased)
        write_standalone_page(tmp_path / "index.html", about, look, tmp_path / "scene.sog")
        with browser_page() as page:
            page.goto(f"file://{tmp_path}/index.html?webgl&noui&noanim")
            page.wait_for_selector("html[data-scene=loaded]", state="attached", timeout=120_000)
            time.sleep(1)
            seen[splats.antialiased] = screenshot(page, tmp_path / "seen.png")
    assert psnr(seen[True], wanted) > psnr(seen[True], expected(thin)[0]) + 5
    assert seen[False].mean() > 1.3 * seen[True].mean()


def test_the_streaming_page_shows_the_levels_of_detail(tmp_path: Path, coloured: Splats) -> None:
    wanted, look = expected(coloured)
    write_levels(tmp_path / "lod", levels_of_detail(coloured, 3), Precision(), lambda number: None)
    about = About("streamed", len(coloured), 1, "2026-01-31")
    write_streaming_page(tmp_path / "viewer" / "stream.html", about, look, "../lod/lod-meta.json", "../scene.sog")
    with served(tmp_path) as address, browser_page() as page:
        requests: list[str] = []
        page.on("request", lambda request: requests.append(request.url))
        page.goto(f"{address}/viewer/stream.html?webgl&noui&noanim&fullload")
        page.wait_for_selector("html[data-scene=loaded]", state="attached", timeout=120_000)
        time.sleep(2)
        assert_same_picture(screenshot(page, tmp_path / "seen.png"), wanted)
        assert any(url.endswith("/lod/0_0/meta.json") for url in requests)
        assert all(url.startswith((address, "blob:", "data:")) for url in requests)


def test_a_page_without_webgl_says_so(tmp_path: Path, coloured: Splats) -> None:
    _, look = expected(coloured)
    (tmp_path / "scene.sog").write_bytes(encode_sog(coloured, Precision()).files.pictures["quats.webp"])
    write_standalone_page(tmp_path / "index.html", About("t", 1, 1, "2026-01-31"), look, tmp_path / "scene.sog")
    with browser_page(["--disable-gpu", "--disable-software-rasterizer", "--no-sandbox"]) as page:
        page.goto(f"file://{tmp_path}/index.html?webgl")
        page.wait_for_selector("html[data-scene=failed]", state="attached", timeout=60_000)
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
const mesh = new SplatMesh({ url: "scene.sog" });
mesh.rotation.z = Math.PI;
scene.add(mesh);
await mesh.initialized;
let frames = 0;
renderer.setAnimationLoop(() => {
    renderer.render(scene, camera);
    if (++frames === 40) document.documentElement.dataset.scene = "loaded";
});
</script>"""


def test_spark_shows_the_same_scene(tmp_path: Path, coloured: Splats) -> None:
    from splatkit.view.shots import FIELD_OF_VIEW

    wanted, look = expected(coloured)
    shutil.copytree(need(MODULES / "@sparkjsdev" / "spark" / "dist"), tmp_path / "spark" / "dist")
    (tmp_path / "three").symlink_to(need(MODULES / "three"))
    encode_sog(coloured, Precision()).files.write_bundle(tmp_path / "scene.sog")
    away = look.radius / np.sin(np.arctan(np.tan(np.radians(FIELD_OF_VIEW / 2)) * SIZE["height"] / SIZE["width"]))
    flip = np.array([-1, -1, 1])
    target = np.array(look.target) * flip
    eye = target + away * np.array(look.towards) * flip
    text = SPARK_PAGE.replace("@EYE@", str(eye.tolist())).replace("@TARGET@", str(target.tolist()))
    (tmp_path / "index.html").write_text(text.replace("@FOV@", str(FIELD_OF_VIEW)))
    with served(tmp_path) as address, browser_page() as page:
        page.goto(f"{address}/index.html")
        page.wait_for_selector("html[data-scene=loaded]", state="attached", timeout=120_000)
        assert_same_picture(screenshot(page, tmp_path / "seen.png"), wanted)
