"""Samples of one LR image before projection: one trunk, a seed per sample, and tiles if memory is short."""

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

AUTO_TILE_PX = 256  # LR pixels; default on a CPU, while a GPU begins with the whole image
SMALLEST_TILE_PX = 16


class Sampler:
    """Draws samples with a generator, without projection.

    Args:
        loaded: the generator, on `device`.
        device: the device to compute on.
        half: whether to compute the network in bfloat16.
        tile: largest side of a tile in LR pixels; 0 means the whole image at once. It is halved whenever memory
            runs out.
    """

    def __init__(self, loaded: LoadedModel, device: torch.device, half: bool, tile: int):
        self.generator, self.scale = loaded.generator, loaded.scale
        self.device, self.half, self.tile = device, half, tile

    @torch.inference_mode()
    def trunk(self, lr: Tensor) -> Tensor:
        """The trunk's features, which all samples share: (1, 3, h, w) in [0, 1] to (1, C, k * h, k * w).

        These maps are smaller than a sample by the scale, so the tiles may be larger by the scale.
        """

        def compute(tile: int) -> Tensor:
            return in_tiles(self.generator.trunk, self.generator.trunk_reach, tile * self.scale, lr)

        return self._fitting(lr, compute, self.scale)

    @torch.inference_mode()
    def sample(self, lr: Tensor, trunk: Tensor, seed: int) -> Tensor:
        """One sample before projection.

        Args:
            lr: (1, 3, h, w) in [0, 1].
            trunk: the trunk's features of this LR image, from `trunk`.
            seed: seed of the latents, which are drawn for the whole image, whatever the tiles.

        Returns:
            (1, 3, scale * h, scale * w) float32, about in [0, 1].

        Raises:
            Failure: the output holds NaN or infinite values, or not even a small tile fits into memory.
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

    def _fitting(self, lr: Tensor, compute: Callable[[int], Tensor], factor: int) -> Tensor:
        """`compute(tile)`, repeated with tiles of half the side whenever memory runs out.

        Args:
            lr: the LR image.
            compute: function of the tile side; it computes in tiles of `factor * tile` LR pixels.
            factor: ratio of the tiles' side to `tile`; a side that did not fit into memory is not tried again.
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
                side = min(self.tile * factor or longest, longest)
                if math.ceil(side / factor) <= SMALLEST_TILE_PX:
                    raise too_large(lr, self.device, f", even in tiles of {side}") from error
            self.tile = math.ceil(side / (2 * factor))
            if self.device.type == "cuda":
                torch.cuda.empty_cache()


def too_large(lr: Tensor, device: torch.device, how: str = "") -> Failure:
    """The error for an LR image (N, 3, h, w) whose samples do not fit into memory."""
    return Failure(
        f"{lr.shape[3]} x {lr.shape[2]} pixels do not fit into the memory of {device}{how}",
        "--device cpu, a machine with more memory, or smaller LR images",
    )
