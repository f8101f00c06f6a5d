"""Modulation of maps by latents and noise: its formula, its gradients and samples of an earlier version."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from ntire_sr.challenge.pixels import to_8bit, to_array, to_tensor, to_unit
from ntire_sr.core.seeding import make_generator
from ntire_sr.models.modulation import (
    MOST_SCALING,
    SLOPE,
    Modulation,
    modulation_inputs,
    set_noise,
    upsample,
)
from ntire_sr.models.stochastic import Architecture
from ntire_sr.models.stochastic_rrdb import RrdbGenerator
from ntire_sr.samples.image_files import read_image

pytestmark = pytest.mark.numerical

GOLDEN = Path(__file__).parent / "golden"  # network outputs of the commit 4d57ff1, before projection


def by_the_formula(
    layer: nn.Conv2d, x: Tensor, modulation: Modulation, latents: Tensor, noise: Tensor
) -> Tensor:
    scale, shift = modulation.modulation(latents).chunk(2, 1)
    maps = layer(x) * (1 + MOST_SCALING * (scale / MOST_SCALING).tanh()) + shift + modulation.strength * noise
    return functional.leaky_relu(maps, SLOPE)


def random_modulation() -> tuple[nn.Conv2d, Modulation, list[Tensor]]:
    """A layer from 5 to 6 channels, a modulation with all weights random, and its maps, latents and noise."""
    torch.manual_seed(1)
    layer, modulation = nn.Conv2d(5, 6, 3, padding=1).double(), Modulation(6, 4).double()
    for value in modulation.parameters():
        value.data = torch.randn_like(value)
    sizes = ((2, 5, 6, 8), (2, 4, 3, 4), (2, 1, 6, 8), (2, 1, 6, 8))
    return layer, modulation, [torch.randn(size, dtype=torch.double, requires_grad=True) for size in sizes]


def test_modulation_equals_its_formula_with_the_noise_it_is_given():
    layer, modulation, (x, latents, first, second) = random_modulation()
    with torch.no_grad():
        inputs = set_noise(upsample(modulation_inputs(latents, 3)), [first, second])
        for index, noise in enumerate((first, second)):
            expected = by_the_formula(layer, x, modulation, upsample(latents), noise)
            before = x.clone()
            assert (modulation(layer, x, inputs, index) - expected).abs().max() < 1e-12
            assert torch.equal(x, before)


def test_gradients_of_modulation_equal_those_of_its_formula():
    layer, modulation, (x, latents, first, second) = random_modulation()
    variables = [*layer.parameters(), *modulation.parameters(), x, latents, second]
    gradients = []
    for drawn in (
        modulation(layer, x, set_noise(upsample(modulation_inputs(latents, 2)), [first, second]), 1),
        by_the_formula(layer, x, modulation, upsample(latents), second),
    ):
        gradients.append(torch.autograd.grad((drawn * torch.arange(drawn.shape[3])).sum(), variables))
    for gradient, expected in zip(*gradients, strict=True):
        assert (gradient - expected).abs().max() < 1e-9 * expected.abs().max()


@pytest.mark.parametrize(("latents", "count", "channels"), [(16, 2, 20), (16, 1, 18), (4, 0, 6), (4, 5, 10)])
def test_modulation_inputs_have_an_even_number_of_channels(latents, count, channels):
    inputs = modulation_inputs(torch.full((1, latents, 3, 4), 0.5), count)
    assert inputs.shape == (1, channels, 3, 4) and inputs.is_contiguous(memory_format=torch.channels_last)
    assert inputs[0, :, 0, 0].tolist() == [0.5] * latents + [1.0] + [0.0] * (channels - latents - 1)


def generator_of_the_golden_images(scale: int) -> RrdbGenerator:
    """A small generator in which every weight differs from its initial value."""
    sizes = Architecture(
        channels=64, groups=1, blocks=2, latent_channels=3, rrdb=True, mid_blocks=2, adapter_blocks=1
    )
    generator, random = RrdbGenerator(scale, sizes).requires_grad_(False), make_generator(scale)
    for name, value in sorted(generator.state_dict().items()):
        if name.endswith("strength"):
            value.fill_(0.1)
        elif name.endswith("weight"):
            value.copy_(torch.randn(value.shape, generator=random) / value[0].numel() ** 0.5)
        else:
            value.copy_(0.1 * torch.randn(value.shape, generator=random))
    generator.tail.weight.mul_(0.1)
    generator.tail.bias.fill_(0.5)
    return generator


@pytest.mark.parametrize("scale", [4, 8])
def test_generator_draws_the_pixels_of_earlier_versions(scale, photograph):
    lr = to_unit(to_tensor(np.ascontiguousarray(photograph[30:42, 40:54])))
    generator = generator_of_the_golden_images(scale)
    drawn = generator.sample(generator.trunk(lr), lr, generator.latents(lr, [make_generator(7)]))
    golden = read_image(GOLDEN / f"rrdb_x{scale}.png").astype(int)
    difference = np.abs(to_array(to_8bit(drawn)) - golden)
    assert difference.max() <= 1 and difference.mean() < 0.001
