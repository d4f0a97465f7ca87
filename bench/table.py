"""One measured figure beside its peer's, and how the table of them is printed."""

from collections.abc import Iterable
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Row:
    what: str  # what was measured
    ours: float  # in `unit`
    peer: float  # the peer's figure in the same run, in `unit`
    unit: str
    target: str  # the goal in words, e.g. "at most 1.3 times"
    peer_name: str  # what `peer` is

    @property
    def ratio(self) -> float:
        return self.ours / self.peer if self.peer else float("nan")


def show(rows: Iterable[Row], console: Console) -> None:
    table = Table(title="Splatworks against its peers, measured in this run")
    for heading in ("what", "ours", "peer", "ratio", "unit", "peer is", "goal"):
        table.add_column(heading, justify="right" if heading in ("ours", "peer", "ratio") else "left")
    for row in rows:
        figures = (f"{row.ours:.4g}", f"{row.peer:.4g}", f"{row.ratio:.3g}")
        table.add_row(row.what, *figures, row.unit, row.peer_name, row.target)
    console.print(table)
