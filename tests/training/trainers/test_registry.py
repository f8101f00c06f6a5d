"""What every trainer saves."""

from dataclasses import replace

import pytest
import torch

from ntire_sr.core.distributed import ProcessGroup
from ntire_sr.models.registry import MODELS
from ntire_sr.training.config import TrainConfig
from ntire_sr.training.trainers.registry import TRAINERS
from ntire_sr.training.trainers.srgan import SrganSettings
from ntire_sr.training.trainers.stochastic import StochasticSettings

pytestmark = pytest.mark.numerical

SMALL = SrganSettings(channels=6, blocks=2, noise_channels=3, discriminator_channels=4, features="filters")
STOCHASTIC = StochasticSettings(channels=6, growth=4, blocks=1, fine_channels=4, latent_channels=2)
SETTINGS = {"bicubic": MODELS["bicubic"].architecture(), "srgan": SMALL, "stochastic": STOCHASTIC}
CPU = torch.device("cpu")


@pytest.mark.parametrize("name", ["srgan", "stochastic"])
def test_checkpoint_keys_are_those_of_version_0_1_0(name):
    networks = {"generator", "average", "discriminator", "generator_optimiser", "discriminator_optimiser"}
    counts = {"usual_gradient", "skipped", "skipped_in_a_row", "rolled_back"} if name == "stochastic" else set()
    settings = replace(SETTINGS[name], features="filters")
    made = TRAINERS[name].trainer(TrainConfig(patch=32), settings, CPU, ProcessGroup())
    assert made.state_dict().keys() == {"steps_done"} | networks | counts
