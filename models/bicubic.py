"""Bicubic upsampling, the deterministic baseline without weights. Projection makes it LR-exact."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ntire_sr.challenge.projection import bicubic_upsample
from ntire_sr.models.interfaces import TILE_PX, ModelSpec, NoSettings


class Bicubic(nn.Module):
    """Bicubic upsampling as a generator whose samples are all equal; see `interfaces.Generator`."""

    trunk_receptive_field, sample_receptive_field, tile_px = 2, 0, TILE_PX

    def __init__(self, scale: int):
        super().__init__()
        self.scale = scale

    def trunk(self, lr: Tensor) -> Tensor:
        """The upsampled image, (N, 3, scale * h, scale * w)."""
        return bicubic_upsample(lr, self.scale)

    def latents(self, lr: Tensor, generators: Sequence[torch.Generator]) -> None:
        """None, since nothing is random."""
        return None

    def sample(self, trunk: Tensor, lr: Tensor, latents: None) -> Tensor:
        """The upsampled image, which is the trunk."""
        return trunk


MODEL = ModelSpec(
    name="bicubic",
    summary="bicubic upsampling: no weights, deterministic",
    deterministic=True,
    needs_weights=False,
    architecture=NoSettings,
    build=lambda scale, architecture: Bicubic(scale),
)
