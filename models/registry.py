"""The registry of models, and the list of those that can be named."""

from dataclasses import asdict, dataclass
from importlib.metadata import EntryPoint
from typing import Any

from ntire_sr.challenge.downscale import SCALES
from ntire_sr.core.errors import require, suggestion
from ntire_sr.models import bicubic, srgan, stochastic_model
from ntire_sr.models.external import installed_models
from ntire_sr.models.interfaces import ModelSpec
from ntire_sr.models.package_weights import shipped_weights

MODELS: dict[str, ModelSpec] = {
    model.name: model for model in (bicubic.MODEL, srgan.MODEL, stochastic_model.MODEL)
}
SHIPPED_MODEL = stochastic_model.MODEL.name  # its weights come with the package, see MODEL_CARD.md


def model_spec(name: str) -> ModelSpec:
    """The registry's entry of a model.

    Raises:
        UsageError: no model has this name; the error suggests a similar one.
    """
    require(name in MODELS, f"unknown model {name!r}", suggestion(name, MODELS))
    return MODELS[name]


@dataclass(frozen=True)
class ModelInfo:
    """A model that can be named, as it is listed before it is loaded."""

    name: str
    summary: str
    deterministic: bool | None  # True: all samples of an image are equal; None: unknown before it is loaded
    scales: tuple[int, ...]  # the scales for which the name alone, without a weights file, is known to suffice
    origin: str  # the package that offers it, with its version
    weights: str  # where its weights come from

    def as_json(self) -> dict[str, Any]:
        """The record as `ntire-sr models --json` prints it."""
        return asdict(self)


def list_models() -> list[ModelInfo]:
    """List the models of this package, then those of installed packages, whose code is not run.

    >>> from ntire_sr import list_models
    >>> {model.name: model.scales for model in list_models() if model.origin == "ntire-sr"}
    {'bicubic': (4, 8), 'srgan': (4,), 'stochastic': (4, 8)}
    """
    own = [_own_model(model) for model in MODELS.values()]
    return own + [_installed_model(point) for point in installed_models().values()]


def _own_model(model: ModelSpec) -> ModelInfo:
    if not model.needs_weights:
        return ModelInfo(model.name, model.summary, model.deterministic, SCALES, "ntire-sr", "needs none")
    scales = tuple(scale for scale in SCALES if shipped_weights(model.name, scale))
    weights = f"included for scale {' and '.join(map(str, scales))}" if scales else "from `ntire-sr train`"
    return ModelInfo(model.name, model.summary, model.deterministic, scales, "ntire-sr", weights)


def _installed_model(point: EntryPoint) -> ModelInfo:
    # this package's names come first, so a network with such a name is listed by its module and function
    name = point.value if point.name in MODELS else point.name
    origin = f"{point.dist.name} {point.dist.version}" if point.dist else "?"
    return ModelInfo(name, point.value, None, (), origin, "--weights, if it takes any")
