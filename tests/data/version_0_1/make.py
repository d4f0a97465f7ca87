"""Make the zips and documents of version 0.1 beside this file, by the code of that version itself.

    PYTHONPATH=tests/compatibility python tests/data/version_0_1/make.py

The zips are that commit's files. The documents are what its dispatcher wrote for the messages in
tests/compatibility/versions.py, and what its runner and the frame of its stages (stand_in.py) wrote in those jobs.
"""

import shutil
import subprocess
import tempfile
from pathlib import Path

from versions import FAILING, INTERRUPTED, OLD, SAVED, SCRIPT, Buckets, dispatch, server, unzip, write_input

COMMIT = "109571b5c0d235e2ba067c628d7a92883fa84592"
CODE = {
    "runner": ["docker/runner.py", "docker/jobrunner"],
    "functions": ["modules/lambda/functions"],
    "stages": [f"jobs/splatkit/{name}.py" for name in ("__init__", "errors", "stage", "whole_files")],
}
JOBS: list[tuple[str, str, int | None]] = [
    ("single", SCRIPT, None),
    (FAILING, SCRIPT, None),
    *(("chain", stage, None) for stage in ("sfm", "train", "compress")),
    *(("scenes", stage, index) for stage in ("sfm", "train") for index in (0, 1)),
    ("sweep", "sfm", None),
    *(("sweep", "train", index) for index in (0, 1)),
]


def main() -> None:
    for name, paths in CODE.items():
        command = ["git", "archive", "--format=zip", f"--output={SAVED / name}.zip", COMMIT, *paths]
        subprocess.run(command, check=True)
    documents = SAVED / "documents"
    with tempfile.TemporaryDirectory() as temporary, server() as endpoint:
        save(Path(temporary), endpoint, documents)


def save(folder: Path, endpoint: str, documents: Path) -> None:
    write_input(folder / "input")
    dispatched = dispatch(unzip("functions", folder / "functions"), folder / "input", folder)
    buckets = Buckets(endpoint, folder / "input", dispatched, folder)
    runner = unzip("runner", folder / "runner")
    for run, stage, index in JOBS:
        buckets.run(OLD, runner, run, stage, index)
    for attempt in (1, 2):
        buckets.run(OLD, runner, INTERRUPTED, attempt=attempt)
    shutil.rmtree(documents, ignore_errors=True)
    for key in buckets.object_keys():
        if key.endswith(".json") and not key.endswith("seen.json"):
            target = documents / key
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(buckets.read(key))


if __name__ == "__main__":
    main()
