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
from ntire_sr.models.interfaces import MOST_BLOCKS, MOST_CHANNELS, TILE_PX, ModelSpec


@dataclass(frozen=True)
class SrganArchitecture:
    """The sizes of the generator."""

    channels: int = 32  # channels of the generator
    blocks: int = 6  # residual blocks of the generator
    noise_channels: int = 4  # channels of Gaussian noise, added to the LR image and after each upsampling

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
        with torch.no_grad():  # start near the identity, since there is no batch normalisation
            self.second.weight.mul_(0.1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(self.activation(self.first(x)))


class SrganGenerator(nn.Module):
    """SRResNet with noise channels at its input; its output is added to the bicubically upsampled LR image.

    Noise is also concatenated to the features after each upsampling. With noise at LR size alone, short trainings vary
    a pattern that repeats with the LR grid, since nothing else varies inside an LR pixel.

    There are three differences from Ledig et al. There is no batch normalisation, which makes the samples of a batch
    depend on each other. Bilinear upsampling and a convolution replace the pixel shuffle, which draws checkerboards
    before it is well trained. The last convolution is 3x3 instead of 9x9, which alone took a third of a step.

    Args:
        scale: 4 or 8.
        architecture: its sizes.
    """

    tile_px = TILE_PX

    def __init__(self, scale: int, architecture: SrganArchitecture):
        super().__init__()
        channels = architecture.channels
        self.scale = scale
        self.noise_channels = architecture.noise_channels
        levels = int(math.log2(scale))
        # Receptive-field radius, from the output back to the input: the last 3x3 adds 1 pixel at full size. Each level
        # adds 1 for its 3x3 and 1 for bilinear upsampling, and halves the size. The head adds 4 LR pixels, each
        # residual block 2, and the convolution after them 1.
        radius = 1
        for _ in range(levels):
            radius = math.ceil((radius + 1 + 1) / 2)
        self.trunk_receptive_field = 2
        self.sample_receptive_field = radius + 4 + 2 * architecture.blocks + 1
        self.head = nn.Sequential(nn.Conv2d(3 + self.noise_channels, channels, 9, padding=4), nn.PReLU())
        self.body = nn.Sequential(
            *(_Residual(channels) for _ in range(architecture.blocks)),
            nn.Conv2d(channels, channels, 3, padding=1),
        )
        self.up = nn.ModuleList(
            nn.Conv2d(channels + self.noise_channels, channels, 3, padding=1) for _ in range(levels)
        )
        self.activations = nn.ModuleList(nn.PReLU() for _ in range(levels))
        self.tail = nn.Conv2d(channels, 3, 3, padding=1)
        with torch.no_grad():
            self.tail.weight.mul_(0.1)
        self.to(memory_format=torch.channels_last)  # on CPUs twice as fast

    def trunk(self, lr: Tensor) -> Tensor:
        """The bicubically upsampled LR image, (N, 3, scale * h, scale * w).

        Noise enters at the first layer, so samples share nothing else.
        """
        return bicubic_upsample(lr, self.scale)

    def latents(self, lr: Tensor, generators: Sequence[torch.Generator]) -> list[Tensor]:
        """Gaussian noise at LR size and at the size after each upsampling, (N, noise_channels, k * h, k * w)."""
        height, width = lr.shape[2:]
        sizes = [(height << level, width << level) for level in range(len(self.up) + 1)]
        return [normal(generators, self.noise_channels, *size, device=lr.device) for size in sizes]

    def sample(self, trunk: Tensor, lr: Tensor, latents: list[Tensor]) -> Tensor:
        """SR images, (N, 3, scale * h, scale * w), about [0, 1]."""
        dtype = self.tail.weight.dtype
        maps = torch.cat((lr - 0.5, latents[0]), 1).to(dtype).contiguous(memory_format=torch.channels_last)
        maps = self.head(maps)
        maps = maps + self.body(maps)
        for convolution, activation, noise in zip(self.up, self.activations, latents[1:], strict=True):
            maps = functional.interpolate(maps, scale_factor=2, mode="bilinear", align_corners=False)
            joined = torch.cat((maps, noise.to(dtype)), 1).contiguous(memory_format=torch.channels_last)
            maps = activation(convolution(joined))
        return trunk + self.tail(maps)


class SrganDiscriminator(nn.Module):
    """Strided convolutions with spectral normalisation; one logit per patch, higher means more real.

    (N, 3, H, W) in about [0, 1] to (N, 1, H / 8, W / 8), rounded up.

    Args:
        channels: channels of the first two layers; later layers have twice and four times as many.
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
