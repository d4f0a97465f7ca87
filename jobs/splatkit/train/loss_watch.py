"""The loss over the training, and what is a divergence of it."""

import math
from collections.abc import Mapping
from typing import Any

DIVERGED = 6.0  # a loss so many times the recent one's, look after look, is no accident
FEWEST_HIGH, HIGH_ROUND = 5, 0.5  # so many looks, and so much of a round of the photos: one bad photo is no divergence
SETTLED = 50  # steps before which the loss may be anything
LEAST = 0.02  # of a recent loss, to be so many times as high


class DivergedError(Exception):
    """The loss is NaN or has left all bounds."""


class LossWatch:
    def __init__(self) -> None:
        self.losses: list[float] = []  # one per look
        self.steps: list[int] = []  # of the looks
        self._recent = 0.0  # smoothed loss
        self._high = 0  # looks in a row that found far more than that

    @property
    def suspect(self) -> bool:
        """The loss is far above what it was, be it of one bad photo or the begin of a divergence."""
        return self._high > 0

    def look(self, step: int, loss: float, looks_per_round: float) -> None:
        """looks_per_round: in the time that each photo comes once. Raises DivergedError."""
        if not math.isfinite(loss):
            raise DivergedError(f"the loss became {loss} at step {step}")
        self.losses.append(loss)
        self.steps.append(step)
        high = step > SETTLED and loss > DIVERGED * max(self._recent, LEAST)
        self._high = self._high + 1 if high else 0
        if not high:
            self._recent = loss if step == 0 else 0.98 * self._recent + 0.02 * loss
        elif self._high >= max(FEWEST_HIGH, HIGH_ROUND * looks_per_round):
            raise DivergedError(
                f"the loss rose to {loss:.3g} at step {step}, {loss / self._recent:.0f} times what it was, "
                f"and stayed there for {self._high} looks at it"
            )

    def state(self) -> dict[str, Any]:
        return {"losses": list(self.losses), "steps": list(self.steps), "recent": self._recent, "high": self._high}

    def restore(self, saved: Mapping[str, Any]) -> None:
        self.losses, self.steps = list(saved["losses"]), list(saved["steps"])
        self._recent, self._high = saved["recent"], saved["high"]
