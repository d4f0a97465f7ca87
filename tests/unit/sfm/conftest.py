"""The rendered survey and its reconstruction, made once for all tests here."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from local.survey import Survey, render_survey

REPOSITORY = Path(__file__).parents[3]
SFM = REPOSITORY / "jobs" / "sfm.py"


@dataclass(frozen=True)
class Run:
    output: Path
    code: int
    said: str


def run_sfm(photos: Path, output: Path, *options: str) -> Run:
    """As the runner starts it: a process of its own, from the script's folder."""
    command = [sys.executable, str(SFM), "--input-dir", str(photos), "--output-dir", str(output), *options]
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PARAM", "INPUT_DIR", "OUTPUT_DIR", "CHECKPOINT"))}
    done = subprocess.run(command, capture_output=True, text=True, env=kept, cwd=SFM.parent, timeout=300)
    return Run(output, done.returncode, done.stdout + done.stderr)


@pytest.fixture(scope="session")
def survey(tmp_path_factory: pytest.TempPathFactory) -> Survey:
    return render_survey(tmp_path_factory.mktemp("survey"))


@pytest.fixture(scope="session")
def reconstructed(survey: Survey, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run_sfm(survey.photos, tmp_path_factory.mktemp("sfm") / "output")
