"""Copies of what networks from outside the package return and receive, so that samples share no memory."""

import copy
from contextlib import suppress
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

# not copied: weights are large, a generator's state belongs to one sample, and modules and classes hold no maps
_SHARED = (nn.Module, torch.Generator, ModuleType, type)


def copy_tensors(value: Any, memo: dict[int, Any] | None = None) -> Any:
    """A copy of a value with its own tensors and arrays, also inside containers and objects with attributes.

    Networks and random generators are not copied. Tensors keep their graph.

    >>> maps = [torch.zeros(1), {"mask": torch.ones(1)}]
    >>> maps_of_sample = copy_tensors(maps)
    >>> maps_of_sample[1]["mask"].zero_().item(), maps[1]["mask"].item()
    (0.0, 1.0)
    """
    memo = {} if memo is None else memo
    if id(value) in memo:  # the same tensor twice, or a container inside itself
        return memo[id(value)]
    if isinstance(value, _SHARED):
        return value
    copied: Any = value
    if isinstance(value, Tensor):
        with torch.set_grad_enabled(value.requires_grad):
            copied = value.clone()
    elif isinstance(value, np.ndarray):
        copied = value.copy()
    elif isinstance(value, tuple):
        parts = [copy_tensors(part, memo) for part in value]
        # the constructor of a named tuple takes its fields as separate arguments
        copied = type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    elif isinstance(value, list | dict):
        copied = memo[id(value)] = copy.copy(value)
        for key in range(len(value)) if isinstance(value, list) else value:
            copied[key] = copy_tensors(value[key], memo)
    elif hasattr(value, "__dict__") and not callable(value):
        with suppress(Exception):  # some objects, such as open files, cannot be copied
            copied = memo[id(value)] = copy.copy(value)
        for name, part in vars(value).items() if copied is not value else ():
            object.__setattr__(copied, name, copy_tensors(part, memo))  # also of frozen data classes
    memo[id(value)] = copied
    return copied
