"""Computes large images in tiles without seams: each tile is computed with the surroundings that it depends on."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from ntire_sr.models.maps import map_tensors


@dataclass(frozen=True)
class Tile:
    """A rectangle of an LR image, in LR pixels."""

    top: int
    left: int
    height: int
    width: int

    def grown(self, margin: int, height: int, width: int) -> "Tile":
        """The tile with `margin` more pixels on each side, cut off at the borders of a (height, width) image."""
        top, left = max(0, self.top - margin), max(0, self.left - margin)
        bottom = min(height, self.top + self.height + margin)
        right = min(width, self.left + self.width + margin)
        return Tile(top, left, bottom - top, right - left)

    def slices(self, factor: int) -> tuple[slice, slice]:
        """The tile's rows and columns in a map that is `factor` times as large as the LR image."""
        rows = slice(self.top * factor, (self.top + self.height) * factor)
        return rows, slice(self.left * factor, (self.left + self.width) * factor)


def tiles_of(height: int, width: int, side: int) -> Iterator[Tile]:
    """Tiles of nearly equal size that cover an LR image, with sides of at most `side`; 0 means the whole image.

    >>> [(tile.top, tile.left, tile.height, tile.width) for tile in tiles_of(5, 3, 3)]
    [(0, 0, 2, 3), (2, 0, 3, 3)]
    """
    for top, bottom in _parts(height, side):
        for left, right in _parts(width, side):
            yield Tile(top, left, bottom - top, right - left)


def _parts(length: int, side: int) -> list[tuple[int, int]]:
    count = -(-length // side) if side else 1
    edges = [length * number // count for number in range(count + 1)]
    return list(pairwise(edges))


def cut(maps: Any, tile: Tile, height: int) -> Any:
    """A tile of each map in `maps`.

    Args:
        maps: maps of the whole image: a tensor (N, C, k * h, k * w) for any k >= 1, None, or lists and tuples
            of these.
        tile: the tile.
        height: height h of the whole LR image in pixels.
    """

    def part(whole: Tensor) -> Tensor:
        rows, columns = tile.slices(whole.shape[2] // height)
        return whole[:, :, rows, columns]

    return map_tensors(part, maps)


def in_tiles(
    compute: Callable[..., Tensor],
    receptive_field: int,
    side: int,
    lr: Tensor,
    *maps: Any,
    memory_format: torch.memory_format = torch.contiguous_format,
    advance: Callable[[], None] | None = None,
) -> Tensor:
    """Compute `compute(lr, *maps)` for an LR image (N, 3, h, w) tile by tile.

    Args:
        compute: function that returns (N, C, k * h, k * w), each pixel of which depends only on LR pixels
            within `receptive_field` of it.
        receptive_field: receptive-field radius in LR pixels.
        side: largest side of a tile in LR pixels; 0 means the whole image at once.
        lr: the LR image.
        maps: further arguments of `compute`, see `cut`.
        memory_format: of the result.
        advance: called after each tile.

    Returns:
        (N, C, k * h, k * w), equal to `compute` of the whole image up to rounding.
    """
    height, width = lr.shape[2:]
    advance = advance or (lambda: None)
    if not side or side >= max(height, width):
        result = compute(lr, *maps)
        advance()
        return result
    whole: Tensor | None = None
    for tile in tiles_of(height, width, side):
        outer = tile.grown(receptive_field, height, width)
        part = compute(cut(lr, outer, height), *cut(list(maps), outer, height))
        factor = part.shape[2] // outer.height
        if whole is None:
            shape = (*part.shape[:2], height * factor, width * factor)
            whole = torch.empty(shape, dtype=part.dtype, device=part.device, memory_format=memory_format)
        inner = Tile(tile.top - outer.top, tile.left - outer.left, tile.height, tile.width)
        rows, columns = tile.slices(factor)
        inside = inner.slices(factor)
        whole[:, :, rows, columns] = part[:, :, inside[0], inside[1]]
        advance()
    assert whole is not None  # every image has at least one tile
    return whole
