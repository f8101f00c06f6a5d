"""`stochastic` on a pretrained trunk: an RRDBNet's layers at LR size, and a decoder that began as that network's own.

The trunk (`rrdb.RrdbTrunk`) looks at the LR image once. The decoder has the layers of its parent, doublings and two
convolutions, and beside them what makes it a sampler: residual blocks that local latents modulate, and behind each of
the parent's layers a bounded modulation and noise. All of that begins as the identity or nearly so, so that with
latents at rest the decoder draws what its parent drew. It doubles bilinearly, where its parent repeats pixels: nothing
in it knows where the LR pixels lay, and no grid passes for variety (see `modulation.upsampled`).

Between trunk and decoder lie residual blocks that learn where the trunk is frozen: what all samples share, computed
once per LR image.
"""

import math
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from ntire_sr.models.modulation import SLOPE, Latents, ModulatedBlock, Modulation, local_latents, upsampled
from ntire_sr.models.rrdb import CHANNELS, RrdbTrunk
from ntire_sr.models.stochastic import Architecture
from ntire_sr.models.tiles import in_tiles

# LR pixels around a pixel that its maps in the trunk depend on noticeably. The convolutions of 23 blocks reach 347;
# measured on photographs, all that lies more than 40 away changes no pixel of the image by more than .6 grey levels.
TRUNK_REACH = 48

# Side of the tiles that each doubling and the layers behind it are computed in on processors, at the smaller size. Maps of twice
# that side stay in the processor's cache, where convolutions run at the rate of its matrix products.
LEVEL_TILE_PX = 128


def level_reach(finer: int, last: bool, behind: int = 0) -> int:
    """Pixels around one that what a doubling and the layers behind it make of it depends on, at the smaller size.

    At the larger size the doubling's convolution reaches 1 pixel, the two behind the last doubling 1 each, a block 2;
    the bilinear value at the outermost of these depends on a pixel of the smaller size beside it.

    Args:
        finer: blocks behind a doubling that is not the last.
        last: whether it is the last.
        behind: what the levels behind this one reach, at the larger size.
    """
    return (behind + (3 if last else 1 + 2 * finer)) // 2 + 1


class ResidualBlock(nn.Module):
    """Two convolutions beside the identity, which is what it begins as; reaches 2 pixels."""

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
    """The network of the module's docstring; see `interfaces.Generator`.

    Attributes:
        tile_px: side in LR pixels of the tiles to begin with on a processor, larger than of other networks, since the
            largest maps are computed in tiles of their own.

    Args:
        scale: 4 or 8.
        architecture: sizes; `groups` of the trunk, `adapter` blocks behind it, `blocks` at LR size, `finer` blocks
            at sizes between, `latent_channels`. Channels are those of every RRDBNet.
    """

    tile_px = 512

    def __init__(self, scale: int, architecture: Architecture):
        super().__init__()
        a = architecture
        doublings, latents = int(math.log2(scale)), 2 * a.latent_channels
        self.scale, self.architecture, self.level_tile_px = scale, a, LEVEL_TILE_PX
        self.rrdb = RrdbTrunk(a.groups)
        self.adapter = nn.Sequential(*(ResidualBlock(CHANNELS) for _ in range(a.adapter)))
        self.mixed = nn.Conv2d(latents, latents, 3, padding=1)
        self.blocks = nn.ModuleList(ModulatedBlock(CHANNELS, latents) for _ in range(a.blocks))
        self.doublings = nn.ModuleList(nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1) for _ in range(doublings))
        # a third one begins as the identity: weights of scale 4 then draw their image, enlarged
        with torch.no_grad():
            for doubling in self.doublings[2:]:
                nn.init.dirac_(doubling.weight)
                doubling.bias.zero_()
        self.modulations = nn.ModuleList(Modulation(CHANNELS, latents) for _ in range(doublings))
        # blocks behind every doubling but the last, where they would cost as much as all the rest
        self.finer = nn.ModuleList(ModulatedBlock(CHANNELS, latents) for _ in range((doublings - 1) * a.finer))
        self.full = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)
        self.full_modulation = Modulation(CHANNELS, latents)
        self.tail = nn.Conv2d(CHANNELS, 3, 3, padding=1)
        with torch.no_grad():  # at rest, what is not the parent's changes nothing
            self.mixed.bias.zero_()
            for block in (*self.blocks, *self.finer):
                block.modulation.bias.zero_()
                block.second.weight.zero_()
                block.second.bias.zero_()
        reach = 0
        for level in reversed(range(doublings)):
            reach = level_reach(a.finer, level == doublings - 1, reach)
        self.trunk_reach = min(TRUNK_REACH, 15 * a.groups + 2) + 2 * a.adapter
        self.sample_reach = reach + 2 * a.blocks
        self.to(memory_format=torch.channels_last)

    def trunk(self, lr: Tensor) -> Tensor:
        """What all samples share: (N, 3, h, w) in [0, 1] to (N, 64, h, w)."""
        return self.adapter(self.features(lr))

    def features(self, lr: Tensor) -> Tensor:
        """The pretrained trunk's own maps, as `trunk`: those that do not change where it is frozen."""
        return self.rrdb(lr)

    def latents(self, lr: Tensor, random: Sequence[torch.Generator]) -> Latents:
        """Gaussian latents and noise of one sample per LR image."""
        last = len(self.doublings)
        levels = [0] * len(self.blocks)
        for level in range(1, last):
            levels += [level] * (1 + self.architecture.finer)
        return local_latents(lr, random, self.architecture.latent_channels, [*levels, last, last])

    def sample(self, trunk: Tensor, lr: Tensor, latents: Latents) -> Tensor:
        """SR images, (N, 3, scale * h, scale * w), about [0, 1]; `project` comes behind it."""
        joined = torch.cat((latents.fine, latents.coarse), 1)
        mixed = functional.leaky_relu(self.mixed(joined.contiguous(memory_format=torch.channels_last)), SLOPE)
        maps, noise = trunk, list(latents.noise)
        for block in self.blocks:
            maps = block(maps, mixed, noise.pop(0))
        side = self.level_tile_px if maps.device.type == "cpu" and not torch.is_grad_enabled() else 0
        for level in range(len(self.doublings)):
            last = level == len(self.doublings) - 1
            count = 2 if last else 1 + self.architecture.finer
            level_noise, noise = noise[:count], noise[count:]
            maps = in_tiles(
                partial(self._level, level),
                level_reach(self.architecture.finer, last),
                side,
                maps,
                mixed,
                level_noise,
                memory_format=torch.channels_last,
            )
            mixed = mixed if last else upsampled(mixed)
        return maps

    def _level(self, level: int, maps: Tensor, mixed: Tensor, noise: Sequence[Tensor]) -> Tensor:
        """Maps of the next larger size, or the image behind the last doubling: (N, C, h, w) to (N, C or 3, 2 h, 2 w)."""
        mixed, random = upsampled(mixed), iter(noise)
        maps = self.modulations[level](self.doublings[level](upsampled(maps)), mixed, next(random))
        maps = functional.leaky_relu_(maps, SLOPE)
        for block in self._finer(level):
            maps = block(maps, mixed, next(random))
        if level < len(self.doublings) - 1:
            return maps
        maps = self.full_modulation(self.full(maps), mixed, next(random))
        return self.tail(functional.leaky_relu_(maps, SLOPE))

    def _finer(self, level: int) -> Sequence[nn.Module]:
        """The blocks behind a doubling; none behind the last."""
        count = self.architecture.finer
        return self.finer[level * count : (level + 1) * count]
