"""The state of an adversarial training: two networks, an EMA, two optimisers, and the number of steps done."""

import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ntire_sr.core.distributed import ProcessGroup
from ntire_sr.training.config import TrainConfig

GENERATOR_BETAS, DISCRIMINATOR_BETAS = (0.9, 0.99), (0.5, 0.99)  # of Adam and AdamW
FUSED_DEVICES = ("cpu", "cuda")  # kinds of device for which torch has fused optimisers
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
        self.ema.requires_grad_(False).eval()
        # averages gradients over processes; the plain discriminator is for passes that leave it unchanged
        self.ddp_discriminator = processes.wrap_ddp(self.discriminator)
        # fused: one pass over weights, gradients and moments, a quarter of the time of separate operations
        fused = device.type in FUSED_DEVICES
        self.generator_optimiser = optimiser(
            self.generator.parameters(), learning_rate, betas=GENERATOR_BETAS, fused=fused
        )
        self.discriminator_optimiser = optimiser(
            self.discriminator.parameters(),
            learning_rate * DISCRIMINATOR_SHARE,
            betas=DISCRIMINATOR_BETAS,
            fused=fused,
        )
        self.learning_rate, self.ema_decay, self.steps = learning_rate, ema_decay, config.steps
        self.steps_done = 0
        self._ema_before: list[Tensor] = []  # the EMA's weights that learn, before the last update

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

    def finish_step(self, accepted: bool = True) -> None:
        """Count the step, and update the EMA if the generator has taken the step."""
        self.steps_done += 1
        if accepted:
            self._ema_before = [mean.clone() for mean in self._learning_ema()]
            update_ema(self.ema, self.generator, self.ema_decay, self.steps_done)

    def _learning_ema(self) -> list[Tensor]:
        """The EMA's weights that learn; frozen ones are equal in both networks."""
        pairs = zip(self.ema.parameters(), self.generator.parameters(), strict=True)
        return [mean for mean, value in pairs if value.requires_grad]

    @torch.no_grad()
    def return_to_ema(self, undo: bool) -> None:
        """Set the generator to the EMA, without the optimiser's moments.

        Args:
            undo: whether to undo the EMA's last update first: it took up weights that turned out to be bad.
        """
        if undo:
            # none is kept by a run that has just been resumed
            for mean, before in zip(self._learning_ema(), self._ema_before, strict=False):
                mean.copy_(before)
        self.generator.load_state_dict(self.ema.state_dict())
        self.generator_optimiser.state.clear()

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
        for name, value in self.generator.state_dict(keep_vars=True).items():
            if isinstance(value, nn.Parameter) and not value.requires_grad:
                del parts["average"][name]
        return {"steps_done": self.steps_done, **parts}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a `state_dict`; other keys in it are left to the trainer."""
        self.steps_done = state["steps_done"]
        complete = {**state, "average": {**state["generator"], **state["average"]}}
        for key, name in self._PARTS.items():
            part = getattr(self, name)
            if isinstance(part, torch.optim.Optimizer):
                part.load_state_dict(_with_flags_of(part, complete[key]))
            else:
                part.load_state_dict(complete[key])


def _with_flags_of(optimiser: torch.optim.Optimizer, state: Mapping[str, Any]) -> dict[str, Any]:
    """The state of an optimiser, computed as this one computes: an earlier version's was not fused."""
    flags = {name: optimiser.param_groups[0][name] for name in ("fused", "foreach")}
    return {**state, "param_groups": [{**group, **flags} for group in state["param_groups"]]}


def gradient_norm(network: nn.Module) -> Tensor:
    """The norm of all gradients of a network together, a scalar on its device."""
    return torch.nn.utils.get_total_norm(
        [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
    )


def clipped_step(optimiser: torch.optim.Optimizer, norm: Tensor, max_norm: float) -> None:
    """One step with the gradients clipped to `max_norm`; none if their norm is not finite.

    A fused optimiser clips while it steps, and decides on its device, so that nothing waits for a GPU.

    Args:
        optimiser: the optimiser.
        norm: norm of all its gradients, a scalar.
        max_norm: larger gradients are scaled to this norm.
    """
    if optimiser.param_groups[0].get("fused"):
        # what torch.amp.GradScaler sets: the gradients are divided by one, the other skips the step
        optimiser.grad_scale = ((norm.detach() + 1e-6) / max_norm).clamp_min(1.0)  # type: ignore[attr-defined]
        optimiser.found_inf = (~norm.detach().isfinite()).float()  # type: ignore[attr-defined]
        optimiser.step()
    elif bool(norm.isfinite()):
        parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
        torch.nn.utils.clip_grads_with_norm_(parameters, max_norm, norm)
        optimiser.step()


def set_learning_rate(optimiser: torch.optim.Optimizer, first: float, step: int, steps: int) -> None:
    """Cosine decay from `first` at step 0 to 0 at step `steps`; a function of the step alone."""
    for group in optimiser.param_groups:
        group["lr"] = first * 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps)))


@torch.no_grad()
def update_ema(ema: nn.Module, current: nn.Module, decay: float, step: int) -> None:
    """One step of the exponential moving average of the weights that learn. Buffers are copied.

    Args:
        ema, current: two networks of one architecture; `ema` is changed in place.
        decay: decay per step; it is lower in early steps, where the random initial weights would dominate.
        step: number of steps done, this one included.
    """
    pairs = zip(ema.parameters(), current.parameters(), strict=True)
    learning = [(mean, value) for mean, value in pairs if value.requires_grad]
    means, values = [mean for mean, _ in learning], [value for _, value in learning]
    torch._foreach_lerp_(means, values, 1 - min(decay, step / (step + 10)))
    for mean_buffer, buffer in zip(ema.buffers(), current.buffers(), strict=True):
        mean_buffer.copy_(buffer)
