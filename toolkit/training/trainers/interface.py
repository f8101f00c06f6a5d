"""The interface of trainers, and the record that describes how a model is trained."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from ntire_sr.core.distributed import ProcessGroup
from ntire_sr.core.progress import Progress
from ntire_sr.training.config import TrainConfig
from ntire_sr.training.gan_state import GanState


@dataclass(frozen=True)
class FrozenFeatures:
    """LR features that do not change during training and can be cached."""

    compute: Callable[[Tensor], Tensor]  # LR images (N, 3, h, w) in [0, 1] -> maps (N, C, h, w)
    key: str  # digest of all that the maps depend on besides the image


class Trainer(Protocol):
    """The networks, losses and optimisers that train one model."""

    settings: Any  # the model's settings, with every `auto` replaced by what was chosen
    features_name: str  # the network of the feature losses

    origin: dict[str, Any]  # facts for the weights file about what the network was built from

    gan: GanState  # networks, EMA and optimisers
    messages: list[str]  # shown before the training starts

    def frozen_features(self) -> FrozenFeatures | None:
        """The features to cache; None if the whole network learns.

        Call it after initial weights or a checkpoint are loaded."""
        ...

    def step(
        self, lr: Tensor, hr: Tensor, generators: list[torch.Generator], features: Tensor | None = None
    ) -> dict[str, float]:
        """One optimiser step on this process's share of a batch.

        Args:
            lr, hr: crops in [0, 1], (N, 3, h, w) and (N, 3, H, W), as many in every process.
            generators: one random generator per crop.
            features: the crops' part of the cached `frozen_features`, (N, C, h, w); None if they are not cached.

        Returns:
            The losses of the whole batch by name, the same in every process. Among them is `off_range`, see
            `gradient_guard.has_exploded`; a trainer that skips bad steps itself also gives `skipped` and `rollbacks`,
            the numbers so far.
        """
        ...

    def read_initial(self, path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
        """The metadata and tensors of a weights file to start from, as `read_weights` gives them."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """The state that training needs to resume bit for bit, as tensors, numbers, lists and dictionaries."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a `state_dict`, also one of an earlier version."""
        ...

    def weights(self) -> dict[str, Tensor]:
        """The weights to draw samples with: those of the EMA."""
        ...


@dataclass(frozen=True)
class TrainerSpec:
    """One entry of the registry of trainers."""

    model: str  # name in the registry of models, or of a network from outside the package, see `network_name`
    architecture: type  # the settings record with the network's sizes
    settings: type  # the settings record, with the fields of `architecture`
    presets: Mapping[str, Mapping[str, Any]]  # preset -> values for the settings and for TrainConfig
    trainer: Callable[[TrainConfig, Any, torch.device, ProcessGroup, Progress], Trainer]
