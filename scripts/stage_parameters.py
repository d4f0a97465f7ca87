"""Write what the stages take as parameters into modules/lambda/functions/stage_parameters.json.

The dispatcher reads it to refuse a misspelt parameter at once, and not when the stage starts, hours later.
"""

import json
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
FILE = ROOT / "modules" / "lambda" / "functions" / "stage_parameters.json"


def main() -> int:
    FILE.write_text(json.dumps(stage_parameters(), indent=1) + "\n")
    return 0


def stage_parameters() -> dict[str, dict[str, str | list[str]]]:
    """By stage and name: bool, int, float or str, or the list of choices."""
    sys.path.insert(0, str(ROOT / "jobs"))
    from compress import CompressOptions

    from splatkit.sfm.options import SfmOptions
    from splatkit.train.options import TrainOptions

    return {"sfm": _kinds(SfmOptions), "train": _kinds(TrainOptions), "compress": _kinds(CompressOptions)}


def _kinds(options: type) -> dict[str, str | list[str]]:
    from splatkit.options import _choices, _plain_type

    kinds: dict[str, str | list[str]] = {}
    for field in fields(options):
        if not field.metadata.get("environment"):
            choices: tuple[Any, ...] = _choices(field)
            kinds[field.name] = [str(choice) for choice in choices] or _plain_type(field).__name__
    return kinds


if __name__ == "__main__":
    sys.exit(main())
