"""Libraries that start their own threads get the number of cores of the job, not of the host."""

import subprocess
import sys
from pathlib import Path

import pytest

from jobrunner.run.environment import with_thread_counts
from splatkit import threads
from splatkit.sfm.colmap import usable_threads

ROOT = Path(__file__).parents[3]
# A setting of -1, or a library's default, counts the cores of the host.
OWN_DEFAULTS = ("cpu_count(", "workers=-1", "num_threads=-1", "n_jobs=-1", "sched_getaffinity(")


@pytest.fixture
def two_of_sixteen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two reserved vCPUs on a host of sixteen cores."""
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: set(range(16)))
    monkeypatch.setattr(threads, "_limit", [0])
    monkeypatch.setenv("VCPUS", "2")


def test_one_file_of_the_stages_counts_cores() -> None:
    files = [*(ROOT / "jobs").glob("*.py"), *(ROOT / "jobs" / "splatkit").rglob("*.py")]
    counting = {path.name for path in files if any(each in path.read_text() for each in OWN_DEFAULTS)}
    assert counting == {"threads.py"}


@pytest.mark.usefixtures("two_of_sixteen")
def test_a_step_of_colmap_gets_the_reserved_vcpus() -> None:
    assert usable_threads(0) == 2
    assert usable_threads(5) == 5  # the user's own number


def test_every_part_of_a_mapping_gets_the_number_of_threads(tmp_path: Path) -> None:
    """COLMAP's pipelines have settings of -1 within them."""
    program = f"""
import sys
sys.path.insert(0, {str(ROOT / "jobs")!r})
import pycolmap
from splatkit.sfm import colmap_steps

def unset(options, name=""):
    found = []
    for each in dir(options):
        value = getattr(options, each)
        if each == "num_threads" and value == -1:
            found.append(name)
        if type(value).__module__.startswith("pycolmap") and type(value).__name__.endswith("Options"):
            found += unset(value, f"{{name}}.{{each}}")
    return found

def look(database, images, output, options, *_, **__):
    print(unset(options))
    return {{}}

pycolmap.global_mapping = pycolmap.incremental_mapping = look
request = {{"threads": 2, "database": "", "images": "", "output": "", "photos": 0}}
colmap_steps.global_mapping(request)
colmap_steps.incremental_mapping(request)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.split("\n")[:2] == ["[]", "[]"], done.stderr


def test_thread_counts_follow_the_reserved_vcpus_unless_they_are_set() -> None:
    assert with_thread_counts({"A": "b"}, None, 16) == {"A": "b"}
    found = with_thread_counts({"OMP_NUM_THREADS": "5"}, 2.0, 16)
    assert (found["OMP_NUM_THREADS"], found["NUMBA_NUM_THREADS"], found["VCPUS"]) == ("5", "2", "2")
    assert with_thread_counts({}, 0.5, 16)["VCPUS"] == "1"
    assert with_thread_counts({}, 64.0, 16)["NUMBA_NUM_THREADS"] == "16"  # numba refuses more than there are


def test_the_stages_use_the_reserved_vcpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: set(range(16)))
    monkeypatch.setattr(threads, "_limit", [0])
    monkeypatch.setenv("VCPUS", "2")
    assert threads.cores() == 2
    for odd in ("0", "", "-3", "many"):
        monkeypatch.setenv("VCPUS", odd)
        assert threads.cores() == 16
