"""What the numbers of a training mean, in words: noise that is ignored, a discriminator that has gone."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MEMORY = 0.99  # per step, of the running means
SETTLED = 200  # values before a mean is trusted


@dataclass
class _WatchedLoss:
    """A running mean, and what to say when it leaves its range."""

    name: str  # of the logged value
    low: float
    high: float
    below: str
    above: str
    mean: float = 0.0
    count: int = 0
    said: str = ""

    def update(self, value: float) -> str | None:
        """The sentence, where the mean has just left its range."""
        if not math.isfinite(value):  # of a step that was skipped
            return None
        self.count += 1
        self.mean += (value - self.mean) * max(1 - MEMORY, 1 / self.count)
        text = self.below if self.mean < self.low else self.above if self.mean > self.high else ""
        if self.count < SETTLED or text == self.said:
            return None
        self.said = text
        return text.format(value=self.mean) if text else None


class LossMonitor:
    """Listens to every step's losses and says once what is going wrong, and again if it comes back."""

    def __init__(self) -> None:
        self._watched = [
            _WatchedLoss(
                "r_features",
                0.3,
                2.0,
                "the noise is being ignored: samples differ from each other {value:.2f} times as much as from "
                "the photograph, where 1 is calibrated; a higher gamma rewards difference",
                "samples run apart: they differ from each other {value:.1f} times as much as from the "
                "photograph, where 1 is calibrated; a lower gamma rewards it less",
            ),
            _WatchedLoss(
                "discriminator_right",
                0.52,
                0.98,
                "the discriminator is guessing (right on {value:.0%}): it has collapsed and teaches nothing; "
                "train longer before it begins, or with a lower learning_rate",
                "the discriminator is never fooled (right on {value:.0%}): it has won and teaches little; "
                "a higher r1 holds it back",
            ),
        ]

    def state_dict(self) -> list[list[Any]]:
        """What a run that goes on needs, to say what it would have said."""
        return [[watched.mean, watched.count, watched.said] for watched in self._watched]

    def load_state_dict(self, state: list[list[Any]]) -> None:
        for watched, (mean, count, said) in zip(self._watched, state, strict=True):
            watched.mean, watched.count, watched.said = mean, count, said

    def update(self, losses: Mapping[str, float]) -> list[str]:
        """What there is to say after a step with these losses."""
        said = [watched.update(losses[watched.name]) for watched in self._watched if watched.name in losses]
        return [text for text in said if text]
