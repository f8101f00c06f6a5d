"""`stochastic` on a pretrained trunk: an RRDBNet's layers at LR size, and a decoder initialised from that network.

The trunk (`rrdb.RrdbTrunk`) runs once per LR image. The decoder has the layers of the pretrained network (the parent):
upsamplings and two convolutions. In addition it has what makes it a sampler: residual blocks that local latents
modulate, and after each of the parent's layers a bounded modulation and noise. All of these start as the identity or
close to it, so with zero latents the decoder draws what its parent drew. It upsamples bilinearly, where its parent
repeats pixels, so that it leaves no trace of the LR pixel grid (see `modulation.upsample`).

Between trunk and decoder there are residual blocks, which learn also where the trunk is frozen. All samples share
their maps, which are computed once per LR image.

At scale 8 the first upsampling is among these shared layers, and the latents enter at twice the LR size. Latents that
modulate layers at LR size are white noise there, and the upsamplings turn each of their values into a dot, always at the
same place within its LR pixel. The smaller the LR pixels are in the HR image, the less that shows: at scale 4 it is faint.
"""

import math
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from ntire_sr.core.device import return_freed_memory
from ntire_sr.core.errors import require
from ntire_sr.models.earlier_names import rename_on_load
from ntire_sr.models.modulation import (
    SLOPE,
    Latents,
    ModulatedBlock,
    Modulation,
    local_latents,
    modulation_inputs,
    set_noise,
    upsample,
)
from ntire_sr.models.rrdb import CHANNELS, TRUNK_RECEPTIVE_FIELD, RrdbTrunk
from ntire_sr.models.stochastic import Architecture
from ntire_sr.models.tiles import in_tiles, tiles_of

# Side of the tiles in which an upsampling and the layers after it are computed on processors, in pixels of the smaller
# size. Maps of twice that side stay in the processor's cache, where convolutions run as fast as its matrix products.
LEVEL_TILE_PX = 128


def level_receptive_field(mid_blocks: int, last: bool, after: int = 0) -> int:
    """Receptive-field radius of one upsampling level, in input pixels.

    At the larger size the level's first convolution adds 1 pixel, the two after the last upsampling 1 each, a block 2.
    Bilinear interpolation adds 1 pixel of the smaller size.

    Args:
        mid_blocks: number of blocks after an upsampling that is not the last.
        last: whether it is the last upsampling.
        after: receptive-field radius of the levels after this one, at the larger size.
    """
    return (after + (3 if last else 1 + 2 * mid_blocks)) // 2 + 1


class SharedUpsampling(nn.Module):
    """Bilinear upsampling by 2 and a convolution, initialised as the identity."""

    def __init__(self, channels: int):
        super().__init__()
        self.convolution = nn.Conv2d(channels, channels, 3, padding=1)
        with torch.no_grad():
            nn.init.dirac_(self.convolution.weight)
            self.convolution.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        return self.convolution(upsample(x))


class ResidualBlock(nn.Module):
    """Two convolutions with a residual, initialised as the identity; receptive-field radius 2 pixels."""

    def __init__(self, channels: int):
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        with torch.no_grad():
            self.second.weight.zero_()
            self.second.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        return self.second(functional.leaky_relu_(self.first(x), SLOPE)).add_(x)


class RrdbGenerator(nn.Module):
    """A pretrained trunk and a decoder, see the module's docstring and `interfaces.PretrainedGenerator`.

    Args:
        scale: 4 or 8.
        architecture: sizes; `groups` of the trunk, `adapter_blocks` after it and after each of `shared_upsamplings`,
            `blocks` at the size of their maps, `mid_blocks` at sizes between that and HR, `latent_channels`. Channels
            are those of every RRDBNet.
    """

    tile_px = (
        512  # larger than usual, since the largest maps are computed in the smaller tiles of `level_tile_px`
    )

    def __init__(self, scale: int, architecture: Architecture):
        super().__init__()
        a = architecture
        require(
            2**a.shared_upsamplings < scale,
            f"shared_upsamplings {a.shared_upsamplings} leaves no upsampling to the decoder of scale {scale}",
            f"0 to {int(math.log2(scale)) - 1}",
        )
        levels, latents = int(math.log2(scale)) - a.shared_upsamplings, 2 * a.latent_channels
        self.scale, self.architecture, self.level_tile_px = scale, a, LEVEL_TILE_PX
        self.rrdb = RrdbTrunk(a.groups)
        adapter: list[nn.Module] = [ResidualBlock(CHANNELS) for _ in range(a.adapter_blocks)]
        for _ in range(a.shared_upsamplings):
            adapter += [
                SharedUpsampling(CHANNELS),
                *(ResidualBlock(CHANNELS) for _ in range(a.adapter_blocks)),
            ]
        self.adapter = nn.Sequential(*adapter)
        self.latent_conv = nn.Conv2d(latents, latents, 3, padding=1)
        self.blocks = nn.ModuleList(ModulatedBlock(CHANNELS, latents) for _ in range(a.blocks))
        self.upsample_convs = nn.ModuleList(nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1) for _ in range(levels))
        # the third one starts as the identity, so that weights of scale 4 draw their image upsampled
        with torch.no_grad():
            for upsample_conv in self.upsample_convs[2:]:
                nn.init.dirac_(upsample_conv.weight)
                upsample_conv.bias.zero_()
        self.modulations = nn.ModuleList(Modulation(CHANNELS, latents) for _ in range(levels))
        # blocks after every upsampling except the last, where they would cost as much as all other layers
        self.mid_blocks = nn.ModuleList(
            ModulatedBlock(CHANNELS, latents) for _ in range((levels - 1) * a.mid_blocks)
        )
        self.full = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)
        self.full_modulation = Modulation(CHANNELS, latents)
        self.tail = nn.Conv2d(CHANNELS, 3, 3, padding=1)
        with torch.no_grad():  # with zero latents only the parent's layers have an effect
            self.latent_conv.bias.zero_()
            for block in (*self.blocks, *self.mid_blocks):
                block.modulation.bias.zero_()
                block.second.weight.zero_()
                block.second.bias.zero_()
        radius = 0
        for level in reversed(range(levels)):
            radius = level_receptive_field(a.mid_blocks, level == levels - 1, radius)
        self.sample_receptive_field = -(-(radius + 2 * a.blocks) // 2**a.shared_upsamplings)
        shared_radius = 0
        for _ in range(a.shared_upsamplings):
            shared_radius = level_receptive_field(a.adapter_blocks, False, shared_radius)
        trunk_radius = min(TRUNK_RECEPTIVE_FIELD, 15 * a.groups + 2)
        self.trunk_receptive_field = trunk_radius + 2 * a.adapter_blocks + shared_radius
        self.register_load_state_dict_pre_hook(rename_on_load)
        self.to(memory_format=torch.channels_last)

    def trunk(self, lr: Tensor) -> Tensor:
        """The features that all samples share: (N, 3, h, w) in [0, 1] to (N, 64, k * h, k * w).

        k is 2 to the power of `shared_upsamplings`.
        """
        return self.adapter(self.features(lr))

    def features(self, lr: Tensor) -> Tensor:
        """The pretrained network's features, (N, 64, h, w), which do not change where it is frozen."""
        return self.rrdb(lr)

    def latents(self, lr: Tensor, generators: Sequence[torch.Generator]) -> Latents:
        """Gaussian latents and noise of one sample per LR image; the latents have the size of the trunk's maps."""
        last, factor = len(self.upsample_convs), 2**self.architecture.shared_upsamplings
        levels = [0] * len(self.blocks)
        for level in range(1, last):
            levels += [level] * (1 + self.architecture.mid_blocks)
        size = lr[:, :, :1, :1].expand(-1, -1, factor * lr.shape[2], factor * lr.shape[3])
        return local_latents(size, generators, self.architecture.latent_channels, [*levels, last, last])

    def sample(self, trunk: Tensor, lr: Tensor, latents: Latents) -> Tensor:
        """SR images, (N, 3, scale * h, scale * w), about [0, 1], before projection."""
        joined = torch.cat((latents.fine, latents.coarse), 1).to(trunk.dtype)
        latent_maps = functional.leaky_relu(
            self.latent_conv(joined.contiguous(memory_format=torch.channels_last)), SLOPE
        )
        maps, noise, count = trunk, latents.noise, len(self.blocks)
        inputs = set_noise(modulation_inputs(latent_maps, count), noise[:count])
        for index, block in enumerate(self.blocks):
            maps = block(maps, inputs, index)
        inputs, noise = modulation_inputs(latent_maps, max(2, 1 + self.architecture.mid_blocks)), noise[count:]
        side = self._level_tile()
        for level in range(len(self.upsample_convs)):
            last = level == len(self.upsample_convs) - 1
            count = 2 if last else 1 + self.architecture.mid_blocks
            level_noise, noise = noise[:count], noise[count:]
            if side:
                return_freed_memory()  # of the smaller size, whose blocks are smaller
            maps = in_tiles(
                partial(self._level, level),
                level_receptive_field(self.architecture.mid_blocks, last),
                side,
                maps,
                inputs,
                level_noise,
                memory_format=torch.channels_last,
            )
            inputs = inputs if last else upsample(inputs)
        return maps

    def _level(self, level: int, maps: Tensor, inputs: Tensor, noise: Sequence[Tensor]) -> Tensor:
        """One upsampling and the layers after it, at the last level up to the image.

        (N, C, h, w) to (N, C, 2 * h, 2 * w), or to (N, 3, 2 * h, 2 * w) at the last level.
        """
        inputs = set_noise(upsample(inputs), noise)
        maps = self.modulations[level](self.upsample_convs[level], upsample(maps), inputs, 0)
        for index, block in enumerate(self._mid_blocks(level), start=1):
            maps = block(maps, inputs, index)
        if level < len(self.upsample_convs) - 1:
            return maps
        return self.tail(self.full_modulation(self.full, maps, inputs, 1))

    def trunk_steps(self, height: int, width: int) -> dict[nn.Module, int]:
        """See `interfaces.Generator`."""
        return dict.fromkeys((*self.rrdb.body, *self.adapter), 1)

    def sample_steps(self, height: int, width: int) -> dict[nn.Module, int]:
        """See `interfaces.Generator`: a step is a tile of an upsampling level."""
        return {
            modulation: len(list(tiles_of(height << level, width << level, self._level_tile())))
            for level, modulation in enumerate(self.modulations, start=self.architecture.shared_upsamplings)
        }

    def _level_tile(self) -> int:
        """Side of the tiles of an upsampling level, in pixels of the smaller size; 0 for none."""
        on_processor = self.tail.weight.device.type == "cpu"
        return self.level_tile_px if on_processor and not torch.is_grad_enabled() else 0

    def _mid_blocks(self, level: int) -> Sequence[nn.Module]:
        """The blocks after an upsampling; none after the last."""
        count = self.architecture.mid_blocks
        return self.mid_blocks[level * count : (level + 1) * count]
