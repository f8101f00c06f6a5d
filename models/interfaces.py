"""The interfaces of generators and trainers, and the record that describes a model."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from ntire_sr.core.distributed import ProcessGroup
from ntire_sr.core.errors import Failure
from ntire_sr.core.progress import Progress
from ntire_sr.models.train_config import TrainConfig

MOST_CHANNELS, MOST_BLOCKS = 4096, 256  # limits far above any use, at which a network is still built quickly


class Generator(Protocol):
    """Draws SR images from an LR image: the trunk runs once per image, the rest once per sample.

    Images are (N, 3, H, W) float32, LR in [0, 1], SR about [0, 1] and not yet projected or clipped. Images
    are drawn in tiles, so the sizes of all maps must be whole multiples of the LR image's, and the receptive
    field of a pixel must end within the stated reaches.
    """

    scale: int
    # LR pixels on each side that a pixel of the trunk's maps can depend on; None: unknown, it is never tiled
    trunk_reach: int | None
    # LR pixels on each side that an output pixel can depend on, given trunk and latents; None: it is never tiled
    sample_reach: int | None

    def trunk(self, lr: Tensor) -> Tensor:
        """The features that all samples of an LR image share: (N, C, k * h, k * w)."""
        ...

    def latents(self, lr: Tensor, random: Sequence[torch.Generator]) -> Any:
        """The random inputs of one sample per LR image: tensors (N, C, k * h, k * w) in lists and tuples, or
        None. Each image has a random generator of its own, so that its latents do not depend on the others
        of its batch; they depend on the size of `lr`, not on its values."""
        ...

    def sample(self, trunk: Tensor, lr: Tensor, latents: Any) -> Tensor:
        """SR images, (N, 3, scale * h, scale * w)."""
        ...


@dataclass(frozen=True)
class FrozenFeatures:
    """What a trainer computes of the LR images alone, the same at every step, so that it may be kept."""

    compute: Callable[[Tensor], Tensor]  # LR images (N, 3, h, w) in [0, 1] -> maps (N, C, h, w)
    key: str  # digest of all that the maps depend on beside the image


class Trainer(Protocol):
    """The networks, losses and optimisers that train one model."""

    settings: Any  # the model's settings, with every `auto` replaced by what was chosen
    features_name: str  # the network of the feature losses
    features_reason: str | None  # why that network is the fallback; None if it is not

    average: Any  # the generator's EMA, whose weights are saved
    remarks: list[str]  # warnings about the settings, shown before the training starts

    def frozen_features(self) -> FrozenFeatures | None:
        """What may be computed once per photograph; None if all of the network learns. It is final when initial
        weights or a checkpoint are loaded."""
        ...

    def step(
        self, lr: Tensor, hr: Tensor, random: Sequence[torch.Generator], features: Tensor | None = None
    ) -> dict[str, float]:
        """One optimiser step on this process's share of a batch.

        Args:
            lr, hr: crops in [0, 1], (N, 3, h, w) and (N, 3, H, W), as many in every process.
            random: one random generator per crop.
            features: the crops' part of what `frozen_features` computes of their photographs, (N, C, h, w); None if
                it is not kept.

        Returns:
            The losses of the whole batch by name, the same in every process.
        """
        ...

    def load_matching(self, weights: Mapping[str, Tensor]) -> int:
        """Initialise from the tensors of other weights that fit by name and shape; returns their number."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """All that a bit-exact continuation needs, as tensors, numbers, lists and dictionaries."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a `state_dict`, also one of an earlier version."""
        ...

    def weights(self) -> dict[str, Tensor]:
        """The weights to draw samples with: those of the EMA."""
        ...


def diverged(step: int, found: str) -> Failure:
    """The error that ends a training which cannot recover."""
    return Failure(
        f"{found} at step {step}: training has diverged",
        "lower learning_rate or gamma in a new run; the checkpoints before this step are untouched",
    )


@dataclass(frozen=True)
class NoSettings:
    """The settings record of a model that has no settings."""


@dataclass(frozen=True)
class ModelSpec:
    """One entry of the registry of models."""

    name: str
    summary: str
    deterministic: bool  # True: all samples of an image are equal
    settings: type  # a settings record, see ntire_sr.core.settings
    presets: Mapping[str, Mapping[str, Any]]  # preset -> values for the settings and for TrainConfig
    build: Callable[[int, Any], Any]  # (scale, settings) -> a Generator that is an nn.Module
    architecture: type = NoSettings  # the part of the settings that `build` needs: a record that they extend
    # None if there is nothing to train
    trainer: Callable[[TrainConfig, Any, torch.device, ProcessGroup, Progress], Trainer] | None = None
