"""The interface of generators, and the record that describes a model."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

MOST_CHANNELS, MOST_BLOCKS = 4096, 256  # limits far above any use, at which a network is still built quickly
TILE_PX = 256  # a usual `Generator.tile_px`


class Generator(Protocol):
    """Draws SR images from an LR image: the trunk runs once per image, the rest once per sample.

    Images are (N, 3, H, W) float32, LR in [0, 1], SR about [0, 1] and not yet projected or clipped. Images are drawn in
    tiles. So the sizes of all maps are whole multiples of the LR image's, and no pixel depends on pixels outside of the
    stated receptive field.

    A generator may also have methods `trunk_steps` and `sample_steps`: from the height and width of an LR image they
    give the modules whose calls show the progress of `trunk` and `sample`, and the number of calls. Without them the
    progress is shown by tiles.
    """

    scale: int
    # receptive-field radius of the trunk's maps, in LR pixels; None: unknown, the trunk is never tiled
    trunk_receptive_field: int | None
    # receptive-field radius of an SR pixel, given trunk and latents, in LR pixels; None: unknown, never tiled
    sample_receptive_field: int | None
    tile_px: int  # default side of a tile on a CPU, in LR pixels; a GPU starts with the whole image

    def trunk(self, lr: Tensor) -> Tensor:
        """Compute the features that all samples of an LR image share: (N, C, k * h, k * w)."""
        ...

    def latents(self, lr: Tensor, generators: Sequence[torch.Generator]) -> Any:
        """Draw the random inputs of one sample per LR image: tensors (N, C, k * h, k * w) in lists and tuples, or None.

        Each image has its own random generator, so its latents do not depend on the rest of the batch. They depend on
        the size of `lr`, not on its values.
        """
        ...

    def sample(self, trunk: Tensor, lr: Tensor, latents: Any) -> Tensor:
        """Compute SR images, (N, 3, scale * h, scale * w)."""
        ...


class PretrainedGenerator(Generator, Protocol):
    """A generator whose trunk starts with a pretrained network; `trunk(lr)` equals `adapter(features(lr))`.

    While the pretrained network is frozen, training computes its features once per LR image and caches them.
    """

    def features(self, lr: Tensor) -> Tensor:
        """Compute the pretrained network's features: (N, C, h, w)."""
        ...

    def adapter(self, features: Tensor) -> Tensor:
        """Compute the trunk from these features, with the layers that learn."""
        ...


@dataclass(frozen=True)
class NoSettings:
    """The settings record of a model without settings."""


@dataclass(frozen=True)
class ModelSpec:
    """One entry of the registry of models."""

    name: str
    summary: str
    deterministic: bool  # True: all samples of an image are equal
    needs_weights: bool  # False: it draws without a weights file
    architecture: type  # a settings record with the sizes that `build` needs, see ntire_sr.core.settings
    build: Callable[[int, Any], Any]  # (scale, architecture) -> a Generator that is an nn.Module
