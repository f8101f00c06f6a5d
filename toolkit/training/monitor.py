"""Monitoring of losses: warnings when the noise is ignored or the discriminator has collapsed or won."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MEMORY = 0.99  # decay per step of the running means
SETTLED = 200  # number of values before a running mean is used
SKIPPED = "skipped_share"
ROLLED_BACK = (
    "training exploded and was rolled back to the EMA of earlier weights; if this recurs, lower learning_rate"
)


@dataclass
class _WatchedLoss:
    """The running mean of a logged value, with a warning for each side of its range."""

    name: str  # name of the logged value
    low: float  # lower end of the range
    high: float  # upper end of the range
    below: str  # warning for a mean below the range
    above: str  # warning for a mean above the range
    mean: float = 0.0
    count: int = 0  # number of values in the mean
    warned: str = ""  # the warning that was given last, empty if the mean is back in its range

    def update(self, value: float) -> str | None:
        """Add a value; returns a warning if the mean has just left its range."""
        if not math.isfinite(value):  # the step was skipped
            return None
        self.count += 1
        self.mean += (value - self.mean) * max(1 - MEMORY, 1 / self.count)
        text = self.below if self.mean < self.low else self.above if self.mean > self.high else ""
        if self.count < SETTLED or text == self.warned:
            return None
        self.warned = text
        return text.format(value=self.mean) if text else None


class LossMonitor:
    """Watches the losses of every step and warns once when one leaves its range, and again if it recurs."""

    def __init__(self) -> None:
        self._watched = [
            _WatchedLoss(
                "r_features",
                0.3,
                2.0,
                "the noise is being ignored: samples differ from each other {value:.2f} times as much as from "
                "the photograph, where 1 is calibrated; a higher gamma rewards difference",
                "samples diverge: they differ from each other {value:.1f} times as much as from the "
                "photograph, where 1 is calibrated; a lower gamma rewards it less",
            ),
            _WatchedLoss(
                "discriminator_accuracy",
                0.52,
                0.98,
                "the discriminator is guessing (right on {value:.0%}): it has collapsed and teaches nothing; "
                "train longer before it starts, or with a lower learning_rate",
                "the discriminator is never fooled (right on {value:.0%}): it has won and teaches little; "
                "a higher r1 holds it back",
            ),
            _WatchedLoss(
                SKIPPED,
                0.0,
                0.1,
                "",
                "{value:.0%} of the last steps were skipped, since gradients or samples exploded; a lower learning_rate "
                "prevents this",
            ),
        ]

        self._rollbacks: float | None = None  # numbers of the step before; None at the start
        self._skipped: float | None = None

    def state_dict(self) -> list[list[Any]]:
        """The running means and warnings, so that a resumed run warns as an uninterrupted one would."""
        return [[watched.mean, watched.count, watched.warned] for watched in self._watched]

    def load_state_dict(self, state: list[list[Any]]) -> None:
        # the last ones were not watched by earlier versions
        for watched, (mean, count, warned) in zip(self._watched, state, strict=False):
            watched.mean, watched.count, watched.warned = mean, count, warned

    def update(self, losses: Mapping[str, float]) -> list[str]:
        """Add the losses of a step; returns the warnings that they cause."""
        losses = dict(losses)
        if "skipped" in losses:
            losses[SKIPPED] = float(losses["skipped"] > self._skipped) if self._skipped is not None else 0.0
            self._skipped = losses["skipped"]
        rollbacks, before = losses.get("rollbacks", 0), self._rollbacks
        self._rollbacks = rollbacks
        rolled_back = [ROLLED_BACK] if before is not None and rollbacks > before else []
        warnings = [watched.update(losses[watched.name]) for watched in self._watched if watched.name in losses]
        return [*rolled_back, *(text for text in warnings if text)]
