"""The network of `stochastic` without a pretrained trunk."""

from dataclasses import replace

import pytest
import torch

from ntire_sr.core.seeding import make_generator
from ntire_sr.models.modulation import FIRST_NOISE, MOST_SCALING, ModulatedBlock, modulation_inputs
from ntire_sr.models.stochastic import Architecture, StochasticGenerator, _Upsampling

pytestmark = pytest.mark.numerical

SMALL = Architecture(channels=6, growth=4, blocks=1, fine_channels=4, latent_channels=2)


def per_crop(step: int) -> list[torch.Generator]:
    return [make_generator(step, index) for index in range(2)]


def test_latent_changes_the_sample_only_around_its_place():
    generator = StochasticGenerator(4, SMALL)
    lr = torch.rand(1, 3, 40, 40)
    latents = generator.latents(lr, [make_generator(0)])
    fine = latents.fine.clone()
    fine[0, :, 20, 20] += 1
    trunk = generator.trunk(lr)
    sample, changed_sample = (
        generator.sample(trunk, lr, drawn) for drawn in (latents, latents._replace(fine=fine))
    )
    changed = ((sample - changed_sample).abs().sum(1)[0] > 0).nonzero()
    assert len(changed) > 16
    assert (changed - 82).abs().max() < 4 * 10


def test_noise_enters_every_block_with_its_strength():
    generator = StochasticGenerator(8, SMALL)
    lr = torch.rand(1, 3, 8, 8)
    latents = generator.latents(lr, [make_generator(0)])
    assert [tuple(noise.shape[2:]) for noise in latents.noise] == [(8, 8), (16, 16), (32, 32), (64, 64)]
    trunk, plain = generator.trunk(lr), generator.sample(generator.trunk(lr), lr, latents)
    for index in range(4):
        noise = list(latents.noise)
        noise[index] = noise[index] + 1
        assert not torch.equal(generator.sample(trunk, lr, latents._replace(noise=noise)), plain)
    assert all((block.strength == FIRST_NOISE).all() for block in (*generator.blocks, *generator.mid_blocks))


def test_global_latents_are_the_same_at_every_place():
    generator = StochasticGenerator(4, replace(SMALL, global_latent=True))
    latents = generator.latents(torch.rand(2, 3, 9, 6), per_crop(0))
    assert torch.equal(latents.fine, latents.fine[:, :, :1, :1].expand_as(latents.fine))
    assert not torch.equal(latents.fine[0], latents.fine[1])


def test_upsampling_adds_no_stripes_or_checkerboard():
    made = _Upsampling(5, 3).double()
    torch.nn.init.constant_(made.convolution.bias, 10.0)  # nothing meets the kink of the ReLU
    slopes = torch.randn(1, 5, 2, 1, 1).double()
    rows, columns = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
    maps = made(0.1 * (slopes[:, :, 0] * rows + slopes[:, :, 1] * columns))
    assert maps.shape == (1, 3, 16, 16)
    inside = maps[:, :, 2:-2, 2:-2]  # even where the values given are even: second differences vanish
    for axis in (2, 3):
        assert inside.diff(dim=axis).abs().max() > 1e-3
        assert inside.diff(n=2, dim=axis).abs().max() < 1e-9


def test_scaling_by_large_latents_is_bounded():
    block = ModulatedBlock(4, 2)
    with torch.no_grad():
        block.first.bias.zero_()
        block.modulation.bias.zero_()
        block.modulation.weight[4:] = 0  # no shift
        block.strength.zero_()
        block.second.weight.zero_()
        block.second.weight[range(4), range(4), 1, 1] = 1.0
        block.second.bias.zero_()
    x = torch.rand(1, 4, 9, 9)
    drawn = {
        size: block(x, modulation_inputs(torch.full((1, 2, 9, 9), size), 1), 0) - x for size in (0.0, 1e3, -1e3)
    }
    for size in (1e3, -1e3):
        ratio = drawn[size] / drawn[0.0]
        assert torch.allclose((ratio - 1).abs(), torch.tensor(MOST_SCALING), atol=1e-3)
