"""The interface that every registered model has."""

import pytest
import torch

from ntire_sr.core.seeding import make_generator
from ntire_sr.models.registry import MODELS
from ntire_sr.training.trainers.srgan import SrganSettings
from ntire_sr.training.trainers.stochastic import StochasticSettings

pytestmark = pytest.mark.numerical

SMALL = SrganSettings(channels=6, blocks=2, noise_channels=3, discriminator_channels=4, features="filters")
STOCHASTIC = StochasticSettings(channels=6, growth=4, blocks=1, fine_channels=4, latent_channels=2)
SETTINGS = {"bicubic": MODELS["bicubic"].architecture(), "srgan": SMALL, "stochastic": STOCHASTIC}


def test_every_registered_model_is_tested_here():
    assert MODELS.keys() == SETTINGS.keys()


@pytest.mark.parametrize("scale", [4, 8])
@pytest.mark.parametrize("name", SETTINGS)
def test_samples_have_the_stated_shape_and_depend_on_the_seed_alone(name, scale):
    model = MODELS[name]
    generator = model.build(scale, SETTINGS[name])
    lr = torch.rand(1, 3, 9, 7)
    trunk = generator.trunk(lr)
    sample, again, of_second_seed = (
        generator.sample(trunk, lr, generator.latents(lr, [make_generator(seed)])) for seed in (1, 1, 2)
    )
    assert sample.shape == (1, 3, 9 * scale, 7 * scale)
    assert torch.equal(sample, again)
    assert torch.equal(sample, of_second_seed) == model.deterministic


def reached(of: torch.Tensor, inputs: list[torch.Tensor], middle: int, side: int) -> int:
    """How far from LR pixel `middle` lie the LR pixels that a number depends on."""
    farthest = 0
    for gradient in torch.autograd.grad(of, inputs, retain_graph=True, allow_unused=True):
        if gradient is not None:
            touched = gradient[0].abs().sum(0).nonzero().div(gradient.shape[2] // side, rounding_mode="floor")
            farthest = max(farthest, int((touched - middle).abs().max()) if len(touched) else 0)
    return farthest


@pytest.mark.parametrize("scale", [4, 8])
@pytest.mark.parametrize("name", SETTINGS)
def test_no_pixel_depends_on_more_than_the_stated_receptive_fields(name, scale):
    generator = MODELS[name].build(scale, SETTINGS[name])
    side = 2 * max(generator.trunk_receptive_field, generator.sample_receptive_field) + 5
    middle = side // 2
    lr = torch.rand(1, 3, side, side, requires_grad=True)
    trunk = generator.trunk(lr)
    factor = trunk.shape[2] // side
    far = max(
        reached(trunk[0, :, at, at].sum(), [lr], middle, side)
        for at in (middle * factor, middle * factor + factor - 1)
    )
    assert (
        generator.trunk_receptive_field - 2 <= far <= generator.trunk_receptive_field
    )  # the fact is no mere upper bound

    inputs = [lr, trunk.detach().requires_grad_()]
    latents = generator.latents(lr, [make_generator(0)])
    leaves = [leaf for part in latents or () for leaf in (part if isinstance(part, list) else [part])]
    inputs += [leaf.requires_grad_() for leaf in leaves]
    sr = generator.sample(inputs[1], lr, latents)
    far = max(
        reached(sr[0, :, at, at].sum(), inputs, middle, side)
        for at in (middle * scale, middle * scale + scale - 1)
    )
    assert generator.sample_receptive_field - 2 <= far <= generator.sample_receptive_field
