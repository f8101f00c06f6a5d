"""Several samples of a crop in one forward pass."""

import pytest
import torch

from ntire_sr.challenge.downscale import downscale
from ntire_sr.core.seeding import make_generator, normal
from ntire_sr.models.registry import MODELS
from ntire_sr.models.stochastic_rrdb import RrdbGenerator
from ntire_sr.training.multi_sample import MultiSampleForward, draw_latents
from ntire_sr.training.trainers.srgan import SrganSettings
from ntire_sr.training.trainers.stochastic import StochasticSettings
from ntire_sr.training.trainers.stochastic_settings import RRDB_SIZES

pytestmark = pytest.mark.numerical

SMALL = SrganSettings(channels=6, blocks=2, noise_channels=3, discriminator_channels=4, features="filters")
CPU = torch.device("cpu")


def per_crop(step: int) -> list[torch.Generator]:
    return [make_generator(step, index) for index in range(2)]


def test_forward_gives_samples_in_order_and_lr_error_before_projection():
    generator = MODELS["srgan"].build(4, SMALL)
    lr = torch.rand(2, 3, 8, 8)
    latents = draw_latents(generator, lr, per_crop(0), 3)
    free, error = MultiSampleForward(generator, 3, projection=False)(lr, latents)
    exact, same_error = MultiSampleForward(generator, 3, projection=True)(lr, latents)
    assert free.shape == exact.shape == (6, 3, 32, 32)
    assert error.item() == pytest.approx((downscale(free, 4) - lr.repeat(3, 1, 1, 1)).abs().mean().item())
    assert error.item() == pytest.approx(same_error.item())
    assert (downscale(exact, 4) - lr.repeat(3, 1, 1, 1)).abs().max() < 1e-5
    # the second sample of the second image is its own: the same whoever is beside it
    alone = [normal(per_crop(0)[1:] * 3, 3, 8, 8, device=CPU)[1], latents[0][3]]
    assert torch.equal(*alone)
    half, _ = MultiSampleForward(generator, 3, projection=True, half=True)(lr, latents)
    assert half.dtype == torch.float32
    assert (half - exact).abs().max() < 0.1
    assert (downscale(half, 4) - lr.repeat(3, 1, 1, 1)).abs().max() < 1e-5  # the projection is never bfloat16


def test_cached_features_replace_the_trunk_and_the_adapter_learns():
    sizes = StochasticSettings(**RRDB_SIZES, rrdb=True, groups=1, blocks=1, latent_channels=2, adapter_blocks=1)
    generator = RrdbGenerator(4, sizes)
    torch.nn.init.normal_(generator.adapter[0].second.weight, std=0.1)
    forward, lr = MultiSampleForward(generator, 2, projection=True), torch.rand(2, 3, 8, 8)
    latents, features = draw_latents(generator, lr, per_crop(0), 2), generator.features(lr).detach()
    drawn, error = forward(lr, latents)
    again, same_error = forward(lr, latents, features)
    assert torch.equal(drawn, again) and torch.equal(error, same_error)
    of_weaker_features, _ = forward(lr, latents, 0.5 * features)
    assert not torch.equal(drawn, of_weaker_features)
    again.sum().backward()
    assert generator.adapter[0].first.weight.grad.abs().sum() > 0
    assert generator.rrdb.conv_first.weight.grad is None
