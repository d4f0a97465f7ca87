"""The stage with options for the little scene, and what it left."""

import json
from pathlib import Path
from typing import Any

import train

STEPS = 120
SMALL = (
    "--max-steps", str(STEPS), "--cap-max", "600", "--flythrough-seconds", "0", "--hold-out-every", "4",
    "--device", "cpu",
)  # fmt: skip


def run(scene: Path, out: Path, *more: str) -> int:
    return train.main(["--input-dir", str(scene), "--output-dir", str(out), "--preset", "draft", *SMALL, *more])


def newest(out: Path) -> Path:
    return max(out.with_name(f"{out.name}.checkpoint").glob("step-*.pt"), key=lambda path: path.name)


def saved_step(out: Path) -> int:
    return int(newest(out).name.split("-")[1])


def result(out: Path) -> dict[str, Any]:
    return dict(json.loads((out / "result.json").read_text()))
