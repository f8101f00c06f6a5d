"""Random inputs of a generator: latents that vary over the image, and noise at every pixel.

Maps are scaled and shifted by local latents, and get noise with a learned strength per channel (StyleGAN: Karras et
al., CVPR 2019).
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from ntire_sr.core.seeding import normal

COARSE = 4  # side of a cell of the coarse latents, in LR pixels
SLOPE = 0.2  # negative slope of leaky ReLUs
FIRST_NOISE = 0.05  # initial strength of each channel's noise
MOST_SCALING = 0.5  # latents scale a channel by at most 1 plus or minus this in one block


class Latents(NamedTuple):
    """The random inputs of a sample, for the whole image."""

    fine: Tensor  # (N, latent_channels, h, w)
    coarse: Tensor  # of the same size, drawn per cell of COARSE x COARSE pixels and interpolated
    noise: list[Tensor]  # (N, 1, H, W) for each block of the decoder, at its size


def local_latents(
    lr: Tensor,
    generators: Sequence[torch.Generator],
    channels: int,
    levels: Sequence[int],
    global_latent: bool = False,
) -> Latents:
    """Draw Gaussian latents and noise of one sample per LR image, each with its own random generator.

    Args:
        lr: (N, 3, h, w); only its size and device count.
        generators: one random generator per image.
        channels: channels of the fine latents, and of the coarse ones.
        levels: for each map of noise the factor of its size: 2^level times (h, w).
        global_latent: use one latent vector per sample instead of local latents.
    """
    height, width = lr.shape[2:]
    draw = partial(normal, generators, device=lr.device)
    if global_latent:
        fine = draw(channels, 1, 1).expand(-1, -1, height, width)
        coarse = draw(channels, 1, 1).expand(-1, -1, height, width)
    else:
        fine = draw(channels, height, width)
        cells = draw(channels, -(-height // COARSE), -(-width // COARSE))
        coarse = functional.interpolate(cells, scale_factor=COARSE, mode="bilinear", align_corners=False)
        coarse = coarse[:, :, :height, :width]
    return Latents(fine, coarse, [draw(1, height << level, width << level) for level in levels])


def zero_latents(latents: Latents) -> Latents:
    """Latents and noise of 0, of the same sizes, with which a generator is deterministic."""
    noise = [torch.zeros_like(maps) for maps in latents.noise]
    return Latents(torch.zeros_like(latents.fine), torch.zeros_like(latents.coarse), noise)


class ModulatedBlock(nn.Module):
    """A residual block whose hidden maps are scaled and shifted by latents, with noise added.

    The scaling is bounded, since the scalings of consecutive blocks multiply. Without a bound, the rare places where
    all are large leave the range that the network was trained on, and show gratings at strong edges.
    """

    def __init__(self, channels: int, latents: int):
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.modulation = nn.Conv2d(latents, 2 * channels, 1)
        self.strength = nn.Parameter(torch.full((1, channels, 1, 1), FIRST_NOISE))
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        with torch.no_grad():  # a block starts near the identity
            self.second.weight.mul_(0.1)

    def forward(self, x: Tensor, latents: Tensor, noise: Tensor) -> Tensor:
        hidden = modulated(self.first(x), self.modulation, latents, self.strength, noise)
        return self.second(functional.leaky_relu_(hidden, SLOPE)).add_(x)


def upsample(x: Tensor) -> Tensor:
    """Upsample by 2 bilinearly, which leaves no trace of the original pixel grid in smooth areas.

    After nearest-neighbour upsampling a convolution sees different neighbours at every second pixel, and pixel shuffle
    has separate weights for each (Odena et al., "Deconvolution and Checkerboard Artifacts", Distill 2016). Training
    turns that into stripes of one pixel, which the diversity terms reward.
    """
    return functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


class Modulation(nn.Module):
    """Scales and shifts the maps of a layer by latents and adds noise, before the layer's activation."""

    def __init__(self, channels: int, latents: int):
        super().__init__()
        self.modulation = nn.Conv2d(latents, 2 * channels, 1)
        self.strength = nn.Parameter(torch.full((1, channels, 1, 1), FIRST_NOISE))
        with torch.no_grad():  # with zero latents only the noise is left
            self.modulation.bias.zero_()

    def forward(self, x: Tensor, latents: Tensor, noise: Tensor) -> Tensor:
        return modulated(x, self.modulation, latents, self.strength, noise)


def modulated(x: Tensor, modulation: nn.Conv2d, latents: Tensor, strength: Tensor, noise: Tensor) -> Tensor:
    """Maps scaled and shifted by latents, with noise added.

    The scaling is bounded by MOST_SCALING. The operations are in place with few passes over memory, since at full size
    those cost as much as the convolutions.

    Args:
        x: the maps, (N, C, h, w).
        modulation: 1x1 convolution from L to 2 C channels, the scale first.
        latents: (N, L, h, w).
        strength: the noise's strength per channel, (1, C, 1, 1).
        noise: (N, 1, h, w).
    """
    weight, bias, channels = modulation.weight, modulation.bias, x.shape[1]
    assert bias is not None
    scale = functional.conv2d(latents, weight[:channels] / MOST_SCALING, bias[:channels] / MOST_SCALING)
    shift = functional.conv2d(latents, weight[channels:], bias[channels:])
    return shift.add_(x).addcmul_(x, scale.tanh_(), value=MOST_SCALING).addcmul_(strength, noise)
