"""Render a drone survey of a town.

    python -m local.survey OUT --photos 24

writes OUT/photos/*.jpg and OUT/truth/ (a COLMAP text model in east, north, up metres, and georeference.json).
"""

import argparse
from pathlib import Path

from local.survey.photos import render_survey


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m local.survey",
        description=(__doc__ or "").splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("folder", type=Path, help="where photos/ and truth/ go")
    parser.add_argument("--photos", type=int, default=24, help="how many photos; the area grows with them")
    parser.add_argument("--width", type=int, default=960, help="pixels")
    parser.add_argument("--height", type=int, default=640, help="pixels")
    parser.add_argument("--seed", type=int, default=0, help="another seed is another town and another flight")
    parser.add_argument(
        "--gps-noise-m", type=float, default=0.0, help="standard deviation of the GPS error per axis, metres"
    )
    options = vars(parser.parse_args())
    survey = render_survey(
        **options, progress=lambda done, total: print(f"\rphoto {done} of {total}", end="", flush=True)
    )
    print(f"\n{len(survey.poses)} photos in {survey.photos}, exact poses in {survey.truth}")


if __name__ == "__main__":
    main()
