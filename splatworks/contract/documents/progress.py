"""progress.json: how far a script is. The runner uploads it every 10 seconds."""

from dataclasses import dataclass
from functools import partial
from typing import Any

from splatworks.contract.documents.codec import read, to_json

VERSION = 1


@dataclass(frozen=True, kw_only=True)
class ProgressDocument:
    stage: str = ""  # name of the stage
    step: str = ""  # the step that runs
    done: int = 0  # finished items of the step
    total: int = 0  # all items of the step; 0 if they are not counted
    fraction: float | None = None  # finished share of the complete stage, from 0 to 1
    message: str = ""  # one line for people
    updated_at: str = ""  # UTC

    @property
    def known_fraction(self) -> float | None:
        return None if self.fraction is None else min(1.0, max(0.0, float(self.fraction)))


# Fields of a wrong type are unknown.
read_progress = partial(read, ProgressDocument, VERSION, lenient=True)


def progress_json(progress: ProgressDocument) -> dict[str, Any]:
    return to_json(progress, VERSION)
