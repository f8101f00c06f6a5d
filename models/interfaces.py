"""The interface of generators, and the record that describes a model."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

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
class NoSettings:
    """The settings record of a model that has no settings."""


@dataclass(frozen=True)
class ModelSpec:
    """One entry of the registry of models."""

    name: str
    summary: str
    deterministic: bool  # True: all samples of an image are equal
    needs_weights: bool  # False: it draws without a weights file
    architecture: type  # a settings record with the sizes that `build` needs, see ntire_sr.core.settings
    build: Callable[[int, Any], Any]  # (scale, architecture) -> a Generator that is an nn.Module
