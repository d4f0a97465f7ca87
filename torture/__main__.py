"""`make torture PART=name [ONLY=…]`: runs one long experiment on the embedded AWS, prints what happened, fails if it
must not have."""

import argparse
import importlib
import sys
from pathlib import Path

PARTS = sorted(path.stem for path in Path(__file__).parent.glob("[a-z]*.py") if path.stem not in ("clock", "reclaims"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=PARTS, help="which experiment")
    parser.add_argument("--only", default="", help="of its rows only those whose name begins so")
    given = parser.parse_args()
    failed: int = importlib.import_module(f"torture.{given.part}").main(given.only)
    return failed


if __name__ == "__main__":
    sys.exit(main())
