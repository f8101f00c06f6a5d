"""The state of an adversarial training: two networks, an EMA, two optimisers, and the number of steps done."""

import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ntire_sr.core.distributed import ProcessGroup
from ntire_sr.training.config import TrainConfig

GENERATOR_BETAS, DISCRIMINATOR_BETAS = (0.9, 0.99), (0.5, 0.99)  # of Adam and AdamW
DISCRIMINATOR_SHARE = 0.5  # the discriminator's learning rate, as a share of the generator's


class GanState:
    """A generator and its EMA, a discriminator, their optimisers, and the number of steps done.

    A trainer computes losses and decides which optimiser steps; this holds what a checkpoint holds. Parameters of
    the generator that need no gradient are frozen: the EMA keeps them as they are.

    Args:
        build_generator: makes the generator; called once more for the EMA.
        build_discriminator: makes the discriminator, after both.
        optimiser: torch.optim.Adam, or another that is called by (parameters, learning rate, betas=).
        learning_rate: the generator's at step 0.
        ema_decay: decay of the generator's EMA per step.
        config: of the run; its seed gives the initial weights.
        device: where to compute.
        processes: the processes that share each batch.
    """

    def __init__(
        self,
        build_generator: Callable[[], Any],
        build_discriminator: Callable[[], nn.Module],
        optimiser: Callable[..., torch.optim.Optimizer],
        learning_rate: float,
        ema_decay: float,
        config: TrainConfig,
        device: torch.device,
        processes: ProcessGroup,
    ):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            # not a copy: the discriminator's initial weights depend on how many numbers were drawn before
            self.generator, self.ema = build_generator().to(device), build_generator().to(device)
            self.discriminator = build_discriminator().to(device)
        self.ema.load_state_dict(self.generator.state_dict())
        self.ema.requires_grad_(False)
        # averages gradients over processes; the plain discriminator is for passes that leave it unchanged
        self.ddp_discriminator = processes.wrap_ddp(self.discriminator)
        self.generator_optimiser = optimiser(self.generator.parameters(), learning_rate, betas=GENERATOR_BETAS)
        self.discriminator_optimiser = optimiser(
            self.discriminator.parameters(), learning_rate * DISCRIMINATOR_SHARE, betas=DISCRIMINATOR_BETAS
        )
        self.learning_rate, self.ema_decay, self.steps = learning_rate, ema_decay, config.steps
        self.steps_done = 0

    def has_passed(self, share: float) -> bool:
        """Whether this share of all steps is done."""
        return self.steps_done >= share * self.steps

    def set_learning_rates(self) -> None:
        """Set both optimisers to the learning rates of the step that comes next."""
        for optimiser, share in (
            (self.generator_optimiser, 1.0),
            (self.discriminator_optimiser, DISCRIMINATOR_SHARE),
        ):
            set_learning_rate(optimiser, self.learning_rate * share, self.steps_done, self.steps)

    def finish_step(self) -> None:
        """Count the step and update the EMA."""
        self.steps_done += 1
        update_ema(self.ema, self.generator, self.ema_decay, self.steps_done)

    def load_matching(self, weights: Mapping[str, Tensor]) -> int:
        """Initialise generator and EMA with the tensors that fit by name and shape; returns their number."""
        own = self.generator.state_dict()
        fitting = {
            name: value for name, value in weights.items() if name in own and own[name].shape == value.shape
        }
        for network in (self.generator, self.ema):
            network.load_state_dict(fitting, strict=False)
        return len(fitting)

    def weights(self) -> dict[str, Tensor]:
        """The EMA's weights, on the CPU."""
        return {name: value.detach().cpu().contiguous() for name, value in self.ema.state_dict().items()}

    # key in a checkpoint, which never changes -> attribute
    _PARTS: ClassVar[Mapping[str, str]] = {
        "generator": "generator",
        "average": "ema",
        "discriminator": "discriminator",
        "generator_optimiser": "generator_optimiser",
        "discriminator_optimiser": "discriminator_optimiser",
    }

    def state_dict(self) -> dict[str, Any]:
        """The state as tensors, numbers, lists and dictionaries; frozen weights are there once, in the generator's."""
        parts = {key: getattr(self, name).state_dict() for key, name in self._PARTS.items()}
        for name, parameter in self.generator.named_parameters():
            if not parameter.requires_grad:
                del parts["average"][name]
        return {"steps_done": self.steps_done, **parts}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a `state_dict`; other keys in it are left to the trainer."""
        self.steps_done = state["steps_done"]
        complete = {**state, "average": {**state["generator"], **state["average"]}}
        for key, name in self._PARTS.items():
            getattr(self, name).load_state_dict(complete[key])


def set_learning_rate(optimiser: torch.optim.Optimizer, first: float, step: int, steps: int) -> None:
    """Cosine decay from `first` at step 0 to 0 at step `steps`; a function of the step alone."""
    for group in optimiser.param_groups:
        group["lr"] = first * 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps)))


@torch.no_grad()
def update_ema(ema: nn.Module, current: nn.Module, decay: float, step: int) -> None:
    """One step of the exponential moving average of the weights that learn.

    Args:
        ema, current: two networks of one architecture; `ema` is changed in place.
        decay: decay per step; it is lower in early steps, where the random initial weights would dominate.
        step: number of steps done, this one included.
    """
    for mean, value in zip(ema.parameters(), current.parameters(), strict=True):
        if value.requires_grad:
            mean.lerp_(value, 1 - min(decay, step / (step + 10)))
