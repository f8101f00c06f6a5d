"""The registry of trainers: how each model that learns is trained."""

from ntire_sr.core.errors import UsageError
from ntire_sr.models.registry import model_spec
from ntire_sr.training.trainers import srgan, stochastic
from ntire_sr.training.trainers.interface import TrainerSpec

TRAINERS: dict[str, TrainerSpec] = {spec.model: spec for spec in (srgan.TRAINER, stochastic.TRAINER)}


def trainer_spec(model: str) -> TrainerSpec:
    """The entry of a model.

    Raises:
        UsageError: there is no such model (with a suggestion), or nothing of it learns.
    """
    name = model_spec(model).name
    if name not in TRAINERS:
        raise UsageError(f"the model {name} has nothing to train", f"ntire-sr generate --weights {name}")
    return TRAINERS[name]
