"""`make torture PART=name [ONLY=…]`: run one long experiment on the embedded AWS and print a table of what happened.

Exits with 1 if a limit of the experiment does not hold.
"""

import argparse
import sys

from torture import spot

PARTS = {"spot": spot.main}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=PARTS, help="which experiment")
    parser.add_argument("--only", default="", help="only the rows whose name begins with this text")
    given = parser.parse_args()
    return PARTS[given.part](given.only)


if __name__ == "__main__":
    sys.exit(main())
