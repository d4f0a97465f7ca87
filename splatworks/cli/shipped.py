"""Find the container's runner: in the checkout, or where the wheel brought a copy of it (setup.py)."""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]


def runner_script() -> Path:
    checkout = PACKAGE.parent / "docker" / "runner.py"
    return checkout if checkout.is_file() else PACKAGE / "shipped" / "docker" / "runner.py"
