"""What all trainers share: matching weights, the learning rate schedule, and the EMA of weights."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn


def set_learning_rate(optimiser: torch.optim.Optimizer, first: float, step: int, steps: int) -> None:
    """Cosine decay from `first` at step 0 to 0 at step `steps`; a function of the step alone."""
    for group in optimiser.param_groups:
        group["lr"] = first * 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps)))


def load_matching(weights: Mapping[str, Tensor], *networks: nn.Module) -> int:
    """Load the tensors that fit by name and shape into networks of one architecture; returns their number."""
    own = networks[0].state_dict()
    fitting = {name: value for name, value in weights.items() if name in own and own[name].shape == value.shape}
    for network in networks:
        network.load_state_dict(fitting, strict=False)
    return len(fitting)


@torch.no_grad()
def update_ema(average: nn.Module, current: nn.Module, decay: float, step: int) -> None:
    """One step of the exponential moving average of weights.

    Args:
        average, current: two networks of one architecture; `average` is changed in place.
        decay: decay per step; it is lower in early steps, where the random initial weights would dominate.
        step: number of steps done, this one included.
    """
    for mean, value in zip(average.parameters(), current.parameters(), strict=True):
        mean.lerp_(value, 1 - min(decay, step / (step + 10)))
