"""Importing packages that need torchvision where torchvision does not fit the installed torch.

The index that a machine installs from may offer torchvision only for CUDA. Beside the CPU build of torch its
compiled operators cannot be loaded, and `import torchvision` stops at describing the first of them,
`torchvision::nms`, which then does not exist. Its networks and transforms, all that quality metrics use, are
plain Python: with the operators' signatures declared the import goes through, and calling them still fails.
"""

import importlib
import warnings
from types import ModuleType

import pytest
import torch

_SIGNATURES = tuple(
    f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor" for name in ("nms", "qnms")
)
_declared: list[torch.library.Library] = []  # a declaration ends with its Library


def _declare() -> None:
    """Declare the operators that torchvision describes at its import, where it cannot bring them itself."""
    library = torch.library.Library("torchvision", "FRAGMENT")
    for signature in _SIGNATURES:
        if not hasattr(torch.ops.torchvision, signature.partition("(")[0]):
            library.define(signature)
    _declared.append(library)


def import_or_skip(name: str) -> ModuleType:
    """The module, with missing operators declared where that helps; otherwise the test is skipped with the reason.

    Args:
        name: of a package that imports torchvision, or "torchvision".
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the foreign package, about its own age
        try:
            try:
                return importlib.import_module(name)
            except RuntimeError as error:
                if "torchvision::" not in str(error):
                    raise
                _declare()
                return importlib.import_module(name)
        except Exception as error:
            pytest.skip(f"{name} cannot be imported here: {type(error).__name__}: {error}")
