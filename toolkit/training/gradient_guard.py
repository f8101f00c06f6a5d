"""Skipping steps whose gradient or samples have exploded, and going back to the EMA."""

import math
from collections.abc import Mapping
from typing import Any

from ntire_sr.core.errors import NtireSrError

EXPLODED = 20.0  # a step whose gradient norm is this many times the usual one is skipped
UNSETTLED = 50  # steps after the warm-up in which any finite gradient norm is accepted
USUAL_DECAY = 0.98  # decay per step of the running mean of gradient norms, which is the usual one
SKIPS_BEFORE_ROLLBACK = 5  # steps in a row
MOST_ROLLBACKS = 5  # within RECENT steps
RECENT = 500
MOST_OFF_RANGE = 1.0  # mean distance of samples to [0, 1] beyond which weights are lost: 255 grey levels


class GradientGuard:
    """Counts exploded gradients and rollbacks; the keys of its `state_dict` are those of checkpoints."""

    def __init__(self) -> None:
        self.usual_gradient = 0.0  # running mean of the norms that were accepted; 0 before the first
        self.skipped = 0
        self.skipped_in_a_row = 0
        self.rolled_back: list[int] = []  # the steps at which it happened
        self.weights_exploded = False  # at the last step

    def accepts(self, grad_norm: float, off_range: float, step: int, warm_up_steps: float) -> bool:
        """Whether to take step `step`.

        Args:
            grad_norm: norm of the gradient, before clipping.
            off_range: see `has_exploded`.
            step: number of steps done.
            warm_up_steps: number of steps of the warm-up.
        """
        usual = self.usual_gradient or grad_norm
        settled = step >= warm_up_steps + UNSETTLED
        self.weights_exploded = has_exploded(off_range)
        if self.weights_exploded or not math.isfinite(grad_norm) or (settled and grad_norm > EXPLODED * usual):
            self.skipped += 1
            self.skipped_in_a_row += 1
            return False
        self.skipped_in_a_row = 0
        self.usual_gradient = USUAL_DECAY * usual + (1 - USUAL_DECAY) * grad_norm
        return True

    @property
    def wants_rollback(self) -> bool:
        """Whether the weights have exploded, or so many steps in a row were skipped that they must be at fault."""
        return self.weights_exploded or self.skipped_in_a_row >= SKIPS_BEFORE_ROLLBACK

    def count_rollback(self, step: int) -> None:
        """Record a rollback at this step and reset the usual gradient norm.

        Raises:
            NtireSrError: this is the rollback after the MOST_ROLLBACKS that RECENT steps may have.
        """
        self.skipped_in_a_row = 0
        self.usual_gradient = 0.0
        self.rolled_back.append(step)
        recent = [earlier for earlier in self.rolled_back if earlier > step - RECENT]
        if len(recent) > MOST_ROLLBACKS:
            raise divergence_error(step, f"{len(recent)} rollbacks within {RECENT} steps")

    _NUMBERS = ("usual_gradient", "skipped", "skipped_in_a_row", "rolled_back")

    def state_dict(self) -> dict[str, Any]:
        """The state as numbers and a list."""
        return {name: getattr(self, name) for name in self._NUMBERS}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a `state_dict`; other keys in it are left alone."""
        for name in self._NUMBERS:
            setattr(self, name, state[name])


def has_exploded(off_range: float) -> bool:
    """Whether samples are so far outside of [0, 1] that the weights which drew them are lost.

    Args:
        off_range: mean distance of the samples' values to [0, 1], plus the LR error before the projection.

    >>> has_exploded(0.02), has_exploded(6e10), has_exploded(float("nan"))
    (False, True, True)
    """
    return not off_range <= MOST_OFF_RANGE


class DivergenceError(NtireSrError):
    """The training cannot recover."""


def divergence_error(step: int, reason: str) -> DivergenceError:
    """The error that ends a training which cannot recover."""
    return DivergenceError(
        f"{reason} at step {step}: training has diverged", "a new run with a lower learning_rate or gamma"
    )
