"""A script's requirements.txt, installed beside the image's packages and never over them."""

import os
import sys
import venv
from collections.abc import Mapping
from pathlib import Path

from jobrunner.failures import Interrupted, RunnerError
from jobrunner.run.process import Child
from jobrunner.run.stop_signal import StopSignal


def install(requirements: Path, folder: Path, environment: Mapping[str, str], stop: StopSignal) -> Path:
    """Installs into `folder` and gives the path to put on PYTHONPATH.

    An empty virtual environment that sees the image's packages takes them, so that what the image has in a fitting
    version (torch!) is not downloaded again; `pip install --target` would do that.
    """
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    packages = folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    (packages / "image.pth").write_text("".join(f"{path}\n" for path in sys.path if path.endswith("-packages")))

    command = [str(python), "-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--progress-bar=off"]
    if os.geteuid() == 0:
        command.append("--root-user-action=ignore")
    child = Child([*command, "-r", str(requirements)], cwd=requirements.parent, environment=environment)
    exit_code = stop.run(child)
    if stop.asked.is_set():
        raise Interrupted
    if exit_code != 0:
        errors = [line.removeprefix("ERROR: ") for line in child.tail if line.startswith("ERROR: ")]
        raise RunnerError(
            "requirements_failed",
            f"pip could not install {requirements.name}: {' '.join(errors or list(child.tail)[-3:])}",
            "Correct the file (python -m pip install -r it to try), upload it and publish the message again",
        )
    return packages
