"""The registry entry of `stochastic`, which has two generators: with and without a pretrained trunk."""

from ntire_sr.models.interfaces import ModelSpec
from ntire_sr.models.stochastic import Architecture, StochasticGenerator
from ntire_sr.models.stochastic_rrdb import RrdbGenerator


def build_generator(scale: int, architecture: Architecture) -> StochasticGenerator | RrdbGenerator:
    """Build the network that these sizes describe."""
    return (RrdbGenerator if architecture.rrdb else StochasticGenerator)(scale, architecture)


MODEL = ModelSpec(
    name="stochastic",
    summary="dense-block trunk and modulated decoder with local latents, trained with energy scores",
    deterministic=False,
    needs_weights=True,
    architecture=Architecture,
    build=build_generator,
)
