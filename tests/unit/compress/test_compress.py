"""The stage as people run it: a folder in, a scene with its proof out, and errors that say what to do."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import compress
import numpy as np
import pytest
from PIL import Image
from sample_splats import ball

from splatkit.compress.inputs import held_out_by_training
from splatkit.compress.quality import Judge, estimated_loss
from splatkit.errors import DONE, FAILED, INPUT_ERROR, INTERRUPTED, Interrupted
from splatkit.formats import limits
from splatkit.formats.paletted import own_palette
from splatkit.formats.ply import write_ply
from splatkit.formats.sog import read_sog
from splatkit.splats import Splats, join
from splatkit.view.rendering import Renderer, to_bytes
from splatkit.view.shots import framing, ring
from splatkit.view.turning import UPRIGHT

Run = Callable[..., tuple[int, dict[str, Any]]]


def broken(splats: Splats, share: float) -> Splats:
    means = splats.means.copy()
    means[: int(share * len(means)), 1] = np.nan
    return replace(splats, means=means)


def left_behind(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {"result.json", "progress.json"}


def test_a_splat_becomes_all_that_a_visitor_needs(tmp_path: Path, run: Run, shiny_scene: Splats) -> None:
    write_ply(tmp_path / "in" / "splat.ply", shiny_scene)
    code, result = run("--title", "A ball")
    out = tmp_path / "out"
    assert (code, result["status"], result["error"]) == (DONE, "done", None)
    assert len(read_sog(out / "scene.sog")) == len(shiny_scene)
    metrics = result["metrics"]
    assert metrics["loss_db"] <= 0.3 and metrics["precision"] in ("usual", "fine", "finest")
    assert metrics["megabytes"] == round((out / "scene.sog").stat().st_size / 1e6, 3)
    assert metrics["times_smaller"] > 6  # more where there are more splats than entries of the palette
    report = json.loads((out / "report.json").read_text())
    parts = {name: size for name, size in report["bytes"].items() if name != "scene.sog"}
    assert 0 < report["bytes"]["scene.sog"] - sum(parts.values()) < 2000  # the zip's own headers
    assert {"means", "scales", "quats", "alpha", "sh0", "shN"} == set(report["attributes"])
    assert [level["splats"] for level in report["levels"]] == [5000, 2500, 1250]
    qualities, sizes = ([level[key] for level in report["levels"]] for key in ("psnr", "bytes"))
    assert qualities == sorted(qualities, reverse=True) and sizes == sorted(sizes, reverse=True)
    meta = json.loads((out / "lod" / "lod-meta.json").read_text())
    assert (meta["lodLevels"], meta["counts"]) == (3, [5000, 2500, 1250])
    assert all((out / "lod" / name).is_file() for name in meta["filenames"])
    assert "<h1>A ball</h1>" in (out / "viewer" / "index.html").read_text()
    assert "lod-meta.json" in (out / "viewer" / "stream.html").read_text()
    with Image.open(out / "thumbnail.png") as thumbnail:
        assert thumbnail.size == (640, 480) and np.asarray(thumbnail).std() > 20
    with av.open(str(out / "turntable.mp4")) as film:
        assert len(list(film.decode(video=0))) == 4


def test_the_plain_command_runs_and_tells_its_options(tmp_path: Path) -> None:
    asked = subprocess.run(
        [sys.executable, compress.__file__, "--help"], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    for option in ("--max-loss-db", "--target-mb", "--order", "--prune"):
        assert option in asked.stdout


def test_the_filter_of_training_goes_with_the_scene_and_can_be_given(
    tmp_path: Path, run: Run, shiny_scene: Splats
) -> None:
    write_ply(tmp_path / "in" / "splat.ply", replace(shiny_scene, antialiased=True))
    for options, mode in (((), "antialiased"), (("--rasterize-mode", "classic"), "classic")):
        assert run(*options)[0] == DONE
        assert json.loads((tmp_path / "out" / "report.json").read_text())["rasterize_mode"] == mode
        antialiased = mode == "antialiased"
        assert read_sog(tmp_path / "out" / "scene.sog").antialiased is antialiased
        levels = [read_sog(path).antialiased for path in (tmp_path / "out" / "lod").glob("*/meta.json")]
        assert len(levels) == 3 and all(level is antialiased for level in levels)
        page = (tmp_path / "out" / "viewer" / "index.html").read_text()
        assert f'"antialiased": {str(antialiased).lower()}' in page


def test_the_background_of_training_is_that_of_pictures_page_and_comparisons(
    tmp_path: Path, run: Run, shiny_scene: Splats
) -> None:
    write_ply(tmp_path / "in" / "splat.ply", replace(shiny_scene, on_white=True))
    scores = {}
    for options, colour in (((), "white"), (("--background", "black"), "black")):
        assert run(*options)[0] == DONE
        report = json.loads((tmp_path / "out" / "report.json").read_text())
        assert report["background"] == colour
        scores[colour] = [level["psnr"] for level in report["levels"]]
        page = (tmp_path / "out" / "viewer" / "index.html").read_text()
        assert f'"background": {{"color": {[1, 1, 1] if colour == "white" else [0, 0, 0]}}}' in page
        with Image.open(tmp_path / "out" / "thumbnail.png") as thumbnail:
            assert thumbnail.getpixel((0, 0)) == ((255, 255, 255) if colour == "white" else (0, 0, 0))
    assert scores["white"] != scores["black"]


def test_torch_is_not_loaded_whose_memory_a_large_scene_needs() -> None:
    script = "import sys, compress; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], cwd=Path(compress.__file__).parent).returncode == 0


def test_a_loss_that_is_too_large_raises_the_precision_until_it_holds(tmp_path: Path, run: Run) -> None:
    write_ply(tmp_path / "in" / "splat.ply", ball(3000, degree=2))
    _, usual = run("--levels", "1")
    limit = usual["metrics"]["loss_db"] / 2
    code, result = run("--levels", "1", "--max-loss-db", str(limit))
    assert code == DONE
    assert usual["metrics"]["precision"] == "usual" and result["metrics"]["precision"] in ("fine", "finest")
    assert result["metrics"]["loss_db"] <= limit
    assert result["metrics"]["megabytes"] > usual["metrics"]["megabytes"]


def test_a_loss_that_cannot_be_held_is_a_failure_that_keeps_the_scene(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_ply(tmp_path / "in" / "splat.ply", ball(2000))
    coarse = compress.STEPS_OF_PRECISION["least"]
    for step in ("usual", "fine", "finest"):
        monkeypatch.setitem(compress.STEPS_OF_PRECISION, step, coarse)
    code, result = run("--levels", "1", "--max-loss-db", "0.001")
    assert (code, result["error"]["code"]) == (FAILED, "quality_not_held")
    assert (tmp_path / "out" / "scene.sog").is_file() and result["metrics"]["loss_db"] > 0.001


@pytest.mark.parametrize("share", [0.8, 0.5, 0.15])
def test_a_target_size_is_met_with_the_finest_precision_that_fits(tmp_path: Path, run: Run, share: float) -> None:
    write_ply(tmp_path / "in" / "splat.ply", ball(8000, degree=1))
    _, usual = run("--levels", "1", "--turntable-frames", "0")
    target = usual["metrics"]["megabytes"] * share
    code, result = run("--levels", "1", "--turntable-frames", "0", "--target-mb", str(target))
    assert code == DONE
    assert 0.5 * target <= result["metrics"]["megabytes"] <= target
    assert result["metrics"]["loss_db"] > usual["metrics"]["loss_db"]
    merged = result["metrics"]["splats"] < 8000
    if share != 0.5:
        assert merged == (share == 0.15)  # only where precision alone does not do


def test_a_target_of_nothing_is_refused_and_leaves_nothing(tmp_path: Path, run: Run) -> None:
    write_ply(tmp_path / "in" / "splat.ply", ball(2000))
    code, result = run("--target-mb", "0.001")
    assert (code, result["error"]["code"]) == (INPUT_ERROR, "target_too_small")
    assert left_behind(tmp_path / "out") == set()


def test_broken_splats_are_dropped_and_counted(tmp_path: Path, run: Run) -> None:
    write_ply(tmp_path / "in" / "splat.ply", broken(ball(2000), 0.04))
    code, result = run("--levels", "1")
    assert (code, result["metrics"]["dropped"], result["metrics"]["splats"]) == (DONE, 80, 1920)
    assert json.loads((tmp_path / "out" / "report.json").read_text())["dropped"] == {"broken": 80}


def test_more_than_five_percent_broken_is_the_trainings_fault(tmp_path: Path, run: Run) -> None:
    write_ply(tmp_path / "in" / "splat.ply", broken(ball(2000), 0.06))
    code, result = run()
    assert (code, result["error"]["code"]) == (INPUT_ERROR, "broken_splats")
    assert "120 of 2,000" in result["error"]["cause"] and "means" in result["error"]["cause"]
    assert left_behind(tmp_path / "out") == set()


def test_an_earlier_runs_results_do_not_outlive_a_bad_input(tmp_path: Path, run: Run) -> None:
    write_ply(tmp_path / "in" / "splat.ply", ball(1200))
    assert run("--levels", "1")[0] == DONE
    (tmp_path / "in" / "splat.ply").write_bytes(b"ply\nformat binary_little_endian 1.0\n")
    assert run()[0] == INPUT_ERROR
    assert left_behind(tmp_path / "out") == set()


def test_invisible_splats_go_when_asked_and_only_then(tmp_path: Path, run: Run) -> None:
    seen, faint, stray = ball(1500), ball(300, seed=2), ball(20, seed=3)
    faint = replace(faint, opacities=np.full(300, -7, np.float32))
    stray = replace(stray, means=stray.means + np.float32(5000))
    write_ply(tmp_path / "in" / "splat.ply", join([seen, faint, stray]))
    kept = run("--levels", "1")[1]["metrics"]
    pruned = run("--levels", "1", "--prune")[1]["metrics"]
    assert kept["dropped"] == 0 and pruned["dropped"] == 320 + int((seen.alphas < 1 / 255).sum())
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["dropped"]["outside"] == 20


@pytest.mark.quality
def test_harmonics_that_are_left_out_count_as_loss_but_not_against_what_is_allowed(
    tmp_path: Path, run: Run, shiny_scene: Splats
) -> None:
    write_ply(tmp_path / "in" / "splat.ply", shiny_scene)
    code, result = run("--levels", "1", "--sh-degree", "0")
    assert (code, result["metrics"]["precision"]) == (DONE, "usual") and result["metrics"]["loss_db"] > 0.3
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["cut_db"] == pytest.approx(report["quality"]["loss_db"], rel=0.1)
    assert report["source"]["sh_degree"] == 3 and read_sog(tmp_path / "out" / "scene.sog").sh_degree == 0
    assert run("--levels", "1", "--sh-degree", "2")[1]["metrics"]["loss_db"] < report["cut_db"]


def test_the_same_command_twice_takes_the_same_splat(tmp_path: Path, run: Run) -> None:
    """The first run's results lie in the input folder then, and a SOG is a splat as well."""
    write_ply(tmp_path / "in" / "garden.ply", ball(600))
    for _ in range(2):
        code, result = run("--input-dir", str(tmp_path), "--levels", "1")
        assert code == DONE, result
    assert json.loads((tmp_path / "out" / "report.json").read_text())["source"]["file"] == "garden.ply"


def test_a_scene_of_invisible_splats_that_no_reader_would_believe_is_refused_and_pruned_it_is_not(
    tmp_path: Path, run: Run, shiny_scene: Splats, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "ALWAYS_BELIEVED", 1000)  # a million
    monkeypatch.setattr(limits, "SPLATS_PER_BYTE", 0.01)
    opacities = np.where(np.arange(len(shiny_scene)) < 50, shiny_scene.opacities, -12).astype(np.float32)
    write_ply(tmp_path / "in" / "splat.ply", replace(shiny_scene, opacities=opacities))
    code, result = run("--levels", "1")
    assert (code, result["error"]["code"]) == (INPUT_ERROR, "mostly_invisible")
    assert "4,950 of 5,000 splats are invisible" in result["error"]["cause"]
    assert "--prune" in result["error"]["fix"] and not (tmp_path / "out" / "scene.sog").exists()
    assert run("--levels", "1", "--prune", "--max-loss-db", "20")[0] == DONE


@pytest.mark.quality
def test_what_was_pruned_is_missed_where_pictures_showed_it(tmp_path: Path, run: Run) -> None:
    seen, wall = ball(1500), ball(4, seed=3)
    far = np.array([[0, 0, 150], [0, 0, -150], [150, 0, 0], [-150, 0, 0]], np.float32)
    wall = replace(wall, means=far, scales=np.full((4, 3), 4, np.float32), opacities=np.full(4, 5, np.float32))
    write_ply(tmp_path / "in" / "splat.ply", join([seen, wall]))
    # 59.5 and 14.7 dB
    assert run("--levels", "1")[1]["metrics"]["psnr"] > 40
    assert run("--levels", "1", "--prune", "--max-loss-db", "20")[1]["metrics"]["psnr"] < 30


def test_no_splat_and_several_splats_say_what_to_give(tmp_path: Path, run: Run) -> None:
    code, result = run()
    assert (code, result["error"]["code"]) == (INPUT_ERROR, "no_splat")
    for name in ("one.ply", "two.ply"):
        write_ply(tmp_path / "in" / name, ball(1200))
    code, result = run()
    assert result["error"]["code"] == "several_splats" and "one.ply, two.ply" in result["error"]["cause"]
    assert run("--splat", "two.ply", "--levels", "1")[0] == DONE
    assert run("--splat", "../../secret.ply")[1]["error"]["code"] == "no_splat"


@pytest.mark.parametrize(
    "arguments", [("--max-loss-db", "-1"), ("--levels", "0"), ("--order", "random"), ("--sh-degree", "4")]
)
def test_a_bad_option_is_refused_before_anything_runs(
    tmp_path: Path, arguments: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    code = compress.main(["--input-dir", str(tmp_path), "--output-dir", str(tmp_path / "out"), *arguments])
    assert code == INPUT_ERROR and arguments[1] in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.quality
def test_photos_that_training_held_out_are_the_judge_where_they_are(tmp_path: Path, run: Run) -> None:
    import pycolmap

    splats = ball(4000, degree=1)
    write_ply(tmp_path / "in" / "splat.ply", splats)
    write_dataset(tmp_path / "in", splats, pycolmap)
    code, result = run("--levels", "1", "--hold-out-every", "2")
    assert code == DONE
    assert result["metrics"]["loss_is"] == "measured against photos"
    # The photos are renders of the very splat with noise of 30 dB: less would mean that the cameras do not agree. It is
    # 31.4 dB, since noise is cut off at black.
    assert 29 < result["metrics"]["photo_psnr_after"] <= result["metrics"]["photo_psnr_before"] < 32
    assert result["metrics"]["views"] == 3
    assert 0.5 < result["metrics"]["photo_ssim_after"] <= result["metrics"]["photo_ssim_before"] < 0.999
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    for name in ("psnr_before", "psnr_after", "ssim_before", "ssim_after"):
        mean = np.mean([view[name] for view in report["quality"]["by_view"]])
        assert result["metrics"][f"photo_{name}"] == pytest.approx(mean, abs=1e-4)


def test_the_outputs_of_both_earlier_stages_lie_beside_each_other(tmp_path: Path, run: Run) -> None:
    """As a pipeline gives them: input/sfm/ and input/train/."""
    import pycolmap

    splats, folder = ball(3000, degree=1), tmp_path / "in"
    (folder / "train").mkdir()
    write_ply(folder / "train" / "splat.ply", splats)
    write_dataset(folder / "sfm", splats, pycolmap)
    (folder / "sfm" / "georeference.json").write_text("{}")
    held_out = [{"name": "2.png", "psnr": 30.0}, {"name": "5.png", "psnr": 30.0}]
    (folder / "train" / "metrics.json").write_text(json.dumps({"psnr": 30.0, "per_photo": held_out}))
    code, result = run("--levels", "1")
    assert code == DONE and result["metrics"]["loss_is"] == "measured against photos"
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert [view["name"] for view in report["quality"]["by_view"]] == ["2.png", "5.png"]
    assert 29 < result["metrics"]["photo_psnr_after"] < 32
    np.testing.assert_array_equal(report["turn"], UPRIGHT["z"])
    assert read_sog(tmp_path / "out" / "scene.sog").sh_degree == 1


@pytest.mark.parametrize("place", ["0", "."])
def test_a_model_lies_where_training_looks_for_it_too(tmp_path: Path, run: Run, place: str) -> None:
    import pycolmap

    splats, folder = ball(1200), tmp_path / "in"
    write_ply(folder / "splat.ply", splats)
    write_dataset(folder, splats, pycolmap)
    for file in (folder / "sparse" / "0").iterdir():
        (folder / place).mkdir(exist_ok=True)
        file.rename(folder / place / file.name)
    assert run("--levels", "1", "--hold-out-every", "2")[1]["metrics"]["loss_is"] == "measured against photos"


def test_photos_of_another_training_are_refused(tmp_path: Path, run: Run) -> None:
    import pycolmap

    splats = ball(1200)
    write_ply(tmp_path / "in" / "splat.ply", splats)
    write_dataset(tmp_path / "in", splats, pycolmap)
    (tmp_path / "in" / "metrics.json").write_text('{"per_photo": [{"name": "house/77.jpg"}]}')
    code, result = run()
    assert (code, result["error"]["code"]) == (INPUT_ERROR, "other_photos")
    assert "house/77.jpg" in result["error"]["cause"]
    assert left_behind(tmp_path / "out") == set()


@pytest.mark.parametrize(
    "content",
    ["{", "[]", '{"per_photo": 3}', '{"per_photo": []}', '{"psnr": 1}', '{"per_photo": [{"psnr": 1}]}', "[" * 100_000],
)
def test_another_programs_metrics_name_no_photos(tmp_path: Path, content: str) -> None:
    (tmp_path / "metrics.json").write_text(content)
    assert held_out_by_training(tmp_path / "splat.ply") is None


def test_photos_that_the_splat_was_trained_on_are_not_called_held_out(
    tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    import pycolmap

    splats = ball(1200)
    write_ply(tmp_path / "in" / "splat.ply", splats)
    write_dataset(tmp_path / "in", splats, pycolmap)
    (tmp_path / "in" / "metrics.json").write_text('{"photos": 6, "held_out": 0, "per_photo": []}')
    code, result = run("--levels", "1", "--hold-out-every", "100")  # more than there are
    assert (code, result["metrics"]["loss_is"], result["metrics"]["views"]) == (
        DONE,
        "measured against training photos",
        3,
    )
    (tmp_path / "in" / "metrics.json").unlink()
    assert run("--levels", "1", "--hold-out-every", "0")[1]["metrics"]["loss_is"] == "measured against training photos"
    said = capsys.readouterr().out
    assert "training photos" in said and "held-out" not in said


def test_the_metrics_hold_what_an_email_tells(tmp_path: Path, run: Run) -> None:
    write_ply(tmp_path / "in" / "splat.ply", ball(2000))
    metrics = run()[1]["metrics"]
    assert metrics["bytes"] == (tmp_path / "out" / "scene.sog").stat().st_size
    assert (metrics["splats"], metrics["levels"]) == (2000, 3)
    assert {"loss_db", "psnr", "ssim", "megabytes"} <= set(metrics)
    for name in ("scene", "page", "thumbnail"):
        assert (tmp_path / "out" / metrics[name]).is_file()


def test_nothing_temporary_is_left_whatever_happens(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    (tmp_path / "out" / ".lod.4711").mkdir(parents=True)  # of an earlier run that was killed
    write_ply(tmp_path / "in" / "splat.ply", ball(2000, degree=1))
    assert run("--target-mb", "0.001")[0] == INPUT_ERROR
    assert list(scratch.iterdir()) == [] and left_behind(tmp_path / "out") == set()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("splatkit.compress.lod_files.join_paletted", full)
    code, result = run("--levels", "2")
    assert (code, result["error"]["code"]) == (FAILED, "file_error")
    assert list(scratch.iterdir()) == []
    assert not [path.name for path in (tmp_path / "out").rglob(".*")]


def test_sigterm_within_compiled_code_is_an_interruption_and_no_bug(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise SystemError("a kernel returned a result with an exception set") from Interrupted()

    monkeypatch.setattr("compress.order_of", stopped)
    write_ply(tmp_path / "in" / "splat.ply", ball(1200))
    code, result = run()
    assert (code, result["status"], result["error"]["retryable"]) == (INTERRUPTED, "interrupted", True)


def write_dataset(folder: Path, splats: Splats, pycolmap: Any) -> None:
    """Six photos, rendered and made noisy, with the text model of the cameras they were rendered with."""
    sparse = folder / "sparse" / "0"
    for made in (sparse, folder / "images"):
        made.mkdir(parents=True)
    shots = ring(framing(splats), 6, 160, 120)
    renderer = Renderer(own_palette(splats))
    focal = shots[0].intrinsics[0, 0]
    (sparse / "cameras.txt").write_text(f"1 PINHOLE 160 120 {focal} {focal} 80 60\n")
    lines = []
    for i, shot in enumerate(shots, 1):
        noise = np.random.default_rng(i).normal(0, 0.032, (120, 160, 3))
        photo = to_bytes((renderer.render(shot) + noise).clip(0, 1))
        Image.fromarray(photo).save(folder / "images" / f"{i}.png")
        x, y, z, w = pycolmap.Rotation3d(shot.camera_from_world[:3, :3]).quat
        place = " ".join(map(str, shot.camera_from_world[:3, 3]))
        lines += [f"{i} {w} {x} {y} {z} {place} 1 {i}.png", ""]
    (sparse / "images.txt").write_text("\n".join(lines) + "\n")
    points = [f"{i} {x} {y} {z} 128 128 128 0.5" for i, (x, y, z) in enumerate(splats.means[:50], 1)]
    (sparse / "points3D.txt").write_text("\n".join(points) + "\n")


def test_the_estimated_loss_is_that_of_an_independent_error() -> None:
    draw = np.random.default_rng(0)
    truth = draw.uniform(0.3, 0.7, (300, 400))
    trained = truth + draw.normal(0, 10 ** (-30 / 20), truth.shape)
    coded = trained + draw.normal(0, 10 ** (-40 / 20), truth.shape)
    before, after = (-10 * np.log10(((image - truth) ** 2).mean()) for image in (trained, coded))
    assert estimated_loss(40) == pytest.approx(before - after, abs=0.02)


@pytest.mark.quality
def test_the_judge_finds_no_difference_where_there_is_none_and_a_small_one_where_it_is_small() -> None:
    splats = ball(2000)
    judge = Judge(splats, ring(framing(splats), 2, 120, 90), lambda done, total: None)
    assert judge.compare(own_palette(splats)).loss_db < 1e-6
    dimmer = replace(splats, sh0=splats.sh0 - np.float32(0.05))
    assert 0.001 < judge.compare(own_palette(dimmer)).loss_db < 3


def test_without_the_web_viewer_nothing_is_begun_and_the_cure_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("splatkit.view.viewer_page.VIEWER", tmp_path / "supersplat-viewer.json")
    write_ply(tmp_path / "splat.ply", ball(100))
    code = compress.main(["--input-dir", str(tmp_path), "--output-dir", str(tmp_path / "out")])
    error = json.loads((tmp_path / "out" / "result.json").read_text())["error"]
    assert (code, error["code"]) == (FAILED, "no_viewer")
    assert "make viewer" in error["fix"]
