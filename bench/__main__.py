"""`make bench [ONLY=name]`: measures, prints one table of ratios, judges nothing (machines are noisy)."""

import argparse
import importlib
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console

from bench.table import Row, show


def main() -> None:
    benches = sorted(path.stem for path in Path(__file__).parent.glob("*_bench.py"))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("only", nargs="*", choices=[*benches, []], help="which to run; all by default")
    chosen = parser.parse_args().only or benches
    if find_spec("splatkit") is None:
        parser.error("splatkit, the stages' package, is not on the path. Run `make bench`, or set PYTHONPATH=jobs")

    console = Console(width=150)
    rows: list[Row] = []
    for name in chosen:
        console.print(f"[bold]{name}[/] ...")
        rows += importlib.import_module(f"bench.{name}").rows()
    show(rows, console)


if __name__ == "__main__":
    main()
