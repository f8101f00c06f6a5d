"""One LR image to its samples: the trunk once, each sample from a seed of its own, in tiles where memory asks for it."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ntire_sr.core.device import full_float32, is_out_of_memory
from ntire_sr.core.errors import Failure
from ntire_sr.core.seeding import seeded
from ntire_sr.models.registry import LoadedModel
from ntire_sr.sampling.tiles import in_tiles

AUTO_TILE_PX = 256  # LR pixels, on a processor; a GPU begins with the whole image
SMALLEST_TILE_PX = 16


class Sampler:
    """Draws samples before projection.

    Args:
        loaded: the generator.
        device: where it is.
        half: compute the network in bfloat16.
        tile: LR pixels along the side of a tile at most; 0: an image at once. Becomes smaller when memory
            runs out.
    """

    def __init__(self, loaded: LoadedModel, device: torch.device, half: bool, tile: int):
        self.generator, self.scale = loaded.generator, loaded.scale
        self.device, self.half, self.tile = device, half, tile

    @torch.inference_mode()
    def trunk(self, lr: Tensor) -> Tensor:
        """What all samples of an LR image share: (1, 3, h, w) in [0, 1] to (1, C, k * h, k * w).

        Its maps are smaller than a sample's by the scale, so its tiles are longer by that."""

        def compute(tile: int) -> Tensor:
            return in_tiles(self.generator.trunk, self.generator.trunk_reach, tile * self.scale, lr)

        return self._fitting(lr, compute, self.scale)

    @torch.inference_mode()
    def sample(self, lr: Tensor, trunk: Tensor, seed: int) -> Tensor:
        """One sample before projection.

        Args:
            lr: (1, 3, h, w) in [0, 1].
            trunk: of it.
            seed: of its latents, which are drawn for the whole image, whatever the tiles.

        Returns:
            (1, 3, scale * h, scale * w) float32, about [0, 1].

        Raises:
            Failure: the network draws values that are no numbers, or not even a small tile fits into memory.
        """
        latents = self.generator.latents(lr, [seeded(seed)])

        def compute(lr: Tensor, trunk: Tensor, latents: Any) -> Tensor:
            return self.generator.sample(trunk, lr, latents)

        sr = self._fitting(
            lr, lambda tile: in_tiles(compute, self.generator.sample_reach, tile, lr, trunk, latents), 1
        ).float()
        if not bool(torch.isfinite(sr).all()):
            raise Failure("the network drew values that are no numbers", "use weights of an earlier checkpoint")
        return sr

    def _fitting(self, lr: Tensor, compute: Callable[[int], Tensor], longer: int) -> Tensor:
        """`compute(tile)`, with tiles of half the size as often as memory runs out.

        Args:
            lr: the image.
            compute: what is drawn in tiles of `longer * tile` LR pixels.
            longer: that factor; what did not fit at once is not tried at once again.
        """
        while True:
            try:
                if self.half:
                    with torch.autocast(self.device.type, torch.bfloat16):
                        return compute(self.tile)
                with full_float32(self.device):
                    return compute(self.tile)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                longest = max(lr.shape[2:])
                side = min(self.tile * longer or longest, longest)
                if math.ceil(side / longer) <= SMALLEST_TILE_PX:
                    raise too_large(lr, self.device, f", even in tiles of {side}") from error
            self.tile = math.ceil(side / (2 * longer))
            if self.device.type == "cuda":
                torch.cuda.empty_cache()


def too_large(lr: Tensor, device: torch.device, how: str = "") -> Failure:
    """The error for an LR image (N, 3, h, w) that cannot be drawn for want of memory."""
    return Failure(
        f"{lr.shape[3]} x {lr.shape[2]} pixels do not fit into the memory of {device}{how}",
        "--device cpu, a machine with more memory, or smaller LR images",
    )
