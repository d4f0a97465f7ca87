"""Where the platform's own code lies: the command line uses the dispatcher's checks and the container's runner."""

import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def platform_root() -> Path:
    """The checkout, or what the wheel brought along of it (setup.py); both have the same paths below."""
    checkout = PACKAGE.parent
    return checkout if (checkout / "docker" / "runner.py").is_file() else PACKAGE / "shipped"


ROOT = platform_root()
RUNNER = ROOT / "docker" / "runner.py"


def make_importable() -> None:
    """`message`, `job_plan`… are top-level modules in the Lambda zip, and so they are here."""
    for folder in (ROOT, ROOT / "docker", ROOT / "modules" / "lambda" / "functions"):
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
