"""What of a local folder is uploaded: links lead to what they name, and what cannot be sent is refused by name."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Splatworks = Callable[..., Any]


def put(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def uploaded(deployed: Any) -> list[str]:
    return [key for key in deployed.keys("demo-input") if key.startswith("photos/")]


def test_links_to_folders_are_followed(deployed: Any, splatworks: Splatworks, tmp_path: Path) -> None:
    elsewhere = put(tmp_path / "elsewhere", "2.jpg", "deep/3.jpg", ".hidden")
    mixed = put(tmp_path / "mixed", "flight1/1.jpg")
    (mixed / "flight2").symlink_to(elsewhere)
    (mixed / "4.jpg").symlink_to(elsewhere / "2.jpg")
    only_links = tmp_path / "links"
    only_links.mkdir()
    (only_links / "flight2").symlink_to(elsewhere)
    assert "4 files uploaded" in splatworks("submit", mixed).err
    assert "2 files uploaded" in splatworks("submit", only_links).err
    assert uploaded(deployed) == [
        "photos/links/flight2/2.jpg",
        "photos/links/flight2/deep/3.jpg",
        "photos/mixed/4.jpg",
        "photos/mixed/flight1/1.jpg",
        "photos/mixed/flight2/2.jpg",
        "photos/mixed/flight2/deep/3.jpg",
    ]


def test_a_script_on_this_machine_reads_what_links_lead_to(
    splatworks: Splatworks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = put(tmp_path / "in", "1.jpg")
    (folder / "more").symlink_to(put(tmp_path / "elsewhere", "2.jpg"))
    script = tmp_path / "count.py"
    script.write_text(
        "import json, os\nfrom pathlib import Path\n"
        "names = sorted(path.name for path in Path(os.environ['INPUT_DIR']).rglob('*.jpg'))\n"
        "(Path(os.environ['OUTPUT_DIR']) / 'names.json').write_text(json.dumps(names))\n"
    )
    ended = splatworks("run-local", script, "--input", folder, "--output", tmp_path / "out")
    assert ended.code == 0, ended.err
    assert json.loads((tmp_path / "out" / "names.json").read_text()) == ["1.jpg", "2.jpg"]


def test_links_that_lead_nowhere_are_all_named(deployed: Any, splatworks: Splatworks, tmp_path: Path) -> None:
    folder = put(tmp_path / "mixed", "1.jpg")
    (folder / "gone").symlink_to(tmp_path / "unmounted")
    (folder / "sub").mkdir()
    (folder / "sub" / "2.jpg").symlink_to("3.jpg")
    (folder / "circle").symlink_to("circle")
    (folder / ".#lock").symlink_to("user@host")  # as editors make them; hidden files stay here
    ended = splatworks("submit", folder)
    assert (ended.code, uploaded(deployed), deployed.messages()) == (2, [], [])
    for name in ("circle", "gone", "sub/2.jpg"):
        assert f"  {name} is a link that leads nowhere\n" in ended.err
    assert ended.err.count("Mend such links, or remove them.") == 1
    assert ".#lock" not in ended.err


@pytest.mark.parametrize(
    ("link", "target", "told"),
    [
        ("latest", "flight1", "latest is the same folder as flight1"),
        ("loop", ".", "loop leads back to the folder that holds it"),
        ("up", "..", "up leads back to the folder that holds it"),
        ("flight1/deep/loop", "..", "flight1/deep/loop is the same folder as flight1"),
    ],
)
def test_no_folder_is_sent_twice_or_for_ever(
    deployed: Any, splatworks: Splatworks, tmp_path: Path, link: str, target: str, told: str
) -> None:
    folder = put(tmp_path / "batch", "flight1/1.jpg", "flight1/deep/2.jpg")
    (folder / link).symlink_to(target)
    ended = splatworks("submit", folder)
    assert (ended.code, uploaded(deployed)) == (2, [])
    assert told in ended.err
    assert "Remove such links" in ended.err


def test_names_that_are_not_utf8_are_all_told_readably(deployed: Any, splatworks: Splatworks, tmp_path: Path) -> None:
    folder = put(tmp_path / "umlauts", "1.jpg", "deep/2.jpg")
    for name in (b"B\xe4r.jpg", b"deep/\xff.jpg"):
        try:
            (folder / os.fsdecode(name)).write_text("x")
        except OSError:
            pytest.skip("this file system takes UTF-8 only")
    ended = splatworks("submit", folder)
    assert (ended.code, uploaded(deployed)) == (2, [])
    for name in (r"B\xe4r.jpg", r"deep/\xff.jpg"):
        assert f"  {name} has a name that is not UTF-8\n" in ended.err
    assert "Rename it" in ended.err


def test_a_folder_that_may_not_be_read_is_not_left_out(
    deployed: Any, splatworks: Splatworks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = put(tmp_path / "scene", "1.jpg", "closed/2.jpg")
    original = Path.iterdir

    def refusing(path: Path) -> Any:
        if path.name == "closed":  # root, as whom tests may run, reads everything
            raise PermissionError(13, "Permission denied", str(path))
        return original(path)

    monkeypatch.setattr(Path, "iterdir", refusing)
    ended = splatworks("submit", folder)
    assert (ended.code, uploaded(deployed)) == (2, [])
    assert "  closed cannot be read: Permission denied\n" in ended.err


def test_links_in_an_input_do_not_cost_the_last_result(
    splatworks: Splatworks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    out = put(tmp_path / "out", ".splatworks-run-local", "result.jpg")
    folder = put(tmp_path / "in", "1.jpg")
    (tmp_path / "job.py").write_text("print('ran')")
    for target, told in ((tmp_path / "gone", "is a link that leads nowhere"), (out, "one lies in the other")):
        (folder / "link").unlink(missing_ok=True)
        (folder / "link").symlink_to(target)
        ended = splatworks("run-local", tmp_path / "job.py", "--input", folder, "--output", out)
        assert (ended.code, told in ended.err, "ran" in ended.out) == (2, True, False)
        assert (out / "result.jpg").exists()
