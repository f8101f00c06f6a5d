"""The networks of `srgan`: SRResNet with noise inputs, and a discriminator of strided convolutions.

Ledig et al., "Photo-Realistic Single Image Super-Resolution Using a GAN", CVPR 2017.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from ntire_sr.challenge.projection import bicubic_upsample
from ntire_sr.core.errors import require
from ntire_sr.core.seeding import normal
from ntire_sr.models.interfaces import MOST_BLOCKS, MOST_CHANNELS, ModelSpec


@dataclass(frozen=True)
class SrganArchitecture:
    """The sizes of the generator."""

    channels: int = 32  # channels of the generator
    blocks: int = 6  # residual blocks of the generator
    noise_channels: int = 4  # channels of Gaussian noise beside the LR image and at each doubled size

    def __post_init__(self) -> None:
        for name in ("channels", "blocks", "noise_channels"):
            value, most = getattr(self, name), MOST_BLOCKS if name == "blocks" else MOST_CHANNELS
            require(1 <= value <= most, f"{name} {value} is out of range", f"1 to {most}")


class _Residual(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.activation = nn.PReLU()
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        with torch.no_grad():  # starting near the identity takes the place of batch normalisation
            self.second.weight.mul_(0.1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(self.activation(self.first(x)))


class SrganGenerator(nn.Module):
    """SRResNet with noise channels at its input; its output is added to a bicubic enlargement.

    Noise is also concatenated to the features after each upsampling: with noise at LR size alone, short
    trainings vary a pattern that repeats with the LR grid, since nothing else varies inside an LR pixel.

    Three departures from Ledig et al. make short trainings look sound: no batch normalisation (it
    ties the samples of a batch together), bilinear upsampling before a convolution instead of
    the pixel shuffle (which draws checkerboards before it is well trained), and a last convolution of
    3x3 instead of 9x9 (which alone took a third of a step).

    Args:
        scale: 4 or 8.
        architecture: its sizes.
    """

    def __init__(self, scale: int, architecture: SrganArchitecture):
        super().__init__()
        channels = architecture.channels
        self.scale = scale
        self.noise_channels = architecture.noise_channels
        doublings = int(math.log2(scale))
        # The last 3x3 reaches 1 pixel at full size; the 3x3 after each upsampling reaches one more, then
        # sizes halve. The head reaches 4 LR pixels, each residual block 2, and the convolution after them 1.
        reach = 1
        for _ in range(doublings):
            reach = math.ceil((reach + 1 + 1) / 2)  # bilinear upsampling reaches one pixel further
        self.trunk_reach, self.sample_reach = 2, reach + 4 + 2 * architecture.blocks + 1
        self.head = nn.Sequential(nn.Conv2d(3 + self.noise_channels, channels, 9, padding=4), nn.PReLU())
        self.body = nn.Sequential(
            *(_Residual(channels) for _ in range(architecture.blocks)),
            nn.Conv2d(channels, channels, 3, padding=1),
        )
        self.up = nn.ModuleList(
            nn.Conv2d(channels + self.noise_channels, channels, 3, padding=1) for _ in range(doublings)
        )
        self.activations = nn.ModuleList(nn.PReLU() for _ in range(doublings))
        self.tail = nn.Conv2d(channels, 3, 3, padding=1)
        with torch.no_grad():
            self.tail.weight.mul_(0.1)
        self.to(memory_format=torch.channels_last)  # on CPUs twice as fast

    def trunk(self, lr: Tensor) -> Tensor:
        """The bicubic enlargement, (N, 3, scale * h, scale * w); noise enters at the first layer, so that
        samples share nothing else."""
        return bicubic_upsample(lr, self.scale)

    def latents(self, lr: Tensor, random: Sequence[torch.Generator]) -> list[Tensor]:
        """Gaussian noise at LR size and at the size after each upsampling, (N, noise_channels, k * h, k * w)."""
        height, width = lr.shape[2:]
        sizes = [(height << level, width << level) for level in range(len(self.up) + 1)]
        return [normal(random, self.noise_channels, *size, device=lr.device) for size in sizes]

    def sample(self, trunk: Tensor, lr: Tensor, latents: list[Tensor]) -> Tensor:
        """SR images, (N, 3, scale * h, scale * w), about [0, 1]."""
        maps = torch.cat((lr - 0.5, latents[0]), 1).contiguous(memory_format=torch.channels_last)
        maps = self.head(maps)
        maps = maps + self.body(maps)
        for convolution, activation, noise in zip(self.up, self.activations, latents[1:], strict=True):
            maps = functional.interpolate(maps, scale_factor=2, mode="bilinear", align_corners=False)
            maps = activation(
                convolution(torch.cat((maps, noise), 1).contiguous(memory_format=torch.channels_last))
            )
        return trunk + self.tail(maps)


class SrganDiscriminator(nn.Module):
    """Strided convolutions with spectral normalisation, one logit per patch: (N, 3, H, W) in about [0, 1] to
    (N, 1, H / 8, W / 8), rounded up; higher is more real.

    Args:
        channels: channels of the first two layers; doubled twice further down.
    """

    def __init__(self, channels: int):
        super().__init__()
        widths = (channels, channels, 2 * channels, 2 * channels, 4 * channels, 4 * channels)
        layers: list[nn.Module] = []
        inputs = 3
        for index, width in enumerate(widths):
            convolution = nn.Conv2d(inputs, width, 3, stride=1 + index % 2, padding=1)
            layers += [nn.utils.parametrizations.spectral_norm(convolution), nn.LeakyReLU(0.2)]
            inputs = width
        layers.append(nn.utils.parametrizations.spectral_norm(nn.Conv2d(inputs, 1, 3, padding=1)))
        self.layers = nn.Sequential(*layers)
        self.to(memory_format=torch.channels_last)

    def forward(self, image: Tensor) -> Tensor:
        return self.layers((image - 0.5).contiguous(memory_format=torch.channels_last))


MODEL = ModelSpec(
    name="srgan",
    summary="SRGAN with noise input, LR term and negative diversity loss: the student method",
    deterministic=False,
    needs_weights=True,
    architecture=SrganArchitecture,
    build=SrganGenerator,
)
