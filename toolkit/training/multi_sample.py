"""The differentiable forward pass from LR images to several samples of each, as every trainer needs it."""

from typing import Any

import torch
from torch import Tensor, nn

from ntire_sr.challenge.downscale import downscale
from ntire_sr.challenge.projection import project
from ntire_sr.models.maps import map_tensors


def draw_latents(generator: Any, lr: Tensor, generators: list[torch.Generator], samples: int) -> Any:
    """Latents for `MultiSampleForward`: `samples` per LR image, all from that image's random generator."""
    return generator.latents(lr.repeat(samples, 1, 1, 1), generators * samples)


class MultiSampleForward(nn.Module):
    """Draws several samples of each LR image; a module, so that DDP can average gradients over processes.

    Args:
        generator: see `interfaces.Generator`.
        samples: number of samples of each LR image, if a call states no other.
        projection: project the samples onto their LR images, without clipping or rounding.
        half: compute the network in bfloat16 where autocast allows it; the projection is always float32.
    """

    def __init__(self, generator: nn.Module, samples: int, projection: bool, half: bool = False):
        super().__init__()
        self.generator: Any = generator
        self.samples, self.projection, self.half = samples, projection, half

    def forward(
        self, lr: Tensor, latents: Any, features: Tensor | None = None, samples: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """The trunk runs once per image, the rest once per sample.

        Args:
            lr: (N, 3, h, w) in [0, 1].
            latents: from `draw_latents`, of samples * N samples.
            features: those of a frozen trunk where they are known already, what `generator.features(lr)` gives;
                None computes everything here.
            samples: number of samples of each image; None means that of the module.

        Returns:
            The samples, (samples * N, 3, H, W) float32: the first sample of each image, then the second, and
            so on; and the mean absolute difference between the LR images and the downscaled samples before
            projection, a scalar. (After projection it would be 0.)
        """
        count = samples or self.samples
        repeated = lr.repeat(count, 1, 1, 1)
        with torch.autocast(lr.device.type, torch.bfloat16, enabled=self.half):
            trunk = self.generator.trunk(lr) if features is None else self.generator.adapter(features)
            trunks = map_tensors(lambda maps: maps.repeat(count, *[1] * (maps.ndim - 1)), trunk)
            drawn = self.generator.sample(trunks, repeated, latents).float()
        lr_error = (downscale(drawn, self.generator.scale) - repeated).abs().mean()
        return project(drawn, repeated, self.generator.scale) if self.projection else drawn, lr_error
