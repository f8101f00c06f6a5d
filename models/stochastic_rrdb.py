"""`stochastic` on a pretrained trunk: an RRDBNet's layers at LR size, and a decoder that began as that network's own.

The trunk (`rrdb.RrdbTrunk`) looks at the LR image once. The decoder has the layers of its parent, doublings and two
convolutions, and beside them what makes it a sampler: residual blocks that local latents modulate, and behind each of
the parent's layers a bounded modulation and noise. All of that begins as the identity or nearly so, so that with
latents at rest the decoder draws what its parent drew. It doubles bilinearly, where its parent repeats pixels: nothing
in it knows where the LR pixels lay, and no grid passes for variety (see `modulation.upsampled`).
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from ntire_sr.models.modulation import SLOPE, Latents, ModulatedBlock, Modulation, local_latents, upsampled
from ntire_sr.models.rrdb import CHANNELS, RrdbTrunk
from ntire_sr.models.stochastic import Architecture

# LR pixels around a pixel that its maps in the trunk depend on noticeably. The convolutions of 23 blocks reach 347;
# measured on photographs, all that lies more than 40 away changes no pixel of the image by more than .6 grey levels.
TRUNK_REACH = 48


class RrdbGenerator(nn.Module):
    """The network of the module's docstring; see `interfaces.Generator`.

    Args:
        scale: 4 or 8.
        architecture: sizes; `groups` of the trunk, `blocks` at LR size, `latent_channels`. Channels are those of
            every RRDBNet.
    """

    def __init__(self, scale: int, architecture: Architecture):
        super().__init__()
        a = architecture
        doublings, latents = int(math.log2(scale)), 2 * a.latent_channels
        self.scale, self.architecture = scale, a
        self.rrdb = RrdbTrunk(a.groups)
        self.mixed = nn.Conv2d(latents, latents, 3, padding=1)
        self.blocks = nn.ModuleList(ModulatedBlock(CHANNELS, latents) for _ in range(a.blocks))
        self.doublings = nn.ModuleList(nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1) for _ in range(doublings))
        self.modulations = nn.ModuleList(Modulation(CHANNELS, latents) for _ in range(doublings))
        # blocks behind every doubling but the last, where they would cost as much as all the rest
        self.finer = nn.ModuleList(ModulatedBlock(CHANNELS, latents) for _ in range(doublings - 1))
        self.full = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)
        self.full_modulation = Modulation(CHANNELS, latents)
        self.tail = nn.Conv2d(CHANNELS, 3, 3, padding=1)
        with torch.no_grad():  # at rest, what is not the parent's changes nothing
            self.mixed.bias.zero_()
            for block in (*self.blocks, *self.finer):
                block.modulation.bias.zero_()
                block.second.weight.zero_()
                block.second.bias.zero_()
        # the tail and the convolution before it reach 2 pixels at full size; a doubling's convolution 1 and a
        # block 2 at their size, and bilinear values 1 more pixel of the size before
        reach = 2
        for level in range(doublings):
            reach = (reach + 1 + (2 if level > 0 else 0) + 1) // 2 + 1
        self.trunk_reach = min(TRUNK_REACH, 15 * a.groups + 2)
        self.sample_reach = reach + 2 * a.blocks
        self.to(memory_format=torch.channels_last)

    def trunk(self, lr: Tensor) -> Tensor:
        """What all samples share: (N, 3, h, w) in [0, 1] to (N, 64, h, w)."""
        return self.rrdb(lr)

    def latents(self, lr: Tensor, random: Sequence[torch.Generator]) -> Latents:
        """Gaussian latents and noise of one sample per LR image."""
        levels = [0] * len(self.blocks)
        for level in range(1, len(self.doublings) + 1):
            levels += [level] * (2 if level < len(self.doublings) else 1)
        return local_latents(lr, random, self.architecture.latent_channels, [*levels, len(self.doublings)])

    def sample(self, trunk: Tensor, lr: Tensor, latents: Latents) -> Tensor:
        """SR images, (N, 3, scale * h, scale * w), about [0, 1]; `project` comes behind it."""
        joined = torch.cat((latents.fine, latents.coarse), 1)
        mixed = functional.leaky_relu(self.mixed(joined.contiguous(memory_format=torch.channels_last)), SLOPE)
        maps, noise = trunk, iter(latents.noise)
        for block in self.blocks:
            maps = block(maps, mixed, next(noise))
        for level, (doubling, modulation) in enumerate(zip(self.doublings, self.modulations, strict=True)):
            mixed = upsampled(mixed)
            maps = modulation(doubling(upsampled(maps)), mixed, next(noise))
            maps = functional.leaky_relu_(maps, SLOPE)
            if level < len(self.finer):
                maps = self.finer[level](maps, mixed, next(noise))
        maps = self.full_modulation(self.full(maps), mixed, next(noise))
        return self.tail(functional.leaky_relu_(maps, SLOPE))
