"""The registry of trainers: how each model that learns is trained."""

from ntire_sr.core.errors import UsageError
from ntire_sr.models.external import names_network
from ntire_sr.models.registry import MODELS, model_spec
from ntire_sr.training.trainers import srgan, stochastic
from ntire_sr.training.trainers.external import external_trainer
from ntire_sr.training.trainers.interface import TrainerSpec

TRAINERS: dict[str, TrainerSpec] = {spec.model: spec for spec in (srgan.TRAINER, stochastic.TRAINER)}


def trainer_spec(model: str) -> TrainerSpec:
    """The entry of a model, or one for a network from outside the package, whose code is run.

    Raises:
        UsageError: no model has this name (a similar one is suggested), or nothing of it learns.
        NtireSrError: the code raised an error.
    """
    if model not in MODELS and names_network(model):
        return external_trainer(model)
    name = model_spec(model).name
    if name not in TRAINERS:
        raise UsageError(f"the model {name} has nothing to train", f"ntire-sr generate --weights {name}")
    return TRAINERS[name]
