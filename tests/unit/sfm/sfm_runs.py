"""sfm.py as the runner starts it."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[3]
SFM = REPOSITORY / "jobs" / "sfm.py"


@dataclass(frozen=True)
class Run:
    output: Path
    code: int
    said: str


def run_sfm(photos: Path, output: Path, *options: str) -> Run:
    """A process of its own, from the script's folder."""
    command = [sys.executable, str(SFM), "--input-dir", str(photos), "--output-dir", str(output), *options]
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PARAM", "INPUT_DIR", "OUTPUT_DIR", "CHECKPOINT"))}
    done = subprocess.run(command, capture_output=True, text=True, env=kept, cwd=SFM.parent, timeout=300)
    return Run(output, done.returncode, done.stdout + done.stderr)
