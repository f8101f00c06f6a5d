"""The interface of trainers, and the record that describes how a model is trained."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from ntire_sr.core.distributed import ProcessGroup
from ntire_sr.core.errors import NtireSrError
from ntire_sr.core.progress import Progress
from ntire_sr.training.config import TrainConfig


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


def diverged(step: int, found: str) -> NtireSrError:
    """The error that ends a training which cannot recover."""
    return NtireSrError(
        f"{found} at step {step}: training has diverged",
        "lower learning_rate or gamma in a new run; the checkpoints before this step are untouched",
    )


@dataclass(frozen=True)
class TrainerSpec:
    """One entry of the registry of trainers."""

    model: str  # name in the registry of models
    settings: type  # the settings record, which extends the model's architecture
    presets: Mapping[str, Mapping[str, Any]]  # preset -> values for the settings and for TrainConfig
    trainer: Callable[[TrainConfig, Any, torch.device, ProcessGroup, Progress], Trainer]
