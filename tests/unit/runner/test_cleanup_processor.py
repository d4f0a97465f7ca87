"""jobs/cleanup_processor.py as the command that the runner starts."""

import json
import os
import subprocess
import sys
from pathlib import Path

import cleanup_processor
import pytest

SCRIPT = Path(__file__).parents[3] / "jobs" / "cleanup_processor.py"


class Cache:
    def __init__(self, folder: Path) -> None:
        self.models, self.output = folder / "models", folder / "output"
        self.models.mkdir()

    def write(self, name: str, size: int) -> Path:
        path = self.models / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * size)
        return path

    def run(self, operation: str | None = "cleanup-cache") -> subprocess.CompletedProcess[str]:
        environment = {"PATH": os.environ["PATH"], "MODELS_DIR": str(self.models), "OUTPUT_DIR": str(self.output)}
        if operation is not None:
            environment["OPERATION"] = operation
        return subprocess.run([sys.executable, SCRIPT], env=environment, capture_output=True, text=True)

    def told(self, name: str) -> dict:
        return json.loads((self.output / name).read_text())


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path)


def test_the_cache_is_emptied_and_the_mount_stays(cache: Cache) -> None:
    cache.write("a.pt", 1000)
    cache.write("hub/models/b.bin", 500)
    cache.write("hub/.hidden", 0)
    inode = cache.models.stat().st_ino
    done = cache.run()
    assert done.returncode == 0, done.stderr
    assert list(cache.models.iterdir()) == [] and cache.models.stat().st_ino == inode
    assert "freed 1.5 KB in 3 files" in done.stdout
    assert cache.told("result.json") == {
        "version": 1,
        "stage": "cleanup_processor",
        "status": "done",
        "metrics": {"files": 3, "bytes": 1500, "kept": 0},
        "error": None,
    }
    assert cache.told("progress.json")["fraction"] == 1.0


def test_an_empty_cache_is_fine(cache: Cache) -> None:
    assert cache.run().returncode == 0
    assert cache.told("result.json")["metrics"]["files"] == 0


def test_links_are_deleted_and_what_they_point_to_is_not(cache: Cache, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "photo.jpg").write_text("kept")
    (cache.models / "folder").symlink_to(tmp_path / "precious")
    (cache.models / "file").symlink_to(tmp_path / "precious" / "photo.jpg")
    (cache.models / "broken").symlink_to(tmp_path / "nowhere")
    assert cache.run().returncode == 0
    assert (tmp_path / "precious" / "photo.jpg").read_text() == "kept"
    assert list(cache.models.iterdir()) == []


def test_files_that_another_job_deletes_meanwhile_are_no_error(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        cache.write(f"{number}.pt", 10)
    real, seen = os.unlink, []

    def unlink(name: str, *, dir_fd: int) -> None:
        seen.append(name)
        real(name, dir_fd=dir_fd)
        if len(seen) == 2:  # another job is quicker with all the rest
            for path in cache.models.iterdir():
                path.unlink()

    monkeypatch.setattr(cleanup_processor.os, "unlink", unlink)
    monkeypatch.setattr(Path, "unlink", lambda self: real(self))
    reporter = cleanup_processor.Reporter(cache.output, "test")
    assert cleanup_processor.cleanup_cache(cache.models, reporter) == 0
    assert cache.told("result.json")["metrics"] == {"files": 2, "bytes": 20, "kept": 0}


def test_what_cannot_be_deleted_is_named_and_the_job_fails(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.write("sub/locked.pt", 10)
    real = os.unlink

    def unlink(name: str, *, dir_fd: int) -> None:
        if name == "locked.pt":
            raise PermissionError(13, "Permission denied")
        real(name, dir_fd=dir_fd)

    monkeypatch.setattr(cleanup_processor.os, "unlink", unlink)
    reporter = cleanup_processor.Reporter(cache.output, "test")
    assert cleanup_processor.cleanup_cache(cache.models, reporter) == 1
    error = cache.told("result.json")["error"]
    assert error["code"] == "not_emptied" and "locked.pt: Permission denied" in error["cause"]


@pytest.mark.parametrize("operation", [None, "", "clean-cache"])
def test_an_unknown_operation_names_the_known_ones(cache: Cache, operation: str | None) -> None:
    kept = cache.write("a.pt", 10)
    done = cache.run(operation)
    assert done.returncode == 2 and "cleanup-cache" in done.stderr and kept.exists()
    result = cache.told("result.json")
    assert (result["status"], result["error"]["code"]) == ("input_error", "unknown_operation")


def test_a_cache_that_is_not_mounted_is_said(cache: Cache) -> None:
    cache.models.rmdir()
    assert cache.run().returncode == 1
    assert cache.told("result.json")["error"]["code"] == "no_cache"


def test_help_names_the_operations() -> None:
    done = subprocess.run([sys.executable, SCRIPT, "--help"], capture_output=True, text=True, check=True)
    assert "cleanup-cache" in done.stdout
