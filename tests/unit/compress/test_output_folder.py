"""The output folder: an earlier run's results go, and nothing else ever does."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import compress
import pytest
from sample_splats import ball

from splatkit.compress.outputs import FILES, FOLDERS, MADE_BY, NAMES, clear_output
from splatkit.compress.sog_encoder import Precision, encode_sog
from splatkit.errors import StageError
from splatkit.formats.paletted import own_palette
from splatkit.formats.ply import write_ply
from splatkit.stage import write_json
from splatkit.stage_files import REPORT
from splatkit.view.rendering import Renderer
from splatkit.view.shots import framing, ring
from splatkit.view.turntable import write_thumbnail, write_turntable
from splatworks.contract.exit_codes import ExitCode

Run = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def splat(tmp_path: Path) -> Path:
    write_ply(tmp_path / "splat.ply", ball(10))
    return tmp_path / "splat.ply"


def earlier_run(folder: Path) -> None:
    (folder / "lod" / "0_0").mkdir(parents=True)
    (folder / "viewer").mkdir()
    for name in (*FILES, "lod/lod-meta.json", "lod/0_0/meta.json", "viewer/index.html", "viewer/stream.html"):
        (folder / name).write_text("{}")
    (folder / "viewer" / ".index.html.4711").touch()
    (folder / REPORT).write_text(json.dumps({**MADE_BY, "splats": 1}))


def everything_in(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("given", ["", "scene.sog"])
def test_a_scene_in_the_output_folder_is_no_input_and_stays(run: Run, tmp_path: Path, given: str) -> None:
    encode_sog(ball(600), Precision()).files.write_bundle(tmp_path / "out.sog")
    (tmp_path / "out").mkdir()
    scene = (tmp_path / "out.sog").rename(tmp_path / "out" / "scene.sog")
    before = scene.read_bytes()
    for report in (None, json.dumps(MADE_BY)):  # nor where an earlier run wrote it
        if report:
            (tmp_path / "out" / REPORT).write_text(report)
        code, result = run("--input-dir", str(tmp_path / "out" / given))
        assert (code, result["error"]["code"]) == (ExitCode.INPUT_ERROR, "input_in_output")
        assert str(scene) in result["error"]["cause"] and scene.read_bytes() == before


@pytest.mark.parametrize("name", ["lod/0_0/meta.json", "lod/0_0", "viewer/index.html", "thumbnail.png"])
def test_nor_is_what_lies_deeper_or_is_reached_by_a_link(tmp_path: Path, name: str) -> None:
    out, link = tmp_path / "out", tmp_path / "elsewhere.ply"
    earlier_run(out)
    link.symlink_to(out / name)
    before = everything_in(out)
    for given in (out / name, link, tmp_path / "out" / "lod" / ".." / name):
        with pytest.raises(StageError) as refused:
            clear_output(out, given)
        assert refused.value.code == "input_in_output"
    assert everything_in(out) == before


def test_a_link_among_the_results_is_no_input_though_it_leads_out_of_them(tmp_path: Path, splat: Path) -> None:
    out = tmp_path / "out"
    earlier_run(out)
    (out / "lod" / "0_0" / "mine.ply").symlink_to(splat)
    before = everything_in(out)
    with pytest.raises(StageError) as refused:
        clear_output(out, out / "lod" / "0_0" / "mine.ply")
    assert refused.value.code == "input_in_output" and everything_in(out) == before


def test_an_earlier_runs_results_go_and_what_lies_beside_them_stays(tmp_path: Path, splat: Path) -> None:
    out = tmp_path / "out"
    earlier_run(out)
    (out / ".lod.4711").mkdir()
    (out / ".report.json.4711.99").touch()
    kept = {"splat.ply", "metrics.json", ".scene.sog.mine", ".viewer"}
    for name in kept:
        (out / name).touch()
    clear_output(out, out / "splat.ply")
    assert {path.name for path in out.iterdir()} == kept


def test_results_from_before_reports_named_their_maker_are_known_too(tmp_path: Path, splat: Path) -> None:
    earlier_run(tmp_path / "out")
    facts = {"source": {}, "dropped": {}, "turn": [], "precision": "usual", "held": True, "bytes": {}}
    (tmp_path / "out" / REPORT).write_text(json.dumps(facts))
    clear_output(tmp_path / "out", splat)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("name", NAMES)
def test_what_no_earlier_run_wrote_is_refused_by_its_path_and_stays(tmp_path: Path, splat: Path, name: str) -> None:
    out = tmp_path / "out"
    out.mkdir()
    if name in FOLDERS:
        (out / name).mkdir()
        (out / name / "my_source.txt").touch()
    else:
        (out / name).write_text('{"generator": "another program"}' if name != REPORT else "[" * 100_000)
    before = everything_in(out)
    with pytest.raises(StageError) as refused:
        clear_output(out, splat)
    assert (refused.value.code, refused.value.exit_code) == ("output_in_use", ExitCode.INPUT_ERROR)
    assert str(out / name) in refused.value.cause
    assert everything_in(out) == before


@pytest.mark.parametrize("name", ["lod/notes.txt", "viewer/index.js", "lod/0_0.zip"])
def test_nor_does_what_was_put_among_the_results(tmp_path: Path, splat: Path, name: str) -> None:
    earlier_run(tmp_path / "out")
    (tmp_path / "out" / name).touch()
    before = everything_in(tmp_path / "out")
    with pytest.raises(StageError, match=name.split("/")[0]):
        clear_output(tmp_path / "out", splat)
    assert everything_in(tmp_path / "out") == before


def test_a_link_in_the_place_of_a_result_goes_and_what_it_leads_to_stays(tmp_path: Path, splat: Path) -> None:
    earlier_run(tmp_path / "out")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "page.html").touch()
    for file in (tmp_path / "out" / "viewer").iterdir():
        file.unlink()
    (tmp_path / "out" / "viewer").rmdir()
    (tmp_path / "out" / "viewer").symlink_to(tmp_path / "mine")
    clear_output(tmp_path / "out", splat)
    assert list((tmp_path / "out").iterdir()) == [] and (tmp_path / "mine" / "page.html").exists()


def test_the_stages_own_folder_is_no_output_folder(splat: Path) -> None:
    jobs = Path(compress.__file__).parent
    before = everything_in(jobs / "viewer")
    with pytest.raises(StageError, match="viewer"):
        clear_output(jobs, splat)
    assert everything_in(jobs / "viewer") == before


def test_a_splat_that_is_not_found_leaves_the_earlier_results_and_the_next_replaces_them(
    run: Run, tmp_path: Path
) -> None:
    write_ply(tmp_path / "in" / "splat.ply", ball(600))
    assert run("--levels", "1")[0] == ExitCode.DONE
    before = (tmp_path / "out" / "scene.sog").read_bytes()
    assert run("--levels", "1", "--splat", "typo.ply")[0] == ExitCode.INPUT_ERROR
    assert (tmp_path / "out" / "scene.sog").read_bytes() == before
    write_ply(tmp_path / "in" / "splat.ply", ball(700))
    assert run("--levels", "1")[0] == ExitCode.DONE
    assert (tmp_path / "out" / "scene.sog").read_bytes() != before


def test_what_a_killed_run_wrote_is_known_as_ours(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_ply(tmp_path / "in" / "splat.ply", ball(600))
    with monkeypatch.context() as patch:
        patch.setattr("compress.write_detail", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left")))
        assert run()[1]["error"]["code"] == "file_error"
    assert (tmp_path / "out" / "scene.sog").is_file()
    assert run()[0] == ExitCode.DONE


class DiskFullError(OSError):
    pass


def half_written(path: Path, *_: Any, **__: Any) -> None:
    path.write_bytes(b"half")
    raise DiskFullError(28, "No space left on device")


def test_on_a_full_disk_no_half_of_a_file_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    splats = ball(100)
    renderer, frame = Renderer(own_palette(splats)), framing(splats)
    shot = ring(frame, 1, 64, 48)[0]
    monkeypatch.setattr("PIL.Image.Image.save", lambda _, path, *__, **___: half_written(path))
    with pytest.raises(DiskFullError):
        write_thumbnail(tmp_path / "thumbnail.png", renderer, shot)
    monkeypatch.setattr("splatkit.view.turntable.ring", lambda *_: [shot])
    monkeypatch.setattr("av.open", lambda path, *_, **__: half_written(Path(path)))
    with pytest.raises(DiskFullError):
        write_turntable(tmp_path / "turntable.mp4", renderer, frame, 1, 0.0, lambda done, total: None)
    monkeypatch.setattr(Path, "write_text", half_written)
    (tmp_path / "result.json").touch()
    with pytest.raises(DiskFullError):
        write_json(tmp_path / "result.json", {"status": "done"})
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]
    assert (tmp_path / "result.json").read_bytes() == b""  # as it was


@pytest.mark.parametrize("below", ["", "further/down"])
def test_a_file_in_the_place_of_the_output_folder_is_said_and_stays(
    below: str, splat: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("mine")
    out = tmp_path / "file" / below
    assert compress.main(["--input-dir", str(splat.parent), "--output-dir", str(out)]) == ExitCode.INPUT_ERROR
    said = capsys.readouterr().err
    assert f"--output-dir {out} cannot be a folder to write to" in said and "Errno" not in said
    assert (tmp_path / "file").read_text() == "mine"
