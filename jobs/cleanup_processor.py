"""Empties the shared model cache: `operation: cleanup-cache` deletes all below MODELS_DIR (EFS, at /opt/models).

It stands alone: the message names it as jobs/cleanup_processor.py, so it travels without the other stages.
"""

import argparse
import json
import os
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

DONE, FAILED, INPUT_ERROR = 0, 1, 2
PROGRESS_SECONDS = 5.0


@dataclass
class Freed:
    files: int = 0
    bytes: int = 0
    kept: list[str] = field(default_factory=list)  # what could not be deleted, and why


class Reporter:
    """Writes progress.json and result.json as docs/contracts.md lays them down."""

    def __init__(self, folder: Path, stage: str) -> None:
        self._folder = folder
        self._stage = stage
        self._last = 0.0
        folder.mkdir(parents=True, exist_ok=True)

    def progress(self, done: int, total: int) -> None:
        if done < total and time.monotonic() - self._last < PROGRESS_SECONDS:
            return
        self._last = time.monotonic()
        fraction = round(done / total, 3) if total else 1.0
        self._write("progress.json", {
            "version": 1,
            "stage": self._stage, "step": "deleting", "done": done, "total": total, "fraction": fraction,
            "message": f"{done} of {total} files deleted", "updated_at": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        })  # fmt: skip

    def result(self, status: str, metrics: dict[str, Any], error: dict[str, Any] | None = None) -> None:
        self._write(
            "result.json", {"version": 1, "stage": self._stage, "status": status, "metrics": metrics, "error": error}
        )

    def _write(self, name: str, document: dict[str, Any]) -> None:
        beside = self._folder / f"{name}.tmp"
        beside.write_text(json.dumps(document, indent=1))
        beside.replace(self._folder / name)


def cleanup_cache(models_dir: Path, reporter: Reporter) -> int:
    if not models_dir.is_dir() or models_dir.resolve() == Path("/"):
        cause = f"MODELS_DIR {models_dir} is not a folder that can be emptied"
        return _fail(reporter, FAILED, "failed", "no_cache", cause, "Check that the file system is mounted there")
    freed = empty(models_dir, reporter)
    metrics = {"files": freed.files, "bytes": freed.bytes, "kept": len(freed.kept)}
    print(f"freed {_size(freed.bytes)} in {freed.files} files from {models_dir}")
    if freed.kept:
        cause = f"{len(freed.kept)} entries could not be deleted, the first: {freed.kept[0]}"
        return _fail(reporter, FAILED, "failed", "not_emptied", cause, "Check who owns them", metrics)
    reporter.result("done", metrics)
    return DONE


def empty(folder: Path, reporter: Reporter) -> Freed:
    """Deletes all below `folder` and not `folder` itself. Other jobs may write and delete there at the same time."""
    total = sum(len(names) for _, _, names in os.walk(folder))
    freed = Freed()
    # fwalk holds every folder open: no link swapped in meanwhile can lead a deletion out of `folder`.
    for root, folders, names, descriptor in os.fwalk(folder, topdown=False, follow_symlinks=False):
        for name in names:
            _delete(name, root, descriptor, freed)
            reporter.progress(min(freed.files, total), total)
        for name in folders:
            _delete_folder(name, root, descriptor, freed)
    reporter.progress(total, total)
    return freed


def _delete(name: str, root: str, descriptor: int, freed: Freed) -> None:
    try:
        size = os.lstat(name, dir_fd=descriptor).st_size
        os.unlink(name, dir_fd=descriptor)
    except FileNotFoundError:
        return  # another job was quicker
    except OSError as error:
        freed.kept.append(f"{root}/{name}: {error.strerror}")
        return
    freed.files += 1
    freed.bytes += size


def _delete_folder(name: str, root: str, descriptor: int, freed: Freed) -> None:
    try:
        os.rmdir(name, dir_fd=descriptor)
    except FileNotFoundError:
        return
    except NotADirectoryError:  # a link to a folder: the link goes, what it points to stays
        _delete(name, root, descriptor, freed)
    except OSError as error:
        freed.kept.append(f"{root}/{name}: {error.strerror}")


def _fail(
    reporter: Reporter, exit_code: int, status: str, code: str, cause: str, fix: str, metrics: dict | None = None
) -> int:
    print(f"{cause}. {fix}.", file=sys.stderr)
    reporter.result(status, metrics or {}, {"code": code, "cause": cause, "fix": fix, "retryable": False})
    return exit_code


def _size(count: float) -> str:
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


OPERATIONS = {"cleanup-cache": cleanup_cache}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    environment = os.environ
    parser.add_argument("--operation", default=environment.get("OPERATION", ""), help=", ".join(OPERATIONS))
    parser.add_argument("--models-dir", type=Path, default=environment.get("MODELS_DIR", "/opt/models"))
    parser.add_argument("--output-dir", type=Path, default=environment.get("OUTPUT_DIR", "output"))
    options = parser.parse_args()

    reporter = Reporter(options.output_dir, environment.get("STAGE") or "cleanup_processor")
    operation = OPERATIONS.get(options.operation)
    if operation is None:
        cause = f"unknown operation {options.operation!r}, known are: {', '.join(OPERATIONS)}"
        fix = f'Set "operation": "{next(iter(OPERATIONS))}" in the message'
        return _fail(reporter, INPUT_ERROR, "input_error", "unknown_operation", cause, fix)
    return operation(options.models_dir, reporter)


if __name__ == "__main__":
    sys.exit(main())
