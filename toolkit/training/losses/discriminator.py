"""A U-Net discriminator with a frozen classifier as encoder, which judges pairs of images.

Schönfeld et al., "A U-Net Based Discriminator", CVPR 2020, compute a logit per pixel by a U-Net, so that each
logit depends on the texture there and on the whole patch. Here the encoder is not trained: it is phi, whose
features the losses compare anyway, as in Sauer et al., "Projected GANs Converge Faster", NeurIPS 2021. So the
discriminator separates HR from SR within a hundred steps, where a U-Net from scratch needs thousands, and
costs a fraction of one. The image itself is a further input at half size, with all its pixels, since phi is
blind to contrast and to the finest grid. All layers but the first convolution of the pixels and the last
layer are spectrally normalised (Miyato et al., ICLR 2018).

Its input is a pair: an image and its partner, another sample of the same LR image. If SR_i and SR_j are
samples of the posterior, (HR, SR_j) and (SR_i, SR_j) have the same distribution. So the discriminator can
separate them by realism or by the distance within the pair, and samples that are too alike are detected as
easily as unnatural ones. (PacGAN, Lin et al., NeurIPS 2018, packs samples of one class against mode collapse;
here each LR image has one HR image only, so the partner is always a sample.) A discriminator of single
images rewards the most natural sample, whatever its probability in the posterior, and narrows the spread.

It is not relativistic: the logits of one pair do not depend on another pair, so that no gradient pulls all
samples towards each other.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

SLOPE = 0.2  # negative slope of leaky ReLUs


class _Level(nn.Module):
    """One level of the decoder: its skip connection, added to the upsampled output of the coarser level."""

    def __init__(self, inputs: int, channels: int, half_precision: bool):
        super().__init__()
        self.half_precision = half_precision
        self.enter = spectral_norm(nn.Conv2d(inputs, channels, 1))
        self.join = spectral_norm(nn.Conv2d(channels, channels, 3, padding=1))

    def forward(self, maps: Tensor, coarser: Tensor | None) -> Tensor:
        x = self._convolved(self.enter, maps)
        if coarser is not None:
            x = x + functional.interpolate(coarser, x.shape[2:], mode="bilinear", align_corners=False)
        return functional.leaky_relu(self._convolved(self.join, functional.leaky_relu(x, SLOPE)), SLOPE)

    def _convolved(self, layer: nn.Conv2d, maps: Tensor) -> Tensor:
        weight = layer.weight  # outside of autocast, since it computes the spectral norm
        with torch.autocast(maps.device.type, torch.bfloat16, enabled=self.half_precision):
            return functional.conv2d(maps, weight, layer.bias, padding=layer.padding)


class UNetDiscriminator(nn.Module):
    """Computes logits from pairs of images and their features.

    Args:
        channels: channels of every layer.
        widths: channels of phi's maps, finest first.
        half_precision: compute in bfloat16 what costs most: all convolutions but that of the pixels and the last.
    """

    def __init__(self, channels: int, widths: Sequence[int], half_precision: bool = False):
        super().__init__()
        self.pixels = nn.Conv2d(6, channels, 4, stride=2, padding=1)
        self.levels = nn.ModuleList(
            _Level(width, channels, half_precision) for width in (channels, *(2 * width for width in widths))
        )
        self.tail = nn.Conv2d(channels, 1, 3, padding=1)
        self.to(memory_format=torch.channels_last)

    def forward(
        self, image: Tensor, features: Sequence[Tensor], partner: Tensor, partner_features: Sequence[Tensor]
    ) -> Tensor:
        """Whether `image` is HR, given another sample of the same LR image.

        Args:
            image, partner: (N, 3, H, W) in about [0, 1], H and W even.
            features, partner_features: `phi` of each.

        Returns:
            Logits (N, 1, h, w), higher is more real; h and w are those of the finest maps, which is half the
            image's size or all of it.
        """
        both = torch.cat((image - 0.5, image - partner), 1).contiguous(memory_format=torch.channels_last)
        pixels = functional.leaky_relu(self.pixels(both), SLOPE)
        compared = [
            torch.cat((maps, (maps - partner_maps).abs()), 1)
            for maps, partner_maps in zip(features, partner_features, strict=True)
        ]
        by_size = sorted(zip(self.levels, (pixels, *compared), strict=True), key=lambda pair: pair[1].shape[2])
        x = None
        for level, maps in by_size:
            x = level(maps, x)
        assert x is not None
        return self.tail(x.float())
