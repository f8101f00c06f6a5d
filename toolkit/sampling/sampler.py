"""Draws samples of one LR image before projection, in smaller tiles if memory runs out."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from ntire_sr.core.device import full_float32, is_out_of_memory, return_freed_memory, too_large
from ntire_sr.core.errors import NtireSrError, UsageError
from ntire_sr.core.progress import SILENT, Progress
from ntire_sr.core.seeding import make_generator
from ntire_sr.models.loading import LoadedModel
from ntire_sr.models.tiles import in_tiles, tiles_of

SMALLEST_TILE_PX = 16


def scale_latents(latents: Any, temperature: float) -> Any:
    """Multiply latents and noise by a temperature, as SRFlow does (Lugmayr et al., ECCV 2020).

    Args:
        latents: tensors in lists and tuples, or None, see `interfaces.Generator`.
        temperature: 1 is what the network was trained with; less gives samples that differ less.

    Raises:
        UsageError: there are no random numbers to scale, or the network draws them itself.
    """
    if isinstance(latents, Tensor):
        return latents * temperature
    if isinstance(latents, list | tuple):
        parts = [scale_latents(part, temperature) for part in latents]
        # the constructor of a named tuple takes its fields as separate arguments
        return type(latents)(*parts) if hasattr(latents, "_fields") else type(latents)(parts)
    raise UsageError(
        f"a temperature of {temperature:g} scales the latents, and this network returns none",
        "temperature 1; or a network whose method latents(lr, generator) returns tensors",
    )


class Sampler:
    """Draws samples with a generator, without projection.

    It does not use inference mode, since a network from outside may compute gradients while it samples.

    The package's own networks are converted to bfloat16 once. Autocast, which converts weights and maps at every
    layer, is left for networks from outside.

    Args:
        loaded: the generator, on `device`.
        device: the device to compute on.
        half: whether to compute the network in bfloat16.
        tile: largest side of a tile in LR pixels; 0 means the whole image at once. It is halved whenever memory
            runs out.
        temperature: factor of latents and noise.
        progress: receives the progress within an image: one task for its trunk and one for each sample.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        device: torch.device,
        half: bool,
        tile: int,
        temperature: float = 1.0,
        progress: Progress = SILENT,
    ):
        self.generator, self.scale = loaded.generator, loaded.scale
        self.device, self.tile, self.temperature, self.progress = device, tile, temperature, progress
        self.autocast = half and not isinstance(self.generator, nn.Module)
        if half and not self.autocast:
            self.generator = deepcopy(self.generator).to(torch.bfloat16)

    @torch.no_grad()
    def trunk(self, lr: Tensor, task: str = "trunk") -> Tensor:
        """The trunk's features, which all samples share: (1, 3, h, w) in [0, 1] to (1, C, k * h, k * w).

        These maps are smaller than a sample by the scale, so the tiles are larger by the scale.

        Args:
            lr: (1, 3, h, w) in [0, 1].
            task: name of the task for `progress`.
        """
        receptive_field = self.generator.trunk_receptive_field

        def compute(tile: int) -> Tensor:
            with self._task(task, lr, receptive_field, tile * self.scale, "trunk_steps") as advance:
                return in_tiles(self.generator.trunk, receptive_field, tile * self.scale, lr, advance=advance)

        return self._fit_in_memory(lr, compute, self.scale, tiled=receptive_field is not None)

    @torch.no_grad()
    def sample(self, lr: Tensor, trunk: Tensor, seed: int, task: str = "sample") -> Tensor:
        """One sample before projection.

        Args:
            lr: (1, 3, h, w) in [0, 1].
            trunk: the trunk's features of this LR image, from `trunk`.
            seed: seed of the latents, which are drawn for the whole image and do not depend on the tiles.
            task: name of the task for `progress`.

        Returns:
            (1, 3, scale * h, scale * w) float32, about in [0, 1].

        Raises:
            NtireSrError: the output has NaN or infinite values, or even a small tile does not fit into memory.
        """
        latents = self.generator.latents(lr, [make_generator(seed)])
        if self.temperature != 1:
            latents = scale_latents(latents, self.temperature)
        receptive_field = self.generator.sample_receptive_field

        def compute(lr: Tensor, trunk: Tensor, latents: Any) -> Tensor:
            return self.generator.sample(trunk, lr, latents)

        def compute_in_tiles(tile: int) -> Tensor:
            with self._task(task, lr, receptive_field, tile, "sample_steps") as advance:
                return in_tiles(compute, receptive_field, tile, lr, trunk, latents, advance=advance)

        sr = self._fit_in_memory(lr, compute_in_tiles, 1, tiled=receptive_field is not None).float()
        if not bool(torch.isfinite(sr).all()):
            raise NtireSrError(
                "the network drew NaN or infinite values", "use weights of an earlier checkpoint"
            )
        return sr

    @contextmanager
    def _task(
        self, name: str, lr: Tensor, receptive_field: int | None, side: int, steps: str
    ) -> Iterator[Callable[[], None] | None]:
        """Open a task of `progress` for a part of an image.

        Its items are the calls of layers that the generator's method `steps` names (see `interfaces.Generator`), or
        without this method the tiles.

        Args:
            name: of the task.
            lr: the LR image.
            receptive_field: margin of the tiles in LR pixels.
            side: of the tiles in LR pixels; 0 means the whole image at once.
            steps: name of the method.

        Yields:
            A function to call after each tile; None if the layers' calls are counted.
        """
        height, width = lr.shape[2:]
        tiles = [tile.grown(receptive_field or 0, height, width) for tile in tiles_of(height, width, side)]
        steps_of: Callable[[int, int], Mapping[nn.Module, int]] | None = getattr(self.generator, steps, None)
        if steps_of is None:
            with self.progress.task(name, len(tiles)) as advance:
                yield advance
            return
        calls = [steps_of(tile.height, tile.width) for tile in tiles]
        with self.progress.task(name, sum(sum(counts.values()) for counts in calls)) as advance:

            def count(*_: Any) -> None:
                advance()

            hooks = [layer.register_forward_hook(count) for layer in calls[0]]
            try:
                yield None
            finally:
                for hook in hooks:
                    hook.remove()

    def _fit_in_memory(self, lr: Tensor, compute: Callable[[int], Tensor], factor: int, tiled: bool) -> Tensor:
        """Call `compute(tile)`, again with tiles of half the side whenever memory runs out.

        Args:
            lr: the LR image.
            compute: function of the tile side; it computes in tiles of `factor * tile` LR pixels.
            factor: ratio of the tiles' side to `tile`; a side that did not fit into memory is not tried again.
            tiled: whether tiles are possible; if not, only `compute(0)` is tried.
        """
        while True:
            tile = self.tile if tiled else 0
            try:
                if self.autocast:
                    with torch.autocast(self.device.type, torch.bfloat16):
                        return compute(tile)
                with full_float32(self.device):
                    return compute(tile)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                if not tiled:
                    raise too_large(
                        lr, self.device, ": the network states no receptive field, so it is never tiled"
                    ) from error
                longest = max(lr.shape[2:])
                side = min(self.tile * factor or longest, longest)
                if math.ceil(side / factor) <= SMALLEST_TILE_PX:
                    raise too_large(lr, self.device, f", even in tiles of {side}") from error
            finally:
                return_freed_memory()  # the next step needs blocks of other sizes
            self.tile = math.ceil(side / (2 * factor))
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
