"""A U-Net that judges every place of an image, and climbs down on a pretrained classifier's features.

Schönfeld et al., "A U-Net Based Discriminator", CVPR 2020, judge pixels by a U-Net: what it says of a place
takes in the texture there and the whole patch. Here its way down is not learnt: it is phi, the features
that the losses compare anyway, as in Sauer et al., "Projected GANs Converge Faster", NeurIPS 2021. So it
tells HR from SR within a hundred steps, where a U-Net that starts from nothing needs thousands, and costs
a fraction of one. The image itself stands beside phi at half size, with all its pixels: phi minds neither
contrast nor the finest grid. All layers but the first of the pixels and the last are spectrally
normalised (Miyato et al., ICLR 2018).

It is not relativistic: HR and SR are judged each for itself, so that nothing pulls all samples towards
one answer.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

SLOPE = 0.2  # of leaky ReLUs


class _Level(nn.Module):
    """One size of the pyramid: its maps, joined by what the coarser sizes know."""

    def __init__(self, inputs: int, channels: int):
        super().__init__()
        self.enter = spectral_norm(nn.Conv2d(inputs, channels, 1))
        self.join = spectral_norm(nn.Conv2d(channels, channels, 3, padding=1))

    def forward(self, maps: Tensor, coarser: Tensor | None) -> Tensor:
        x = self.enter(maps)
        if coarser is not None:
            x = x + functional.interpolate(coarser, x.shape[2:], mode="bilinear", align_corners=False)
        return functional.leaky_relu(self.join(functional.leaky_relu(x, SLOPE)), SLOPE)


class UNetDiscriminator(nn.Module):
    """Images and their features to logits, higher is more real.

    Args:
        channels: of every layer.
        widths: channels of the maps of phi, finest first.
    """

    def __init__(self, channels: int, widths: Sequence[int]):
        super().__init__()
        self.pixels = nn.Conv2d(3, channels, 4, stride=2, padding=1)
        self.levels = nn.ModuleList(_Level(width, channels) for width in (channels, *widths))
        self.tail = nn.Conv2d(channels, 1, 3, padding=1)
        self.to(memory_format=torch.channels_last)

    def forward(self, image: Tensor, features: Sequence[Tensor]) -> Tensor:
        """(N, 3, H, W) in about [0, 1], H and W even, and `phi(image)`, to (N, 1, h, w), h and w the sizes of
        the finest maps, half the image's or all of it."""
        pixels = functional.leaky_relu(
            self.pixels((image - 0.5).contiguous(memory_format=torch.channels_last)), SLOPE
        )
        by_size = sorted(zip(self.levels, (pixels, *features), strict=True), key=lambda pair: pair[1].shape[2])
        x = None
        for level, maps in by_size:
            x = level(maps, x)
        return self.tail(x)
