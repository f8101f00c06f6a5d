"""The settings of `stochastic`, and its presets."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ntire_sr.models.rrdb import CHANNELS, GROWTH
from ntire_sr.models.stochastic import Architecture
from ntire_sr.training.trainers.energy_settings import EnergySettings

RRDB_SIZES = {
    "channels": CHANNELS,
    "growth": GROWTH,
    "fine_channels": CHANNELS,
}  # of a network on an RRDBNet's trunk


@dataclass(frozen=True)
class StochasticSettings(EnergySettings, Architecture):
    """Architecture, loss and optimiser of `stochastic`."""

    # fmt: off
    trunk_frozen: bool = True  # keep the weights of a pretrained trunk as they are; false trains them, too
    # fmt: on

    # see core.settings
    RENAMED: ClassVar[Mapping[str, str]] = {**Architecture.RENAMED, **EnergySettings.RENAMED}
    REMOVED: ClassVar[Mapping[str, Any]] = {"norms": True}
    EARLIER: ClassVar[Mapping[str, Any]] = {
        **Architecture.EARLIER,
        **EnergySettings.EARLIER,
        "trunk_frozen": True,
    }

    def __post_init__(self) -> None:
        Architecture.__post_init__(self)
        EnergySettings.__post_init__(self)


# preset -> values for these settings and for TrainConfig
PRESETS: Mapping[str, Mapping[str, Any]] = {
    # fine-tunes weights that draw well already: those of the package or of a file
    "finetune": {
        "batch": 4,
        "patch": 96,
        "steps": 1000,
        "max_minutes": 30.0,
        "learning_rate": 1e-4,
        "consistency": 2.0,
        "warm_up": 0.0,
        "adversarial_start": 0.2,
        "discriminator_warmup": 0.2,
        "discriminator_channels": 24,
    },
    # the same on a large GPU, with the trunk: benchmarks/gpu.py sets `steps` by the time that there is
    "gpu": {
        "batch": 32,
        "patch": 160,
        "downscale_min": 0.75,
        "final_samples": 4,
        "trunk_frozen": False,
        "steps": 6000,
        "max_minutes": 0.0,
        "learning_rate": 1e-4,
        "consistency": 2.0,
        "warm_up": 0.0,
        "adversarial_start": 0.1,
        "discriminator_warmup": 0.1,
        "discriminator_channels": 24,
        "checkpoint_every": 500,
        "validate_every": 500,
        "log_every": 50,
    },
    # starts from the decoder of a pretrained network, see `trunk`
    "pretrained": {
        "blocks": 4,
        "adapter_blocks": 8,
        "mid_blocks": 2,
        "batch": 4,
        "patch": 96,
        "steps": 8000,
        "max_minutes": 240.0,
        "learning_rate": 3e-4,
        "consistency": 2.0,
        "warm_up": 0.2,
        "adversarial_start": 0.25,
        "discriminator_channels": 24,
        "start_from": "none",
    },
    # trains from scratch, for processors
    "tiny": {"batch": 6, "patch": 96, "steps": 4800, "max_minutes": 120.0, "start_from": "none"},
    "small": {
        "channels": 64,
        "growth": 32,
        "groups": 6,
        "blocks": 4,
        "fine_channels": 48,
        "discriminator_channels": 64,
        "batch": 16,
        "patch": 128,
        "steps": 100_000,
        "max_minutes": 0.0,
        "learning_rate": 2e-4,
        "checkpoint_every": 1000,
        "log_every": 100,
        "start_from": "none",
    },
    "large": {
        "channels": 64,
        "growth": 32,
        "groups": 23,
        "blocks": 8,
        "fine_channels": 64,
        "discriminator_channels": 64,
        "batch": 16,
        "patch": 192,
        "steps": 500_000,
        "max_minutes": 0.0,
        "learning_rate": 2e-4,
        "checkpoint_every": 2000,
        "log_every": 100,
        "start_from": "none",
    },
}
