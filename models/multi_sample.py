"""From LR images to their samples in one pass that gradients follow back: what every training does."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ntire_sr.core.downscale import downscale
from ntire_sr.models.projection import project


def draw_latents(generator: Any, lr: Tensor, random: Sequence[torch.Generator], samples: int) -> Any:
    """The latents of `samples` samples of each LR image, for `MultiSampleForward`; each image's from its own generator."""
    return generator.latents(lr.repeat(samples, 1, 1, 1), list(random) * samples)


class MultiSampleForward(nn.Module):
    """Several samples of each LR image; a module, so that gradients can be averaged over processes.

    Args:
        generator: see `contract.Generator`.
        samples: of each LR image.
        projection: make them LR-exact, before any clipping or rounding.
        half: compute the network in bfloat16, where that is precise enough; the projection never is.
    """

    def __init__(self, generator: nn.Module, samples: int, projection: bool, half: bool = False):
        super().__init__()
        self.generator: Any = generator
        self.samples, self.projection, self.half = samples, projection, half

    def forward(self, lr: Tensor, latents: Any) -> tuple[Tensor, Tensor]:
        """(N, 3, h, w) and latents of samples * N to (samples * N, 3, H, W) float32: first a sample of each
        image, then the next. The trunk runs once per image.

        Returns:
            The samples, and how far the network's own images are from the LR image: the mean absolute
            difference of their reduction, a scalar. Projection leaves nothing of it to be seen.
        """
        repeated = lr.repeat(self.samples, 1, 1, 1)
        with torch.autocast(lr.device.type, torch.bfloat16, enabled=self.half):
            trunk = self.generator.trunk(lr).repeat(self.samples, 1, 1, 1)
            drawn = self.generator.sample(trunk, repeated, latents).float()
        apart = (downscale(drawn, self.generator.scale) - repeated).abs().mean()
        return project(drawn, repeated, self.generator.scale) if self.projection else drawn, apart
