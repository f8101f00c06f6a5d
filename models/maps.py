"""Functions of maps: tensors in lists, tuples and dictionaries, as networks return for trunk and latents."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


def map_tensors(function: Callable[[Tensor], Any], maps: Any) -> Any:
    """The same containers with `function` of each tensor; values that are no tensors stay as they are.

    >>> map_tensors(lambda tensor: tensor.shape, [torch.zeros(1), (None, torch.zeros(2, 3))])
    [torch.Size([1]), (None, torch.Size([2, 3]))]
    """
    if isinstance(maps, Tensor):
        return function(maps)
    if isinstance(maps, dict):
        return {key: map_tensors(function, part) for key, part in maps.items()}
    if isinstance(maps, list | tuple):
        return _same_kind(maps, [map_tensors(function, part) for part in maps])
    return maps


def join_maps(several: Sequence[Any]) -> Any:
    """Maps of a batch from the maps of its images, which have the same containers.

    >>> join_maps([[torch.zeros(1, 2)], [torch.ones(1, 2)]])
    [tensor([[0., 0.],
            [1., 1.]])]
    """
    first = several[0]
    if isinstance(first, Tensor):
        return torch.cat(list(several))
    if isinstance(first, dict):
        return {key: join_maps([maps[key] for maps in several]) for key in first}
    if isinstance(first, list | tuple):
        return _same_kind(first, [join_maps(parts) for parts in zip(*several, strict=True)])
    return first


def _same_kind(container: Any, parts: list[Any]) -> Any:
    # the constructor of a named tuple takes its fields as separate arguments
    return type(container)(*parts) if hasattr(container, "_fields") else type(container)(parts)
