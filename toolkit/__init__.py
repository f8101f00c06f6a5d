"""ntire-sr: draw, score and submit samples of the super-resolution space.

The names in `__all__` are the Python interface, see docs/python.md. Each is loaded when it is first used, since they
need torch, which takes seconds to import.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._version import __version__ as __version__

if TYPE_CHECKING:
    from ntire_sr.api.consistency import downscale, lr_psnr, project, project_float
    from ntire_sr.api.generators import load
    from ntire_sr.api.measuring import SampleSetMetric, lpips, score_samples
    from ntire_sr.models.registry import list_models

__all__ = [
    "SampleSetMetric",
    "downscale",
    "list_models",
    "load",
    "lpips",
    "lr_psnr",
    "project",
    "project_float",
    "score_samples",
]
_MODULES = {  # name -> the module that defines it
    "SampleSetMetric": "api.measuring",
    "downscale": "api.consistency",
    "list_models": "models.registry",
    "load": "api.generators",
    "lpips": "api.measuring",
    "lr_psnr": "api.consistency",
    "project": "api.consistency",
    "project_float": "api.consistency",
    "score_samples": "api.measuring",
}
_DEPRECATED = {"SpaceMetric": "SampleSetMetric"}  # earlier name -> name


def __getattr__(name: str) -> Any:
    """Load a name of the interface when it is first used (PEP 562)."""
    if name in _DEPRECATED:
        import warnings

        from ntire_sr.core.errors import EarlierNameWarning

        message = f"ntire_sr.{name} is deprecated; use ntire_sr.{_DEPRECATED[name]}"
        warnings.warn(message, EarlierNameWarning, stacklevel=2)
        return __getattr__(_DEPRECATED[name])
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"ntire_sr.{_MODULES[name]}"), name)
    globals()[name] = value  # so that this function is not called again for it
    return value


def __dir__() -> list[str]:
    """The names of the interface and those of every module."""
    return sorted({*globals(), *__all__})
