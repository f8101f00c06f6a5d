"""ntire-sr: draw, score and hand in samples of the super-resolution space.

The names in `__all__` are the Python interface, see docs/python.md. Each is loaded when it is first used, since torch,
which they need, takes seconds to import.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._version import __version__ as __version__

if TYPE_CHECKING:
    from ntire_sr.api.consistency import downscale, lr_psnr, project, project_float
    from ntire_sr.api.generators import list_models, load
    from ntire_sr.api.measuring import SpaceMetric, lpips, score_samples

__all__ = [
    "SpaceMetric",
    "downscale",
    "list_models",
    "load",
    "lpips",
    "lr_psnr",
    "project",
    "project_float",
    "score_samples",
]
_MODULES = {  # name -> the module that it stands in
    "SpaceMetric": "measuring",
    "downscale": "consistency",
    "list_models": "generators",
    "load": "generators",
    "lpips": "measuring",
    "lr_psnr": "consistency",
    "project": "consistency",
    "project_float": "consistency",
    "score_samples": "measuring",
}


def __getattr__(name: str) -> Any:
    """Load a name of the interface when it is first used (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"ntire_sr.api.{_MODULES[name]}"), name)
    globals()[name] = value  # the next time it is found without this function
    return value


def __dir__() -> list[str]:
    """The interface and what every module has."""
    return sorted({*globals(), *__all__})
