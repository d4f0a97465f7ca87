"""Counting: how many files the input has.

python count.py --input-dir COMPRESSED --output-dir OUT
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from splatkit.stage import Progress, stage_command
from splatworks.contract.parameters import Folders
from splatworks.contract.stages.count import STAGE, CountParameters


@dataclass(frozen=True, kw_only=True)
class CountOptions(CountParameters, Folders):
    pass


def main(arguments: Sequence[str]) -> int:
    return stage_command(STAGE, CountOptions, count, "Count files.", arguments)


def count(options: CountOptions) -> dict[str, Any]:
    progress = Progress(STAGE.name, options.output_dir, {"counting": 1})
    pattern = "*.sog" if options.kind == "sog" else "*"
    files = [path for path in options.input_dir.rglob(pattern) if path.is_file()][: options.limit]
    (options.output_dir / "count.txt").write_text(f"{len(files)}\n")
    progress.finish()
    return {"files": len(files), "limit": options.limit}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
