"""Counting: the files of a scene. A stage for a test; it is not in the shipped table."""

from dataclasses import dataclass
from typing import Annotated, Literal

from splatworks.contract.parameters import Range
from splatworks.contract.stage import Figure, Stage


@dataclass(frozen=True, kw_only=True)
class CountParameters:
    limit: Annotated[int, Range(1, 10)] = 5  # files counted at most
    kind: Literal["all", "sog"] = "all"  # of files


STAGE = Stage(
    name="count",
    title="counting",
    image="ml-python-slim",
    compute_type="cpu",
    timeout_seconds=600,
    reads=("compress",),
    parameters=CountParameters,
    optional=True,
    figures=(Figure(label="Counted", text="{files:,} of {limit:,} files", in_subject=True),),
)
