"""Bicubic enlargement, the deterministic baseline without weights. Projection makes it LR-exact."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ntire_sr.challenge.projection import bicubic_upsample
from ntire_sr.models.interfaces import ModelSpec, NoSettings


class Bicubic(nn.Module):
    """Bicubic enlargement as a generator whose samples are all equal."""

    trunk_reach, sample_reach = 2, 0

    def __init__(self, scale: int):
        super().__init__()
        self.scale = scale

    def trunk(self, lr: Tensor) -> Tensor:
        """The enlarged image, (N, 3, scale * h, scale * w)."""
        return bicubic_upsample(lr, self.scale)

    def latents(self, lr: Tensor, random: Sequence[torch.Generator]) -> None:
        """None, since nothing is random."""
        return None

    def sample(self, trunk: Tensor, lr: Tensor, latents: None) -> Tensor:
        """The enlarged image again."""
        return trunk


MODEL = ModelSpec(
    name="bicubic",
    summary="bicubic enlargement: no weights, deterministic",
    deterministic=True,
    needs_weights=False,
    architecture=NoSettings,
    build=lambda scale, architecture: Bicubic(scale),
)
