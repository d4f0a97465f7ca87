"""splatworks run-local: the real runner on this machine, and what the e-mail would have said."""

import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Splatworks = Callable[..., Any]

COUNT = """
import json, os, sys
from pathlib import Path
names = sorted(path.name for path in Path(os.environ["INPUT_DIR"]).rglob("*") if path.is_file())
facts = {
    "names": names,
    "args": sys.argv[1:],
    "n": os.environ.get("PARAM_N"),
    "operation": os.environ.get("OPERATION"),
    "compute_type": os.environ["COMPUTE_TYPE"],
    "beside": sorted(os.listdir(Path(__file__).parent)),
    "home_keys": [name for name in os.environ if name == "SECRET_OF_THE_LAPTOP"],
}
(Path(os.environ["OUTPUT_DIR"]) / "count.json").write_text(json.dumps(facts))
print("counted", len(names))
"""


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_script_finds_what_the_platform_would_give_it(
    splatworks: Splatworks, tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_THE_LAPTOP", "x")
    script = write(tmp_path / "work" / "count.py", COUNT)
    write(tmp_path / "work" / "other.py", "")
    options = ["--set", "n=7", "--args", "--limit 5", "--operation", "count", "--output", tmp_path / "out"]
    ended = splatworks("run-local", script, "--input", photos, *options)
    assert ended.code == 0, ended.err
    assert json.loads((tmp_path / "out" / "count.json").read_text()) == {
        "names": ["1.jpg", "2.jpg", "3.jpg"],
        "args": ["--limit", "5"],
        "n": "7",
        "operation": "count",
        "compute_type": "cpu",
        "beside": ["count.py"],
        "home_keys": [],
    }
    report = json.loads((tmp_path / "out" / "job.json").read_text())
    assert (report["ended"], report["script"]["key"], report["parameters"]) == ("done", "jobs/count.py", {"n": 7})
    assert (tmp_path / "out" / "_SUCCESS").exists()
    assert "counted 3" in ended.out
    assert "is done" in ended.err
    assert "aws sns publish" not in ended.err


@pytest.mark.parametrize(
    ("text", "code", "told"),
    [
        ("import sys; sys.exit(2)", 2, "the input is at fault"),
        ("raise RuntimeError('no luck')", 1, "RuntimeError: no luck"),
        ("import sys; sys.exit(75)", 75, "FAILED"),
        ("print('did nothing')", 0, "but left no output"),
    ],
)
def test_how_it_ended_is_told_as_the_email_would_and_is_the_exit_code(
    splatworks: Splatworks, tmp_path: Path, text: str, code: int, told: str
) -> None:
    ended = splatworks("run-local", write(tmp_path / "job.py", text), "--output", tmp_path / "out")
    assert ended.code == code
    assert told in ended.err
    assert json.loads((tmp_path / "out" / "job.json").read_text())["exit_code"] == code


def test_a_script_that_takes_more_memory_than_it_may_is_ended_as_on_the_platform(
    splatworks: Splatworks, tmp_path: Path
) -> None:
    script = write(tmp_path / "eat.py", "import time\nx = bytearray(b'x') * 400_000_000\ntime.sleep(30)")
    ended = splatworks("run-local", script, "--memory", "200", "--output", tmp_path / "out")
    assert ended.code == 137
    assert "out of memory" in ended.err
    assert "200 MiB" in ended.err
    assert "Queue:" not in ended.err


def test_a_script_beside_requirements_brings_its_folder_and_gets_its_packages(
    splatworks: Splatworks, tmp_path: Path
) -> None:
    wheel = little_wheel(tmp_path / "wheels")
    folder = tmp_path / "my job"
    script = write(
        folder / "main.py",
        "import os, little, lib.part\nopen(os.environ['OUTPUT_DIR'] + '/x', 'w').write(little.WORD + lib.part.WORD)",
    )
    write(folder / "lib" / "part.py", "WORD = 'part'")
    write(folder / ".git" / "config", "")
    write(folder / "requirements.txt", f"{wheel.as_uri()}\n")
    ended = splatworks("run-local", script, "--output", tmp_path / "out")
    assert ended.code == 0, ended.out + ended.err
    assert (tmp_path / "out" / "x").read_text() == "littlepart"
    assert json.loads((tmp_path / "out" / "job.json").read_text())["script"]["key"] == "jobs/my-job/main.py"


def test_a_script_that_travels_alone_takes_the_requirements_of_its_name(splatworks: Splatworks, tmp_path: Path) -> None:
    wheel = little_wheel(tmp_path / "wheels")
    script = write(tmp_path / "alone.py", "import os, little\nopen(os.environ['OUTPUT_DIR'] + '/x', 'w')")
    assert splatworks("run-local", script, "--output", tmp_path / "out").code == 1
    write(tmp_path / "alone.requirements.txt", f"{wheel.as_uri()}\n")
    assert splatworks("run-local", script, "--output", tmp_path / "out").code == 0


def little_wheel(folder: Path) -> Path:
    folder.mkdir()
    path = folder / "little-1.0-py3-none-any.whl"
    info = "little-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("little.py", "WORD = 'little'\n")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: little\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return path


def test_an_output_folder_with_other_files_is_not_touched(splatworks: Splatworks, tmp_path: Path) -> None:
    script = write(tmp_path / "job.py", "print('x')")
    kept = write(tmp_path / "out" / "thesis.txt", "years of work")
    ended = splatworks("run-local", script, "--output", tmp_path / "out")
    assert ended.code == 2
    assert kept.read_text() == "years of work"


@pytest.mark.parametrize(
    ("reads", "output"),
    [
        (["b.py", "--input", "a-output"], "a-output"),
        (["b.py", "--input", "a-output/deep"], "a-output"),
        (["b.py", "--input", "a-output/a.txt"], "a-output"),
        (["b.py", "--input", "link"], "a-output"),
        (["b.py", "--input", "a-output"], "a-output/deep"),
        (["a-output/a.py"], "a-output"),
        (["b.py", "--requirements", "a-output/a.txt"], "a-output"),
    ],
)
def test_what_a_script_reads_is_never_replaced_by_its_output(
    splatworks: Splatworks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reads: list[str], output: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "b.py", "print('ran')")
    kept = [write(tmp_path / "a-output" / name, "") for name in ("a.txt", "a.py", "deep/b.txt")]
    for folder in ("a-output", "a-output/deep"):
        write(tmp_path / folder / ".splatworks-run-local", "")
    (tmp_path / "link").symlink_to(tmp_path / "a-output" / "deep")
    ended = splatworks("run-local", *reads, "--output", output)
    assert (ended.code, "one lies in the other" in ended.err, "--output" in ended.err) == (2, True, True)
    assert all(path.exists() for path in kept)


def test_a_mistake_in_the_options_does_not_cost_the_last_result(splatworks: Splatworks, tmp_path: Path) -> None:
    script = write(tmp_path / "job.py", "import os\nopen(os.environ['OUTPUT_DIR'] + '/x', 'w')")
    assert splatworks("run-local", script, "--output", tmp_path / "out").code == 0
    assert splatworks("run-local", script, "--output", tmp_path / "out", "--set", "a=1", "--set", "A=2").code == 2
    assert (tmp_path / "out" / "x").exists()


def test_results_beside_a_script_do_not_travel_with_its_folder(
    splatworks: Splatworks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "requirements.txt", "")
    write(tmp_path / "main.py", COUNT)
    for _ in range(2):
        ended = splatworks("run-local", "main.py")
        assert ended.code == 0, ended.err
    assert json.loads((tmp_path / "main-output" / "count.json").read_text())["beside"] == [
        "main.py",
        "requirements.txt",
    ]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["none.py"], "There is no file none.py"),
        (["notes.txt"], "does not end in .py"),
        (["job.py", "--input", "nowhere"], "There is no folder or file nowhere"),
        (["job.py", "--requirements", "nowhere.txt"], "There is no file nowhere.txt"),
        (["job.py", "--set", "n"], "name=value"),
        (["job.py", "--set", "a=1", "--set", "A=2"], "PARAM_A"),
        (["job.py", "--operation", "a b"], "data.operation"),
        (["bad name\n.py"], "data.script_key"),
    ],
)
def test_a_mistake_is_told_before_anything_runs(
    splatworks: Splatworks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("job.py", "notes.txt", "bad name\n.py"):
        write(tmp_path / name, "print('ran')")
    ended = splatworks("run-local", *arguments)
    assert ended.code == 2
    assert told in ended.err
    assert "ran" not in ended.out


def test_a_folder_that_is_no_scripts_folder_does_not_travel(
    splatworks: Splatworks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("splatworks.cli.local_script.MOST_FILES", 2)
    script = write(tmp_path / "home" / "job.py", "print('ran')")
    for name in ("requirements.txt", "a.jpg", "b.jpg"):
        write(tmp_path / "home" / name, "")
    ended = splatworks("run-local", script, "--output", tmp_path / "out")
    assert ended.code == 2
    assert "--alone" in ended.err
    assert splatworks("run-local", script, "--alone", "--output", tmp_path / "out").code == 0


def test_ctrl_c_is_the_sigterm_of_a_reclaimed_machine(tmp_path: Path) -> None:
    script = write(
        tmp_path / "long.py",
        "import os, signal, sys, time\n"
        "def stop(*_):\n"
        "    open(os.environ['OUTPUT_DIR'] + '/saved', 'w')\n"
        "    sys.exit(75)\n"
        "signal.signal(signal.SIGTERM, stop)\n"
        "print('begun', flush=True)\n"
        "time.sleep(60)\n",
    )
    command = [sys.executable, "-m", "splatworks", "run-local", script, "--output", tmp_path / "out"]
    root = Path(__file__).parents[3]
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache"), "PYTHONPATH": str(root)}
    pipe = subprocess.PIPE
    # Tests that were started in the background ignore the signal, and so would the child.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=pipe, stderr=pipe, text=True)
    signal.signal(signal.SIGINT, before)
    assert process.stdout is not None
    for line in process.stdout:
        if "begun" in line:
            break
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 75, out + err
    assert (tmp_path / "out" / "saved").exists()
    assert "Traceback" not in out + err
