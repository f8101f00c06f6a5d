"""What every generator promises, and what the table says of a model."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from ntire_sr.core.distributed import ProcessGroup
from ntire_sr.core.errors import Failure
from ntire_sr.models.train_config import TrainConfig

MOST_CHANNELS, MOST_BLOCKS = 4096, 256  # of a network: beyond any use, and still built in no time


class Generator(Protocol):
    """Draws HR images from an LR image: the trunk once per image, the rest once per sample.

    Images are (N, 3, H, W) float32, LR in [0, 1], SR about [0, 1] and not yet projected or clipped. Images
    are drawn in tiles: the sizes of all maps are whole multiples of the LR image's, and what a pixel
    depends on ends within the stated reaches.
    """

    scale: int
    trunk_reach: int  # LR pixels on each side that a pixel of the trunk's maps can depend on
    sample_reach: int  # LR pixels on each side that an output pixel can depend on, given trunk and latents

    def trunk(self, lr: Tensor) -> Tensor:
        """What all samples of an LR image share: (N, C, k * h, k * w)."""
        ...

    def latents(self, lr: Tensor, random: Sequence[torch.Generator]) -> Any:
        """The random part of one sample per LR image: tensors (N, C, k * h, k * w) in lists and tuples, or
        none. Each image's comes from a generator of its own, so that what is drawn for an image does not
        depend on the others of its batch; and only the size of `lr` counts."""
        ...

    def sample(self, trunk: Tensor, lr: Tensor, latents: Any) -> Tensor:
        """SR images, (N, 3, scale * H, scale * W)."""
        ...


class Trainer(Protocol):
    """The networks, losses and optimisers that train one model."""

    settings: Any  # the model's, with what was left open (`auto`) decided
    features_name: str  # what the feature losses compare
    features_reason: str | None  # why it is the fallback, where it is

    average: Any  # the generator whose weights are saved: the moving average
    remarks: list[str]  # what the user should know of the settings before hours are spent

    def step(self, lr: Tensor, hr: Tensor, random: Sequence[torch.Generator]) -> dict[str, float]:
        """One optimiser step on this process's share of a batch in [0, 1]; `self.steps_done` counts it.

        Args:
            lr, hr: crops, of a number that is the same in every process.
            random: one generator per crop.

        Returns:
            The losses of the whole batch by name, the same in every process.
        """
        ...

    def load_matching(self, weights: Mapping[str, Tensor]) -> int:
        """Begin with the tensors of other weights that fit by name and shape; how many that are."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything that a bit-exact continuation needs, as tensors, numbers, lists and dictionaries."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...

    def weights(self) -> dict[str, Tensor]:
        """The weights to draw samples with (the moving average)."""
        ...


def diverged(step: int, found: str) -> Failure:
    """The error that ends a training which has gone wrong for good."""
    return Failure(
        f"{found} at step {step}: training has diverged",
        "lower learning_rate or gamma in a new run; the checkpoints before this step are untouched",
    )


@dataclass(frozen=True)
class NoSettings:
    """The settings of a model that has none."""


@dataclass(frozen=True)
class ModelSpec:
    """One row of the table of models."""

    name: str
    summary: str
    deterministic: bool  # True: all samples of an image are equal
    settings: type  # a settings record, see ntire_sr.core.settings
    presets: Mapping[str, Mapping[str, Any]]  # preset -> values for the settings and for TrainConfig
    build: Callable[[int, Any], Any]  # (scale, settings) -> a Generator that is an nn.Module
    # none: there is nothing to train
    trainer: Callable[[TrainConfig, Any, torch.device, ProcessGroup], Trainer] | None = None
