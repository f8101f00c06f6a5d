"""The network of `stochastic`: a generator that is trained to sample the posterior.

A deterministic trunk of dense blocks (RRDB: Wang et al., "ESRGAN", ECCV workshops 2018) computes features of the LR
image once. A decoder draws samples from them. Every block is modulated by latents that vary over the image, and adds
noise to every pixel with a learned strength (StyleGAN: Karras et al., CVPR 2019). No random number is shared by a whole
sample, so distant parts of an image are independent given the trunk's features. The output is projected onto the LR
image (`projection.project`), in training and in sampling.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from ntire_sr.challenge.projection import bicubic_upsample
from ntire_sr.core.errors import require
from ntire_sr.models.earlier_names import rename_on_load
from ntire_sr.models.interfaces import MOST_BLOCKS, MOST_CHANNELS, TILE_PX
from ntire_sr.models.modulation import (
    SLOPE,
    Latents,
    ModulatedBlock,
    local_latents,
    modulation_inputs,
    set_noise,
    upsample,
)
from ntire_sr.models.rrdb import RESIDUAL_SCALE, dense_residual

DENSE_LAYERS = 4  # layers of a dense block before the one that joins them
DENSE_PER_GROUP = 3  # dense blocks in a residual-in-residual group


@dataclass(frozen=True)
class Architecture:
    """The sizes of the generator."""

    channels: int = 32  # channels of the trunk, and of the decoder at LR size
    growth: int = 16  # channels that each layer of a dense block adds
    groups: int = 1  # residual-in-residual groups of three dense blocks in the trunk
    blocks: int = 3  # decoder blocks at LR size
    fine_channels: int = 16  # channels of the decoder at full size
    latent_channels: int = 8  # channels of the latents at LR size, and of those at a quarter of it
    rrdb: bool = False  # whether the trunk is a pretrained RRDBNet's, see trunk and start_from
    adapter_blocks: int = 0  # residual blocks between a pretrained trunk and the decoder, run once per LR image
    shared_upsamplings: int = 0  # upsamplings between a pretrained trunk and the decoder, run once per LR image, each followed by as many residual blocks
    mid_blocks: int = 1  # decoder blocks after each upsampling except the last, on a pretrained trunk
    global_latent: bool = False  # use one latent vector per sample instead of local latents, for comparison

    # see core.settings
    RENAMED: ClassVar[Mapping[str, str]] = {
        "adapter": "adapter_blocks",
        "finer": "mid_blocks",
        "sample_wide": "global_latent",
    }
    EARLIER: ClassVar[Mapping[str, Any]] = {
        "rrdb": False,
        "adapter_blocks": 0,
        "shared_upsamplings": 0,
        "mid_blocks": 1,
    }

    def __post_init__(self) -> None:
        for name in ("channels", "growth", "groups", "blocks", "fine_channels", "latent_channels"):
            value, most = getattr(self, name), MOST_BLOCKS if name in ("groups", "blocks") else MOST_CHANNELS
            require(1 <= value <= most, f"{name} {value} is out of range", f"1 to {most}")
        for name in ("adapter_blocks", "mid_blocks"):
            value = getattr(self, name)
            require(0 <= value <= MOST_BLOCKS, f"{name} {value} is out of range", f"0 to {MOST_BLOCKS}")
        require(
            0 <= self.shared_upsamplings <= 2,
            f"shared_upsamplings {self.shared_upsamplings} is out of range",
            "0 to 2, and less than all of the scale's",
        )


class _DenseBlock(nn.Module):
    """Residual dense block: each layer sees the outputs of all layers before it; receptive-field radius 5 pixels."""

    def __init__(self, channels: int, growth: int):
        super().__init__()
        widths = [channels + index * growth for index in range(DENSE_LAYERS + 1)]
        self.layers = nn.ModuleList(nn.Conv2d(width, growth, 3, padding=1) for width in widths[:-1])
        self.join = nn.Conv2d(widths[-1], channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return dense_residual(x, self.layers, self.join)


class _RRDB(nn.Module):
    """Residual-in-residual dense block: three dense blocks inside one more residual."""

    def __init__(self, channels: int, growth: int):
        super().__init__()
        self.blocks = nn.Sequential(*(_DenseBlock(channels, growth) for _ in range(DENSE_PER_GROUP)))

    def forward(self, x: Tensor) -> Tensor:
        return x + RESIDUAL_SCALE * (self.blocks(x) - x)


class _Upsampling(nn.Module):
    """Bilinear upsampling by 2 and a convolution."""

    def __init__(self, channels: int, out_channels: int):
        super().__init__()
        self.convolution = nn.Conv2d(channels, out_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return functional.leaky_relu_(self.convolution(upsample(x)), SLOPE)


class StochasticGenerator(nn.Module):
    """Dense-block trunk and modulated decoder, see the module's docstring and `interfaces.Generator`.

    Args:
        scale: 4 or 8.
        architecture: its sizes.
    """

    tile_px = TILE_PX

    def __init__(self, scale: int, architecture: Architecture):
        super().__init__()
        a = architecture
        levels = int(math.log2(scale))
        self.scale, self.architecture = scale, a
        self.head = nn.Conv2d(3, a.channels, 3, padding=1)
        self.groups = nn.Sequential(*(_RRDB(a.channels, a.growth) for _ in range(a.groups)))
        self.trunk_conv = nn.Conv2d(a.channels, a.channels, 3, padding=1)
        width = 2 * a.latent_channels
        self.latent_conv = nn.Conv2d(width, width, 3, padding=1)
        self.blocks = nn.ModuleList(ModulatedBlock(a.channels, width) for _ in range(a.blocks))
        # the number of channels falls to that at full size in equal steps
        widths = [
            round(a.channels + (a.fine_channels - a.channels) * level / levels) for level in range(levels + 1)
        ]
        self.upsample_convs = nn.ModuleList(_Upsampling(widths[i], widths[i + 1]) for i in range(levels))
        self.mid_blocks = nn.ModuleList(ModulatedBlock(width_out, width) for width_out in widths[1:])
        self.tail = nn.Conv2d(a.fine_channels, 3, 3, padding=1)
        with torch.no_grad():
            self.tail.weight.mul_(0.1)
            self.tail.bias.zero_()
        # Receptive-field radius, from the output back to the input: the tail adds 1 pixel at full size. A block adds 2
        # and an upsampling's convolution 1 pixel at their size, and bilinear interpolation 1 pixel of the size before.
        radius = 1
        for _ in range(levels):
            radius = (radius + 2 + 1) // 2 + 1
        dense = DENSE_PER_GROUP * (DENSE_LAYERS + 1)
        self.trunk_receptive_field = 1 + dense * a.groups + 1
        self.sample_receptive_field = radius + 2 * a.blocks
        self.register_load_state_dict_pre_hook(rename_on_load)
        self.to(memory_format=torch.channels_last)

    def trunk(self, lr: Tensor) -> Tensor:
        """The features that all samples share: (N, 3, h, w) in [0, 1] to (N, channels, h, w)."""
        maps = self.head((lr - 0.5).to(self.head.weight.dtype).contiguous(memory_format=torch.channels_last))
        return maps + self.trunk_conv(self.groups(maps))

    def latents(self, lr: Tensor, generators: Sequence[torch.Generator]) -> Latents:
        """Gaussian latents and noise of one sample per LR image."""
        a = self.architecture
        levels = [0] * len(self.blocks) + list(range(1, len(self.upsample_convs) + 1))
        return local_latents(lr, generators, a.latent_channels, levels, a.global_latent)

    def sample(self, trunk: Tensor, lr: Tensor, latents: Latents) -> Tensor:
        """SR images, (N, 3, scale * h, scale * w), about [0, 1], before projection."""
        joined = torch.cat((latents.fine, latents.coarse), 1).to(trunk.dtype)
        latent_maps = functional.leaky_relu(
            self.latent_conv(joined.contiguous(memory_format=torch.channels_last)), SLOPE
        )
        maps, count = trunk, len(self.blocks)
        inputs = set_noise(modulation_inputs(latent_maps, count), latents.noise[:count])
        for index, block in enumerate(self.blocks):
            maps = block(maps, inputs, index)
        inputs = modulation_inputs(latent_maps, 1)
        for upsample_conv, block, noise in zip(
            self.upsample_convs, self.mid_blocks, latents.noise[count:], strict=True
        ):
            inputs = set_noise(upsample(inputs), [noise])
            maps = block(upsample_conv(maps), inputs, 0)
        return bicubic_upsample(lr, self.scale) + self.tail(maps)

    def trunk_steps(self, height: int, width: int) -> dict[nn.Module, int]:
        """See `interfaces.Generator`."""
        return dict.fromkeys(self.groups, 1)

    def sample_steps(self, height: int, width: int) -> dict[nn.Module, int]:
        """See `interfaces.Generator`."""
        return dict.fromkeys((*self.blocks, *self.mid_blocks), 1)
