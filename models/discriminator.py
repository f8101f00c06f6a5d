"""A U-Net that judges every place of an image, and climbs down on a pretrained classifier's features.

Schönfeld et al., "A U-Net Based Discriminator", CVPR 2020, judge pixels by a U-Net: what it says of a place
takes in the texture there and the whole patch. Here its way down is not learnt: it is phi, the features
that the losses compare anyway, as in Sauer et al., "Projected GANs Converge Faster", NeurIPS 2021. So it
tells HR from SR within a hundred steps, where a U-Net that starts from nothing needs thousands, and costs
a fraction of one. The image itself stands beside phi at half size, with all its pixels: phi minds neither
contrast nor the finest grid. All layers but the first of the pixels and the last are spectrally
normalised (Miyato et al., ICLR 2018).

It judges pairs: an image beside another sample of the same LR image. Where SR_i and SR_j are drawn from the
posterior, (HR, SR_j) and (SR_i, SR_j) have the same law, so it tells the first from the second by realism
or by how far apart the two are, and samples that are too alike are as easily caught as unnatural ones. (PacGAN,
Lin et al., NeurIPS 2018, packs samples of one class against collapse; here each LR image has one HR image
only, so the other place in a pack is always a sample's.) A discriminator that sees single images rewards the
most natural answer, whatever its share of the posterior, and narrows the spread.

It is not relativistic: what it says of one pair does not depend on another, so that nothing pulls all
samples towards one answer.
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
    """Pairs of images and their features to logits.

    Args:
        channels: of every layer.
        widths: channels of the maps of phi, finest first.
    """

    def __init__(self, channels: int, widths: Sequence[int]):
        super().__init__()
        self.pixels = nn.Conv2d(6, channels, 4, stride=2, padding=1)
        self.levels = nn.ModuleList(
            _Level(width, channels) for width in (channels, *(2 * each for each in widths))
        )
        self.tail = nn.Conv2d(channels, 1, 3, padding=1)
        self.to(memory_format=torch.channels_last)

    def forward(
        self, image: Tensor, features: Sequence[Tensor], beside: Tensor, features_beside: Sequence[Tensor]
    ) -> Tensor:
        """Whether `image` is HR, given a sample of the same LR image that stands beside it.

        Args:
            image, beside: (N, 3, H, W) in about [0, 1], H and W even.
            features, features_beside: `phi` of each.

        Returns:
            Logits (N, 1, h, w), higher is more real, h and w the sizes of the finest maps, half the image's
            or all of it.
        """
        both = torch.cat((image - 0.5, image - beside), 1).contiguous(memory_format=torch.channels_last)
        pixels = functional.leaky_relu(self.pixels(both), SLOPE)
        compared = [
            torch.cat((one, (one - other).abs()), 1)
            for one, other in zip(features, features_beside, strict=True)
        ]
        by_size = sorted(zip(self.levels, (pixels, *compared), strict=True), key=lambda pair: pair[1].shape[2])
        x = None
        for level, maps in by_size:
            x = level(maps, x)
        return self.tail(x)
