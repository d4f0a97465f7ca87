"""What a stage of the pipeline is: one entry of the table in splatworks/contract/stages/."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from string import Formatter
from typing import Any

Metrics = Mapping[str, Any]
MAX_NUMBER = 1e300  # larger ones, infinity and NaN are not figures: formats and sums fail on them


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A key figure of a stage, made from the metrics of its result.json; e-mails and pages show it."""

    label: str
    text: str  # a format string over the metrics: "{psnr:.2f} dB"
    note: str = ""  # a metric whose text is added after a comma, if the stage wrote it
    in_subject: bool = False  # of the e-mail about a run

    @cached_property
    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics that it needs."""
        return tuple(name for _, name, _, _ in Formatter().parse(self.text) if name)

    def of(self, metrics: Metrics) -> str | None:
        """The figure as text; None if the stage did not write all metrics that it needs."""
        numbers = {name: number(metrics.get(name)) for name in self.metrics}
        if None in numbers.values():
            return None
        note = metrics.get(self.note) if self.note else None
        return self.text.format(**numbers) + (f", {note}" if isinstance(note, str) and note else "")


@dataclass(frozen=True, kw_only=True)
class Column:
    """A number that a table of scenes or of variants compares."""

    metric: str
    heading: str
    digits: int = 2
    unit: str = ""
    rank: int = 0  # variants are ordered by this: 1 the larger the better, -1 the smaller the better, 0 not


@dataclass(frozen=True, kw_only=True)
class Stage:
    name: str
    title: str
    image: str  # docker/build-and-push.sh builds it
    compute_type: str  # gpu or cpu, unless the message says otherwise
    timeout_seconds: int  # per attempt, unless the message says otherwise
    reads: tuple[str, ...]  # earlier stages whose output is its input; none: the photos of the message
    parameters: type  # a frozen dataclass, see splatworks/contract/parameters.py
    max_inputs: int = 1  # locations that the message may name if a run starts with it, or as many as it reads stages
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # parameters by preset of the message
    can_be_swept: bool = True
    optional: bool = False  # runs only if the message has a field of its name, or starts with it
    figures: Sequence[Figure] = ()
    columns: Sequence[Column] = ()
    page: str = ""  # file of its output that shows the result in a browser
    thumbnail: str = ""  # image file of its output

    @cached_property
    def script_key(self) -> str:
        return f"stages/{self.name}.py"


def number(value: Any) -> float | None:
    """Scripts write what they like: the value if it is a finite number, else None. true is not a number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if -MAX_NUMBER < value < MAX_NUMBER else None
