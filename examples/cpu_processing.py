"""Looks at every photo of a folder: size, brightness, sharpness, and a thumbnail. An example of a CPU job.

    python examples/cpu_processing.py --input-dir photos --output-dir out

On the platform the folders come from INPUT_DIR and OUTPUT_DIR, and `"parameters": {"thumbnail": 512}` of the message
arrives as PARAM_THUMBNAIL.
"""

import argparse
import csv
import json
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from PIL import Image, ImageFilter, ImageOps, ImageStat, UnidentifiedImageError

SUFFIXES = {".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp"}
INPUT_ERROR = 2  # the platform does not retry it


def describe(photo: Path, folder: Path, output_dir: Path, thumbnail: int) -> dict[str, object]:
    name = photo.relative_to(folder)
    try:
        with Image.open(photo) as opened:
            image = ImageOps.exif_transpose(opened).convert("RGB")
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as error:
        return {"photo": str(name), "problem": str(error)}
    grey = image.convert("L")
    image.thumbnail((thumbnail, thumbnail))
    target = output_dir / "thumbnails" / f"{name}.jpg"
    target.parent.mkdir(parents=True, exist_ok=True)
    image.save(target, quality=85)
    return {
        "photo": str(name),
        "width": grey.width,
        "height": grey.height,
        "brightness": round(ImageStat.Stat(grey).mean[0], 1),
        # The spread of the edges: the lower, the more blurred.
        "sharpness": round(ImageStat.Stat(grey.filter(ImageFilter.FIND_EDGES)).stddev[0], 1),
        "problem": "",
    }


def write_table(rows: list[dict[str, object]], path: Path) -> None:
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, ["photo", "width", "height", "brightness", "sharpness", "problem"], restval="")
        table.writeheader()
        table.writerows(rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input-dir", type=Path, default=os.environ.get("INPUT_DIR", "input"))
    parser.add_argument("--output-dir", type=Path, default=os.environ.get("OUTPUT_DIR", "output"))
    parser.add_argument("--thumbnail", type=int, default=os.environ.get("PARAM_THUMBNAIL", "256"), help="pixels")
    options = parser.parse_args()

    photos = sorted(path for path in options.input_dir.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not photos:
        print(f"no photos in {options.input_dir}: name a folder of photos as `input`", file=sys.stderr)
        return INPUT_ERROR

    rows = []
    options.output_dir.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor() as pool:
        work = [
            pool.submit(describe, each, options.input_dir, options.output_dir, options.thumbnail) for each in photos
        ]
        for number, future in enumerate(work, start=1):
            rows.append(future.result())
            progress = {"done": number, "total": len(photos), "fraction": round(number / len(photos), 3)}
            (options.output_dir / "progress.json").write_text(json.dumps(progress))
            print(f"{number}/{len(photos)} {rows[-1]['photo']}")

    write_table(rows, options.output_dir / "photos.csv")
    unreadable = sum(1 for row in rows if row["problem"])
    print(f"{len(photos)} photos, {unreadable} unreadable; see photos.csv and thumbnails/")
    return 0


if __name__ == "__main__":
    sys.exit(main())
