"""Names that parts of `stochastic` had in weights files and checkpoints of earlier versions."""

from collections.abc import Mapping
from typing import Any, TypeVar

from torch import nn

T = TypeVar("T")

# name of a submodule in files of earlier versions -> its name today
EARLIER_NAMES = {
    "foot": "trunk_conv",
    "mixed": "latent_conv",
    "doublings": "upsample_convs",
    "finer": "mid_blocks",
}


def with_current_names(tensors: Mapping[str, T]) -> dict[str, T]:
    """Tensors by name, with today's names for those of earlier versions.

    >>> with_current_names({"foot.weight": 1, "mixed.bias": 2, "tail.weight": 3})
    {'trunk_conv.weight': 1, 'latent_conv.bias': 2, 'tail.weight': 3}
    """
    return {_current_name(name): value for name, value in tensors.items()}


def _current_name(name: str) -> str:
    module, dot, rest = name.partition(".")
    return EARLIER_NAMES.get(module, module) + dot + rest


def rename_on_load(module: nn.Module, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
    """Rename the tensors of a state dict in place; a hook of `nn.Module.register_load_state_dict_pre_hook`."""
    for name in [name for name in state_dict if name.startswith(prefix)]:
        state_dict[prefix + _current_name(name.removeprefix(prefix))] = state_dict.pop(name)
